"""The page of schedules: when each comes, in words; its next dues; what became of the last."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.schedules import Schedule
from eventq.core.task import instant
from eventq.errors import ArgumentError
from eventq.schedules.managing import ScheduleState, coming_dues, state_of
from eventq.web.showing import Veil
from eventq.web.sight import Sight

DUES_SHOWN = 5


class SchedulesQuestion(Struct, frozen=True):
    """The backfill that was previewed; its form is filled in, and all schedules are shown."""

    fill: str = ""
    """The schedule's name."""
    since: str = ""
    until: str = ""
    dues: str = ""
    """How many there were in that time."""


class ScheduleRow(Struct, frozen=True):
    """One schedule."""

    state: ScheduleState
    dues: list[datetime]
    problem: str | None
    """Why its dues cannot be told here."""
    missed: int
    """How many dues the last tick stands for that made no task."""


class SchedulesModel(Struct, frozen=True):
    """The schedules at a moment, by name."""

    seq: int
    at: datetime
    schedules: list[ScheduleRow]


def schedules_model(sight: Sight, question: SchedulesQuestion, veil: Veil) -> SchedulesModel:
    """All schedules; those of a lane that is not theirs to see are left out."""
    del question
    with sight.seen() as projection:
        found = sorted(projection.schedules.by_name.items())
    rows = [
        _row(known, veil) for _, known in found if veil.sees(known.planned.call.lane or "default")
    ]
    return SchedulesModel(sight.seq, instant(sight.at), rows)


def _row(known: Schedule, veil: Veil) -> ScheduleRow:
    dues: list[datetime] = []
    problem = None
    try:
        dues = coming_dues(known, DUES_SHOWN)
    except ArgumentError as error:
        # Of a zone that this machine does not have.
        problem = str(error)
    ticked = known.ticked
    missed = ticked.count if ticked is not None and ticked.outcome != "made" else 0
    state = state_of(known)
    state = replace(state, reason=veil.reason(state.reason))
    return ScheduleRow(state, dues, problem, missed)
