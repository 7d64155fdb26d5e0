"""Labels held against what the objects are known to be."""
