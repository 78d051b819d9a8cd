"""What people do to schedules at the console; see `acting`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from eventq.core.queue_events import Planned
from eventq.core.task import show_instant
from eventq.errors import ArgumentError
from eventq.schedules.managing import QueueSchedule
from eventq.web.acting import Acting, Done, task_path
from eventq.web.form import instant_of, number_of


def pause_schedule(acting: Acting) -> Done:
    """Has the dues of a schedule make nothing."""
    found = _schedule(acting)
    found.pause(**acting.marks)
    undo = acting.done_at(Planned)
    return Done(f"Schedule {found.name} is paused.", "/schedules", undo)


def resume_schedule(acting: Acting) -> Done:
    """Has the dues of a schedule make tasks again."""
    found = _schedule(acting)
    found.resume(**acting.marks)
    undo = acting.done_at(Planned)
    return Done(f"Schedule {found.name} makes tasks again.", "/schedules", undo)


def trigger_schedule(acting: Acting) -> Done:
    """Makes one more task of a schedule now."""
    found = _schedule(acting)
    task = found.trigger(**acting.marks)
    if task is None:
        return Done(f"A task of schedule {found.name} is open: none was made.", "/schedules")
    made = acting.name_of(task)
    return Done(f"Schedule {found.name} has made task {made}.", task_path(made))


def preview_backfill(acting: Acting) -> Done:
    """Says which tasks a backfill would make."""
    found = _schedule(acting)
    since, until = _span(acting.form)
    dues = found.backfill(since, until, preview=True)
    if not dues:
        return Done(f"Schedule {found.name} had no due in that time.", "/schedules")
    first, last = show_instant(dues[0]), show_instant(dues[-1])
    words = f"A backfill of {found.name} would make {len(dues):,} tasks, for {first} to {last}."
    path = f"/schedules?fill={quote(found.name, safe='')}"
    return Done(words, f"{path}&since={_word(since)}&until={_word(until)}&dues={len(dues)}")


def backfill_schedule(acting: Acting) -> Done:
    """Makes the tasks of past dues; no more than the preview said."""
    found = _schedule(acting)
    since, until = _span(acting.form)
    limit = number_of(acting.form, "dues")
    if limit is None:
        raise ArgumentError("dues", None, "the number of dues of the preview")
    made = found.backfill(
        since,
        until,
        limit=max(1, limit),
        **acting.marks,
    )
    return Done(f"Schedule {found.name} has made {len(made):,} tasks.", "/schedules")


def _schedule(acting: Acting) -> QueueSchedule:
    schedules, name = acting.queue.schedules, acting.path["name"]
    acting.check_lane(schedules.named(name).look().planned.call.lane or "default")
    # It may be planned anew meanwhile.
    return schedules.named(name, acting.person.lanes)


def _span(form: Mapping[str, str]) -> tuple[datetime, datetime]:
    return instant_of(form, "since"), instant_of(form, "until")


def _word(at: datetime) -> str:
    return quote(at.isoformat(), safe="")
