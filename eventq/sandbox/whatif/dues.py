"""What a record says of schedules: when their dues came, and what each brought."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eventq.core.commits import AnyBody, Unknown
from eventq.core.events import Created
from eventq.core.queue_events import Planned, Ticked, Unplanned
from eventq.core.schedules import Schedule
from eventq.sandbox.whatif.arrivals import Arrival


class ScheduleRecord:
    """What the record says of one schedule."""

    def __init__(self) -> None:
        self.families: dict[int, list[Arrival]] = {}
        """By the task of each due, that task and those that it made by `ctx.new`."""
        self.planned: Planned | None = None
        """What was said last."""
        self.going: list[tuple[int, bool]] = []
        """From which instant on dues came, and did not, in order."""

    def note(self, at: int, planned: Planned | None) -> None:
        """It is planned, or forgotten."""
        self.planned = planned or self.planned
        self.going.append((at, planned is not None and not planned.paused))

    def spans(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """The spans in which dues came."""
        for place, (at, is_on) in enumerate(self.going):
            until = self.going[place + 1][0] if place + 1 < len(self.going) else end
            if is_on and (found := (max(at, begin), min(until, end)))[0] < found[1]:
                yield found


class ScheduleRecords:
    """What the record says of the schedules that are asked about."""

    def __init__(self, known: Iterable[Schedule], names: Iterable[str]) -> None:
        """``known`` are those that stand where the record begins."""
        self.by_name = {name: ScheduleRecord() for name in names}
        for schedule in known:
            if schedule.name in self.by_name:
                self.by_name[schedule.name].note(schedule.planned_at, schedule.planned)
        # The task of the due, by each task that it brought.
        self._root_of: dict[int, tuple[str, int]] = {}

    def take(
        self, after: int, at: int, numbers: Iterable[int], bodies: list[AnyBody | Unknown]
    ) -> None:
        """Reads one more commit; ``after`` is where the record begins."""
        by_hand = False
        for number, body in zip(numbers, bodies, strict=True):
            if isinstance(body, Planned | Unplanned) and body.schedule in self.by_name:
                planned = body if isinstance(body, Planned) else None
                self.by_name[body.schedule].note(at, planned)
            elif isinstance(body, Ticked):
                by_hand = body.hand is not None
            elif isinstance(body, Created) and number > after:
                self._note_created(Arrival(at, number, body), body, by_hand=by_hand)

    def is_of_due(self, number: int) -> bool:
        """Whether a due of one of these schedules brought the task."""
        return number in self._root_of

    def _note_created(self, made: Arrival, body: Created, *, by_hand: bool) -> None:
        number = made.task
        if body.schedule in self.by_name and not by_hand:
            self._root_of[number] = (body.schedule, number)
            self.by_name[body.schedule].families[number] = [made]
        elif body.made_by in self._root_of:
            name, root = self._root_of[number] = self._root_of[body.made_by]
            self.by_name[name].families[root].append(made)
