"""Names of transients from light curves in several bands."""
