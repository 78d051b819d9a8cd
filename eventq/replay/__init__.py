"""Tools that read a log to say what happened to its tasks, and why; none changes the log."""

from eventq.eventlog import open_log
from eventq.points import Point, find_point
from eventq.replay.anchor import Anchor, check_anchor, check_mac, make_anchor, parse_anchor
from eventq.replay.lookup import task_at
from eventq.replay.ranks import Rank, Rival
from eventq.replay.state import Held, QueueState, state_at
from eventq.replay.story import Step, story
from eventq.replay.verify import Finding, Verdict, VerifyBase, verify
from eventq.replay.verify_base import base_of
from eventq.replay.why import Grant, Load, Why, why
from eventq.snapshot import projection_at

__all__ = [
    "Anchor",
    "Finding",
    "Grant",
    "Held",
    "Load",
    "Point",
    "QueueState",
    "Rank",
    "Rival",
    "Step",
    "Verdict",
    "VerifyBase",
    "Why",
    "base_of",
    "check_anchor",
    "check_mac",
    "find_point",
    "make_anchor",
    "open_log",
    "parse_anchor",
    "projection_at",
    "state_at",
    "story",
    "task_at",
    "verify",
    "why",
]
