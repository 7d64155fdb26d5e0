"""Networks of periodic variables, which see a star's own period."""
