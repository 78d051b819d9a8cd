"""When dues come: cron expressions by the wall clock of a zone, and intervals of elapsed time."""

from eventq.schedules.rules import DueRule, check_timing, dues_until, next_dues, rule_of
from eventq.schedules.words import timing_words

__all__ = [
    "DueRule",
    "check_timing",
    "dues_until",
    "next_dues",
    "rule_of",
    "timing_words",
]
