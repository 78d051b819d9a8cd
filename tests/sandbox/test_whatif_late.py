"""What-ifs of records with late actions: nobody is there any more, and people go on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventq import Queue, Snooze, Task
from eventq.core.command import Draft
from eventq.core.manage import CancelTask, UpdateTask
from eventq.core.projection import Projection
from eventq.core.task import TaskState
from eventq.errors import EventqError
from eventq.eventlog.memory import MemoryLog
from eventq.replay.points import Point
from eventq.sandbox import Numbers, whatif
from eventq.sandbox.whatif.meeting import COUNT_SHARE, COUNTED, TIME_SHARE, TIME_US, misses
from tests import deciding as decide
from tests.driver import memory_log, record
from tests.sandbox.trying import ReadOnlyLog, new_memory_url, read_only
from tests.sandbox.virtual import SECOND, START, Planned, made, order, supposed
from tests.support import ManualClock


def drained(clock: ManualClock, url: str) -> Queue:
    """A queue of ten tasks that a worker has run; that with n = 3 has expired."""
    queue = Queue(url, clock=clock, workers=1, max_retries=1, backoff="100ms")
    queue.new_many([{"n": n} for n in range(10)])

    def work(_ctx: object, task: Task) -> None:
        clock.advance(0.5)
        if task.tags["n"] == 3:
            raise OSError("disk")

    queue.run(work, until="idle")
    return queue


@pytest.mark.parametrize("later_s", [0.05, 0.9, 3600])
def test_a_retry_by_hand_after_the_last_work_runs_nothing(later_s: float) -> None:
    """Nobody ran the task in the record, so nobody does in the simulations; it stays open."""
    clock = ManualClock()
    with drained(clock, new_memory_url()) as queue:
        clock.advance(5)
        queue.retry("4")
        clock.advance(later_s)
        queue.new({"n": 10}, delay="1h")
        found = supposed(read_only(queue.url), workers=4)

    assert found.as_it_was == found.recorded
    assert found.misses == []
    assert (found.what_if.open, found.what_if.attempts, found.what_if.drawn) == (2, 11, 0)
    makespan_us, recorded_us = found.what_if.makespan_us, found.recorded.makespan_us
    assert makespan_us is not None
    assert recorded_us is not None
    assert makespan_us < recorded_us
    assert found.absent_us == later_s * SECOND


def test_what_was_ready_for_long_and_is_called_off_runs_nowhere() -> None:
    """Also if a node comes back later and finds other tasks."""
    clock = ManualClock()
    with drained(clock, new_memory_url()) as queue:
        task = queue.new({"n": 11})
        clock.advance(60)
        queue.cancel(task.key)
        clock.advance(60)
        queue.new({"n": 12})
        queue.run(lambda _ctx, _task: clock.advance(1), until="idle")
        found = supposed(read_only(queue.url))

    assert found.as_it_was == found.recorded
    assert found.absent_us == 60 * SECOND
    assert found.recorded.attempts == 12


def test_what_is_called_off_at_once_runs_nowhere() -> None:
    """However soon: in the record no node took it in that time."""
    clock = ManualClock()
    with drained(clock, new_memory_url()) as queue:
        clock.advance(5)
        task = queue.new({"n": 11})
        clock.advance(0.000_001)
        queue.cancel(task.key)
        clock.advance(1)
        queue.new({"n": 12})
        queue.run(lambda _ctx, _task: clock.advance(1), until="idle")
        found = supposed(read_only(queue.url))

    assert found.as_it_was == found.recorded
    assert (found.what_if.attempts, found.what_if.cancelled) == (12, 1)


def test_no_wait_is_from_before_a_task_was_made() -> None:
    """Whatever instant it was made for; nor was a node missing then."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1) as queue:
        queue.new({"n": 1}, scheduled_at=datetime(2001, 1, 1, tzinfo=UTC))
        clock.advance(0.05)
        queue.run(lambda _ctx, _task: clock.advance(1), until="idle")
        found = supposed(read_only(queue.url))

    assert found.as_it_was == found.recorded
    assert found.recorded.waits.max_us == SECOND // 20
    assert found.absent_us == 0


def test_a_task_that_is_put_off_holds_its_worker_and_comes_again() -> None:
    """As long as it ran, and at the instant that it asked for; no attempt is counted."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1) as queue:
        queue.new_many([{"n": n} for n in range(3)])
        seen: list[int] = []

        def work(_ctx: object, task: Task) -> None:
            clock.advance(1)
            seen.append(task.number)
            if task.tags["n"] == 0 and seen.count(task.number) < 3:
                raise Snooze("10s")

        for _ in range(3):
            queue.run(work, until="idle")
            clock.advance(10)
        found = supposed(read_only(queue.url))

    assert found.as_it_was == found.recorded
    assert (found.recorded.attempts, found.recorded.completed) == (3, 3)


def test_what_runs_at_the_end_is_open() -> None:
    """The record does not say how it would have ended, whatever is supposed."""
    log = made(
        [Planned(START, order(n), [(2 + n) * SECOND]) for n in range(4)],
        workers=2,
    )
    commits = log.read(after=0)
    until = next(commit.last for commit in commits if commit.at == START + 2 * SECOND)

    found = whatif(log, after=Point(0, 0), until=Point(until, 0))
    more = whatif(log, after=Point(0, 0), until=Point(until, 0), workers=4)

    assert found.as_it_was == found.recorded
    assert (found.recorded.open, found.recorded.attempts, found.recorded.completed) == (3, 3, 1)
    assert (more.what_if.completed, more.what_if.drawn) == (2, 1)


def test_results_are_told_by_task() -> None:
    """How long each waited for its first attempt, and how long it took in all."""
    log = made(
        [
            Planned(START, order(0), [1 * SECOND, 1 * SECOND]),
            Planned(START, order(1), [2 * SECOND]),
        ],
        workers=1,
    )

    numbers = supposed(log).recorded

    assert numbers.waits.attempts == 3
    assert (numbers.first_waits.attempts, numbers.first_waits.max_us) == (2, 1 * SECOND)
    assert (numbers.durations.median_us, numbers.durations.max_us) == (3 * SECOND, 5 * SECOND)


# -- generated logs --------------------------------------------------------------------------------

lengths = st.integers(1, 5 * SECOND)
plans = st.lists(
    st.builds(
        lambda at, n, priority, delay_us, lengths_us: Planned(
            START + at, order(n, priority=priority, delay_us=delay_us), lengths_us
        ),
        st.integers(0, 20 * SECOND),
        st.integers(0, 2),
        st.integers(-1, 2),
        st.none() | st.integers(1, 10 * SECOND),
        st.lists(lengths, min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=8,
)
actions = st.lists(
    st.tuples(
        st.sampled_from(["retry", "cancel", "update", "new"]),
        st.integers(0, 20),
        st.integers(1, 10 * SECOND),
    ),
    max_size=6,
)


def act(
    log: MemoryLog,
    projection: Projection,
    ended: list[Task],
    action: tuple[str, int, int],
) -> None:
    """What a person does to one of the tasks some time later, as far as it can be done.

    ``ended`` are those that were called off so, which may be brought back.
    """
    what, which, after_us = action
    now = projection.at + after_us
    choice = [projection.tasks[number] for number in sorted(projection.tasks)]
    choice += ended if what == "retry" else []
    if what == "new":
        drafts, _ = decide.create([order(which)], {}, now=now)
    elif not choice:
        return
    else:
        task = choice[which % len(choice)]
        if task in ended:
            ended.remove(task)
        drafts = done(projection, task, what, now)
    after = record(log, projection, drafts, now=now)
    ended += [task for task in after if task and task.recorded_state is TaskState.CANCELLED]


def done(projection: Projection, task: Task, what: str, now: int) -> list[Draft]:
    """What the log gets of it."""
    if what == "cancel":
        return CancelTask().events(task, now)
    if what == "update":
        return UpdateTask(7).events(task, now)
    return decide.retry(task, by=None, now=now, projection=projection)


@given(planned=plans, workers=st.integers(1, 3), share=st.floats(0, 1), late=actions)
def test_as_it_was_meets_the_record(
    planned: list[Planned], workers: int, share: float, late: list[tuple[str, int, int]]
) -> None:
    """Wherever the record ends, and whatever people do when no node is there any more."""
    whole = made(planned, workers=workers)
    ends = [commit.last for commit in whole.read(after=0)]
    log = memory_log()
    projection = Projection("default")
    for commit in whole.read(after=0)[: 1 + int(share * (len(ends) - 1))]:
        log.append(commit)
        projection.apply(commit)
    if not projection.leased_count:
        ended: list[Task] = []
        for action in late:
            act(log, projection, ended, action)
    handle = ReadOnlyLog(log.storage, url="memory://", namespace="default")
    try:
        found = supposed(handle)
    except EventqError:
        # No attempt has ended yet.
        return

    assert found.misses == [], (found.recorded, found.as_it_was)


def test_a_miss_is_said() -> None:
    """Beyond 1 per cent of a count, 10 per cent or 200 ms of a time, and no earlier."""
    numbers = supposed(made([Planned(START, order(), [10 * SECOND])], workers=1)).recorded
    near = {"makespan_us": 11 * SECOND, "completed": 1}
    far = {"makespan_us": 11 * SECOND + 1, "completed": 2, "open": 1}

    def changed(fields: dict[str, int]) -> Numbers:
        return replace(numbers, **fields)

    assert misses(numbers, numbers) == []
    assert misses(numbers, changed(near)) == []
    assert [each.measure for each in misses(numbers, changed(far))] == [
        "completed",
        "open",
        "makespan_us",
    ]
    assert (COUNT_SHARE, TIME_SHARE, TIME_US) == (0.01, 0.1, SECOND / 5)
    assert "attempts" in COUNTED
