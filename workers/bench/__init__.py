"""`nightjar bench`: what the design promises, measured beside what it is compared with."""
