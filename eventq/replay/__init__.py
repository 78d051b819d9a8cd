"""The one fold from a log to a projection, points in a log's time, and questions to both."""

from eventq.replay.points import Point, find_point

__all__ = ["Point", "find_point"]
