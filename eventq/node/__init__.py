"""One process's place on a log."""
