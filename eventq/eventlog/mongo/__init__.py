"""The log in MongoDB."""
