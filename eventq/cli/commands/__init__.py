"""One module a command, or a few of one kind, named by the first that a user types."""
