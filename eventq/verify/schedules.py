"""What schedules are to make, and that each due is ticked once; nothing of core's is asked.

Where dues lie, only a table of time zones can say; the log says which one comes next.
"""

from __future__ import annotations

from msgspec import Struct

from eventq.core.commits import AnyBody, Unknown
from eventq.core.events import Created
from eventq.core.queue_events import Planned, Ticked, Unplanned
from eventq.core.timing import Timing
from eventq.errors import shown
from eventq.verify.nodes import check_route
from eventq.verify.terms import BrokenError, Report, Unreadable

OVERLAPS = ("skip", "allow", "cancel")


class Standing(Struct):
    """How a schedule stands."""

    next_at: int | None
    shift_us: int
    paused: bool
    last_due: int | None = None
    """The last due that has been ticked."""


class ScheduleRules:
    """Rule 17: at most one `ticked` for a (schedule, due), with its task right behind it."""

    def __init__(self, report: Report) -> None:
        self.owed: Ticked | None = None
        """What made a task that has to come next."""
        self._by_name: dict[str, Standing] = {}
        self._report = report

    def add(self, body: Planned, next_at: int | None, last_due: int | None) -> None:
        """Takes over what was said before what is looked at."""
        self._by_name[body.schedule] = Standing(next_at, body.shift_us, body.paused, last_due)

    def plan(self, body: Planned) -> None:
        """A schedule stands from here on. Raises BrokenError."""
        name = shown(body.schedule)
        check_route(body.schedule, None, ())
        check_route(body.call.name, body.call.lane, body.call.needs)
        _check_timing(name, body.timing)
        rules = body.rules
        if rules.overlap not in OVERLAPS or rules.catch_up < 0 or (rules.within_us or 1) <= 0:
            raise BrokenError("due", f"schedule {name} has no such rules")
        if not 0 <= body.shift_us <= body.timing.jitter_us:
            raise BrokenError("due", f"schedule {name} is put off by more than its jitter")
        known = self._by_name.get(body.schedule)
        last_due = None if known is None else known.last_due
        if body.next_at is not None and last_due is not None and body.next_at <= last_due:
            raise BrokenError("due", f"schedule {name} goes back behind a due it has ticked")
        self._by_name[body.schedule] = Standing(body.next_at, body.shift_us, body.paused, last_due)

    def forget(self, body: Unplanned) -> None:
        """The schedule stands no more. Raises BrokenError where it did not."""
        if self._by_name.pop(body.schedule, None) is None:
            raise BrokenError("due", f"no schedule {shown(body.schedule)} to forget")

    def tick(self, at: int, body: Ticked) -> None:
        """A due has come. Raises BrokenError."""
        name = shown(body.schedule)
        known = self._by_name.get(body.schedule)
        if known is None:
            raise BrokenError("due", f"no schedule {name} to tick")
        if body.outcome == "made":
            self.owed = body
        if body.count < 1 or (body.count > 1 and body.outcome not in {"missed", "paused"}):
            raise BrokenError("due", f"schedule {name} ticks for {body.count} dues at once")
        if body.hand is not None:
            if body.outcome not in {"made", "skipped"} or body.next_at is not None:
                raise BrokenError("due", f"schedule {name} is moved by hand")
            return
        if known.paused != (body.outcome == "paused"):
            raise BrokenError("due", f"schedule {name} ticks while it is paused")
        if body.due != known.next_at:
            problem = f"schedule {name} ticks {body.due}, but next comes {known.next_at}"
            raise BrokenError("due", problem)
        if body.due + known.shift_us > at:
            raise BrokenError("due", f"schedule {name} ticks too early")
        if body.next_at is not None and body.next_at <= body.due:
            raise BrokenError("due", f"schedule {name} goes back")
        known.last_due, known.next_at = body.due, body.next_at

    def take_next(self, seq: int, body: AnyBody | Unknown | Unreadable) -> None:
        """Judges the event behind one that made a task."""
        ticked, self.owed = self.owed, None
        assert ticked is not None, "it is asked only then"
        if isinstance(body, Unreadable):
            return
        wanted = (ticked.schedule, ticked.due)
        if not isinstance(body, Created) or (body.schedule, body.due) != wanted:
            self._report(seq, "due", f"no task of schedule {shown(ticked.schedule)}")

    def finish(self, seq: int) -> None:
        """The commit ends here: no task may be owed."""
        if self.owed is not None:
            self._report(seq, "due", f"schedule {shown(self.owed.schedule)} made no task")
            self.owed = None


def _check_timing(name: str, timing: Timing) -> None:
    if (timing.cron is None) == (timing.every_us is None):
        raise BrokenError("due", f"schedule {name} has no timing, or two")
    if (timing.every_us is not None and timing.every_us <= 0) or timing.jitter_us < 0:
        raise BrokenError("due", f"schedule {name} comes in no time")
