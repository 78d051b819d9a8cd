"""Tools that read a log to say what happened to its tasks, and why; none changes the log."""

from eventq.eventlog import open_log
from eventq.points import Point, find_point
from eventq.snapshot import projection_at

__all__ = ["Point", "find_point", "open_log", "projection_at"]
