"""Schedules: each due makes one task, whoever begins anew at that moment, and none is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from eventq import Handlers, Queue
from eventq.core.queue_events import Ticked
from eventq.eventlog.contract import Decide
from eventq.eventlog.memory import MemoryStorage
from eventq.testing import Harness, harness
from eventq.verify import verify
from tests.support import HookedLog, ManualClock, look, queue_on, running, wait_until

START = "2027-03-28T00:00:00+00:00"
MINUTE_S = 60.0


def ticks(t: Harness) -> list[Ticked]:
    """What has been ticked, in order."""
    return [event.body for event in t.queue.events() if isinstance(event.body, Ticked)]


def test_one_cron_run_has_no_duplicates() -> None:
    """Elsewhere each start of each worker planned the run anew: 880 jobs for one housekeeping.

    Here a due is ticked at one position of the log: eight nodes that begin anew four times around
    each of ten dues make ten tasks.
    """
    storage, clock = MemoryStorage(), ManualClock()
    handlers, ran = Handlers(), Counter[datetime | None]()
    clock.us = 1_700_000_040_000_000  # A whole minute, and 0 s.

    @handlers.task
    def housekeeping() -> None: ...

    handlers.every("1m", housekeeping, schedule="housekeeping")
    nodes = [
        queue_on(HookedLog(storage), clock=clock, workers=1, handlers=[handlers]) for _ in range(8)
    ]
    nodes[0].run(until="idle", signals=False)
    for _ in range(10):
        for _ in range(4):
            clock.advance(MINUTE_S / 4)
            for queue in nodes:
                queue.run(until="idle", signals=False)
    for task in nodes[0].tasks(state="completed"):
        ran[task.due] += 1
    log = nodes[0].log

    assert len(ran) == 10
    assert set(ran.values()) == {1}
    assert verify(log).findings == ()
    for queue in nodes:
        queue.close()


def test_two_runs_that_see_a_due_together_make_one_task(
    log: HookedLog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere two schedulers woke at the same instant, and both saw that nothing was there yet.

    Here the second of them decides on the log that holds the first one's tick.
    """
    handlers, late_clock = Handlers(), ManualClock()

    @handlers.task
    def report() -> None: ...

    handlers.every("1m", report, schedule="report")
    first = queue_on(log, clock=clock, workers=1, handlers=[handlers])
    late = queue_on(HookedLog(log.storage), clock=late_clock, workers=1, handlers=[handlers])
    append_next: Callable[[Decide], object] = late.log.append_next

    def tick_first(decide: Decide) -> object:
        # The late one has seen that the due has come, and decides now.
        if clock.seconds < late_clock.seconds:
            clock.advance(late_clock.seconds - clock.seconds)
            look(first)
        return append_next(decide)

    monkeypatch.setattr(late.log, "append_next", tick_first)
    with first, late, running(first, None), running(late, None):
        wait_until(lambda: "planned" in kinds_of(first))
        look(late)
        for count in range(1, 6):
            late_clock.advance(MINUTE_S)
            look(late)
            wait_until(lambda count=count: first.stats().completed == count)  # type: ignore[misc]
        look(late)

        assert kinds_of(first).count("created") == kinds_of(first).count("ticked") == 5


def kinds_of(queue: Queue) -> list[str]:
    """The kinds of all events of the log."""
    return [event.kind for event in queue.events()]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_missed_run_recovers(after: bool) -> None:  # noqa: FBT001
    """Elsewhere a job that died, or a moment without workers, ended its schedule for good.

    Here the next due comes as planned, whatever became of the one before, and what was missed is
    in the log.
    """
    handlers, ran = Handlers(), list[datetime | None]()

    @handlers.cron("0 * * * *", max_retries=0)
    def hourly() -> None:
        ran.append(None)

    with harness(handlers=[handlers], start=START) as t:
        t.forward("1h")
        t.crash_node(hourly, after=after)
        t.forward("2h")
        # Nothing runs for five hours and a half.
        t.clock.forward("5h")
        t.clock.forward("30m")
        t.forward("2h")

        dues = [
            f"{datetime.fromtimestamp(tick.due / 1e6, UTC):%H} {tick.outcome}" for tick in ticks(t)
        ]
        assert dues == [
            "01 made",
            "02 made",
            "03 made",
            "04 missed",
            "08 made",
            "09 made",
            "10 made",
        ]
        assert sum(tick.count for tick in ticks(t)) == 10


def test_a_weekly_run_comes_although_nodes_begin_anew_each_day() -> None:
    """Elsewhere each start counted the week anew, so a job of once a week never ran.

    Here the plan is in the log, and a start changes nothing about it.
    """
    handlers, ran = Handlers(), list[int]()

    @handlers.task
    def weekly() -> None:
        ran.append(1)

    @handlers.task
    def daily() -> None: ...

    handlers.every("7d", weekly, schedule="weekly")
    with harness(handlers=[handlers], start=START) as t:
        t.run()
        for _ in range(22):
            daily.new()
            t.crash_node(daily)
            t.forward("1d")

        assert len(ran) == 3
