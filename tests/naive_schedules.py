"""Schedules of seven instants each as a plain dictionary, for comparison; see `naive`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.naive_rows import Row

Story = list[tuple[int, str]]
EVERY = 7


@dataclass
class Plan:
    """A schedule: what it does with overlaps, what comes next, the tasks it has lately made."""

    overlap: str
    next_at: int
    paused: bool = False
    replaced: set[str] = field(default_factory=set)
    made: list[int] = field(default_factory=list)


class NaiveSchedules:
    """All schedules by name.

    ``tell`` records events, ``make`` a task for a schedule and a due, ``row`` finds a task and
    ``late`` says whether one is past its time.
    """

    def __init__(
        self,
        tell: Callable[[Story], Story],
        make: Callable[[str, int, int], Row],
        row: Callable[[int], Row],
        late: Callable[[Row, int], bool],
    ) -> None:
        self.plans: dict[str, Plan] = {}
        self._tell = tell
        self._make = make
        self._row = row
        self._late = late

    def plan(self, name: str, overlap: str, now: int) -> Story:
        """Code says how a schedule is to be; what it has replaced does not come back."""
        known = self.plans.get(name)
        if known is None:
            self.plans[name] = Plan(overlap, now + EVERY)
        elif known.overlap == overlap or overlap in known.replaced:
            return []
        else:
            known.replaced.add(known.overlap)
            known.overlap = overlap
        return self._tell([(0, "planned")])

    def pause(self, name: str, *, paused: bool) -> Story:
        """Somebody pauses a schedule, or lets it go on; dues that came meanwhile are left."""
        self.plans[name].paused = paused
        return self._tell([(0, "planned")])

    def drop(self, name: str) -> Story:
        """A schedule is forgotten."""
        del self.plans[name]
        return self._tell([(0, "unplanned")])

    def trigger(self, name: str, now: int) -> Story:
        """One more task, whatever is open."""
        story = self._tell([(0, "ticked")])
        made = self._make(name, now, now)
        self.plans[name].made = [*self.plans[name].made, made.number][-8:]
        return [*story, (made.number, "created")]

    def tick(self, name: str, now: int) -> Story:
        """Of the dues that have come the last one makes a task, if nothing is in its way."""
        plan = self.plans.get(name)
        if plan is None or plan.paused or plan.next_at > now:
            return []
        come = 0
        while plan.next_at <= now:
            come += 1
            plan.next_at += EVERY
        story = self._tell([(0, "ticked")]) if come > 1 else []
        rows = [self._row(number) for number in plan.made]
        ours = [row for row in rows if row.is_open] if plan.overlap != "allow" else []
        for row in [row for row in ours if row.newer is None and self._late(row, now)]:
            row.state, row.reason, row.ended_at = "expired", "max_age", now
            story += self._tell([(row.number, "expired")])
            ours.remove(row)
        is_strange = any(row.newer is not None for row in ours)
        if ours and (plan.overlap == "skip" or is_strange):
            return [*story, *self._tell([(0, "ticked")])]
        for row in ours:
            row.state, row.fence, row.worker, row.ended_at = "cancelled", 0, None, now
            row.reason = f"the next due of schedule {name} has come"
            story += self._tell([(row.number, "cancelled")])
        story += self._tell([(0, "ticked")])
        made = self._make(name, plan.next_at - EVERY, now)
        plan.made = [made.number]
        return [*story, (made.number, "created")]
