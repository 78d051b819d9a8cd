"""Trying a fix or a policy on the recorded past. Nothing here changes the queue."""

from eventq.audit.attempts import Ended, RecordedAttempt
from eventq.sandbox.fork import ForkReport, fork
from eventq.sandbox.rerun import Rerun, rerun
from eventq.sandbox.select import attempted_keys
from eventq.sandbox.whatif.compare import PriorityRule, WhatIf, whatif
from eventq.sandbox.whatif.metrics import Numbers, Waits

__all__ = [
    "Ended",
    "ForkReport",
    "Numbers",
    "PriorityRule",
    "RecordedAttempt",
    "Rerun",
    "Waits",
    "WhatIf",
    "attempted_keys",
    "fork",
    "rerun",
    "whatif",
]
