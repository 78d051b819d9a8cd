"""Tools that read a log to say what happened to its tasks, and why; none changes the log."""

from eventq.eventlog import open_log
from eventq.points import Point, find_point
from eventq.replay.lookup import task_at
from eventq.replay.ranks import Rank, Rival
from eventq.replay.state import Held, QueueState, state_at
from eventq.replay.story import Step, story
from eventq.replay.why import Grant, Load, Why, why
from eventq.snapshot import projection_at

__all__ = [
    "Grant",
    "Held",
    "Load",
    "Point",
    "QueueState",
    "Rank",
    "Rival",
    "Step",
    "Why",
    "find_point",
    "open_log",
    "projection_at",
    "state_at",
    "story",
    "task_at",
    "why",
]
