"""Tools that read a log to say what happened to its tasks, and why; none changes the log."""

from eventq.eventlog import open_log
from eventq.points import Point, find_point
from eventq.replay.anchor import Anchor, check_anchor, check_mac, make_anchor, parse_anchor
from eventq.replay.attempts import Attempt, Ended
from eventq.replay.bisecting import Found, NotFound, bisect
from eventq.replay.choosing import attempted_keys
from eventq.replay.cursor import Cursor
from eventq.replay.difference import (
    LogDifference,
    diff_logs,
    diff_points,
    ended_otherwise,
    passed_tasks,
)
from eventq.replay.expression import Expression, parse_expression
from eventq.replay.fork import ForkReport, fork
from eventq.replay.lookup import task_at
from eventq.replay.ranks import Rank, Rival
from eventq.replay.rerun import Rerun, rerun
from eventq.replay.state import Held, QueueState, state_at
from eventq.replay.story import Step, story
from eventq.replay.tally import Numbers, Waits
from eventq.replay.timeline import Moment, Wanted, timeline
from eventq.replay.verify import Finding, Verdict, VerifyBase, verify
from eventq.replay.verify_base import base_at_start, base_of
from eventq.replay.view import Counts, View
from eventq.replay.whatif import PriorityRule, WhatIf, whatif
from eventq.replay.why import Grant, Load, Why, why

__all__ = [
    "Anchor",
    "Attempt",
    "Counts",
    "Cursor",
    "Ended",
    "Expression",
    "Finding",
    "ForkReport",
    "Found",
    "Grant",
    "Held",
    "Load",
    "LogDifference",
    "Moment",
    "NotFound",
    "Numbers",
    "Point",
    "PriorityRule",
    "QueueState",
    "Rank",
    "Rerun",
    "Rival",
    "Step",
    "Verdict",
    "VerifyBase",
    "View",
    "Waits",
    "Wanted",
    "WhatIf",
    "Why",
    "attempted_keys",
    "base_at_start",
    "base_of",
    "bisect",
    "check_anchor",
    "check_mac",
    "diff_logs",
    "diff_points",
    "ended_otherwise",
    "find_point",
    "fork",
    "make_anchor",
    "open_log",
    "parse_anchor",
    "parse_expression",
    "passed_tasks",
    "rerun",
    "state_at",
    "story",
    "task_at",
    "timeline",
    "verify",
    "whatif",
    "why",
]
