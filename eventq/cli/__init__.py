"""The ``eventq`` command; nothing here is meant to be imported by programs but `main`."""

from eventq.cli.entry import main

__all__ = ["main"]
