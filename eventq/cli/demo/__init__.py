"""``eventq demo``."""
