"""Planning and ticking as pure decisions: what is appended, and what somebody was quicker with."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from eventq.core.command import Draft
from eventq.core.commits import encode_bodies
from eventq.core.events import Created
from eventq.core.projection import Projection
from eventq.core.queue_events import Planned, Ticked
from eventq.core.scheduling import EditSchedule, MakeByHand, PlanSchedules, Tick, TickSchedules
from eventq.core.timing import DueRules, Overlap, Timing
from eventq.core.values import NODE, Call
from eventq.errors import ArgumentError, LogCorruptError, LogTooNewError
from eventq.eventlog.contract import Head
from eventq.node.commit_plan import CommitPlan
from tests import deciding as decide
from tests.core.bench import PLAIN
from tests.driver import append_texts, memory_log, record

SEAL = b"\0" * 32


class Desk:
    """A log with one schedule, of a minute that is sixty instants long."""

    def __init__(self, overlap: Overlap = "skip") -> None:
        self.log = memory_log()
        self.projection = Projection("default")
        self.plan = Planned(
            "s", Timing(every_us=60), Call(PLAIN), DueRules(overlap=overlap), next_at=100
        )
        self.adopt(self.plan, now=40)

    def adopt(self, plan: Planned, *, now: int, version: int = 0) -> list[str]:
        """Code says how it is to be; gives those that are older."""
        decided = PlanSchedules((plan,), (version,)).decide(self.projection, decide.NOTHING, now)
        self.record(decided.events, now=now)
        return decided.result

    def tick(self, due: int, next_at: int, *, now: int, seen: int | None = None) -> list[Draft]:
        """A node ticks a due."""
        known = self.projection.schedules.by_name["s"]
        bodies = (Ticked("s", due, "made", next_at),)
        tick = Tick("s", known.seq if seen is None else seen, bodies)
        drafts = TickSchedules((tick,)).decide(self.projection, decide.NOTHING, now).events
        self.record(drafts, now=now)
        return drafts

    def record(self, drafts: list[Draft], *, now: int) -> None:
        """Appends and applies."""
        if drafts:
            record(self.log, self.projection, drafts, now=now)

    @property
    def planned(self) -> Planned:
        """What stands, with its next due."""
        known = self.projection.schedules.by_name["s"]
        return replace(known.planned, next_at=known.next_at)


def kinds(drafts: list[Draft]) -> list[str]:
    """The kinds, with the outcomes of ticks."""
    return [body.outcome if isinstance(body, Ticked) else body.kind for _, body in drafts]


def test_who_looked_before_another_ticked_does_nothing() -> None:
    """One tick a due, by position."""
    desk = Desk()
    seen = desk.projection.schedules.by_name["s"].seq

    assert kinds(desk.tick(100, 160, now=100, seen=seen)) == ["made", "created"]
    assert desk.tick(100, 160, now=101, seen=seen) == []


def test_a_due_that_has_not_come_by_the_commits_clock_is_left() -> None:
    """The one that was looked at may have been ahead."""
    desk = Desk()

    assert desk.tick(100, 160, now=99) == []
    assert kinds(desk.tick(100, 160, now=100)) == ["made", "created"]


def test_another_timing_never_goes_back_behind_a_due() -> None:
    """Where the clock of who plans is behind that of who ticked, the due that stood stays."""
    desk = Desk()
    desk.tick(100, 160, now=100)
    other = replace(desk.plan, timing=Timing(every_us=50), next_at=90)

    desk.adopt(other, now=100)

    assert (desk.planned.timing.every_us, desk.planned.next_at) == (50, 160)


def test_the_same_timing_keeps_its_next_due_and_its_shift() -> None:
    """Whatever else changes; so does the pause."""
    desk = Desk()
    stands = replace(desk.planned, paused=True)
    seen = desk.projection.schedules.by_name["s"].seq
    edit = EditSchedule("s", seen, (stands,)).decide(desk.projection, decide.NOTHING, 50)
    desk.record(edit.events, now=50)

    desk.adopt(replace(desk.plan, rules=DueRules(0), next_at=777, shift_us=5), now=60)

    assert (desk.planned.next_at, desk.planned.shift_us, desk.planned.paused) == (100, 0, True)
    assert desk.planned.rules.catch_up == 0


def test_older_code_is_named_and_changes_nothing() -> None:
    """Unless its version is higher."""
    desk = Desk()
    newer = replace(desk.plan, rules=DueRules(0))

    assert desk.adopt(newer, now=50) == []
    assert desk.adopt(desk.plan, now=60) == ["s"]
    assert desk.planned.rules.catch_up == 0
    assert desk.adopt(desk.plan, now=70, version=1) == []
    assert desk.planned.rules.catch_up == 1


def test_two_commands_about_one_schedule_never_share_a_commit() -> None:
    """Neither of them saw the other."""
    made: list[Draft] = [(NODE, Ticked("s", 100, "skipped", 160))]
    other: list[Draft] = [(NODE, Ticked("other", 100, "skipped", 160))]
    plan = CommitPlan(Head(0, 0, SEAL), 100)

    firsts = [
        plan.add(drafts, encode_bodies([body for _, body in drafts]))
        for drafts in (made, other, made)
    ]

    assert firsts == [1, 2, None]


def test_a_task_that_a_newer_eventq_has_touched_is_not_cancelled() -> None:
    """What it may do, nobody here can say: the due is skipped."""
    desk = Desk("cancel")
    desk.tick(100, 160, now=100)
    [task] = desk.projection.tasks
    desk.projection.apply(append_texts(desk.log, [task], '{"kind":"frozen"}'))

    assert kinds(desk.tick(160, 220, now=160)) == ["skipped"]


def test_a_queue_that_a_newer_eventq_has_touched_is_not_ticked() -> None:
    """Nor planned, nor triggered."""
    desk = Desk()
    desk.projection.apply(append_texts(desk.log, [NODE], '{"kind":"frozen"}'))

    assert desk.tick(100, 160, now=100) == []
    with pytest.raises(LogTooNewError):
        desk.adopt(desk.plan, now=100)
    with pytest.raises(LogTooNewError):
        MakeByHand("s", None).decide(desk.projection, decide.NOTHING, 100)
    with pytest.raises(LogTooNewError):
        EditSchedule("s", 1, ()).decide(desk.projection, decide.NOTHING, 100)


def test_what_was_never_planned_cannot_tick() -> None:
    """By hand it is a wrong name, in a log it is damage."""
    desk = Desk()

    with pytest.raises(ArgumentError, match="name of a schedule"):
        MakeByHand("x", None).decide(desk.projection, decide.NOTHING, 100)
    with pytest.raises(LogCorruptError, match="no schedule 'x'"):
        desk.record([(NODE, Ticked("x", 1, "skipped"))], now=100)


def test_what_triggers_make_is_looked_at_until_the_next_due() -> None:
    """So many at most; what the due makes itself takes their place."""
    desk = Desk()
    for _ in range(10):
        drafts = MakeByHand("s", None).decide(desk.projection, decide.NOTHING, 50).events
        desk.record(drafts, now=50)

    assert len(desk.projection.schedules.by_name["s"].tasks) == 8
    assert kinds(desk.tick(100, 160, now=100)) == ["skipped"]
    made = [body for _, body in drafts if isinstance(body, Created)]
    assert [(body.schedule, body.due) for body in made] == [("s", 50)]
