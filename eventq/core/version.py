"""The version of this eventq; nodes write it into the log."""

__version__ = "0.1.0"
