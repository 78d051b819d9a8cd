"""Trying a fix or a policy on the recorded past. Nothing here changes the queue."""

from eventq.replay.attempts import Ended, RecordedAttempt
from eventq.sandbox.fork import ForkReport, fork
from eventq.sandbox.rerun import Rerun, rerun
from eventq.sandbox.select import attempted_keys
from eventq.sandbox.whatif.compare import PriorityRule, WhatIf, whatif
from eventq.sandbox.whatif.meeting import Miss
from eventq.sandbox.whatif.metrics import Numbers, Waits
from eventq.sandbox.whatif.supposed_dues import DueCount
from eventq.sandbox.whatif.suppositions import LimitRule, TurnRule

__all__ = [
    "DueCount",
    "Ended",
    "ForkReport",
    "LimitRule",
    "Miss",
    "Numbers",
    "PriorityRule",
    "RecordedAttempt",
    "Rerun",
    "TurnRule",
    "Waits",
    "WhatIf",
    "attempted_keys",
    "fork",
    "rerun",
    "whatif",
]
