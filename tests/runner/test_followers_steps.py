"""One follower step by step, at a clock that tests move: claims, waits, what a crash leaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import Event, Queue, Task
from eventq.core.follow import AdvanceFollower, ClaimFollower
from eventq.core.queue_events import Followed
from eventq.eventlog.memory import MemoryLog, MemoryStorage
from eventq.handlers.follow import make_follow
from eventq.replay.followers import FollowedEvents
from eventq.runner.follower import FollowerRun
from tests.checker import check_log
from tests.runner.test_followers import fail_odd, told
from tests.support import ManualClock, node_of


@pytest.fixture
def queue() -> Iterator[Queue]:
    """An empty queue in memory."""
    with Queue("memory://", max_retries=0, workers=1) as opened:
        yield opened


def two_queues(clock: ManualClock) -> tuple[Queue, Queue]:
    """Two nodes on one log."""
    storage = MemoryStorage()

    def opened() -> Queue:
        log = MemoryLog(storage, url="memory://", namespace="default")
        return Queue(log=log, clock=clock)

    return opened(), opened()


def test_one_node_at_a_time_does_the_work() -> None:
    """A second one claims it once the first has given it back, or its lease is over."""
    clock = ManualClock()
    ours, theirs = two_queues(clock)
    wanted = [Followed("f", 0, name, 30_000_000) for name in ("anna", "bert")]
    anna, bert = (ClaimFollower(each, since=0) for each in wanted)
    execute, execute_there = node_of(ours).execute, node_of(theirs).execute

    assert execute(anna).result.left_us == 0
    assert execute_there(bert).result.left_us == 30_000_000
    clock.advance(29)
    assert execute(AdvanceFollower("f", "anna", 30_000_000, 1)).result is True
    clock.advance(29)
    assert execute_there(bert).result.left_us == 1_000_000
    clock.advance(1)
    taken = execute_there(bert).result
    assert (taken.left_us, taken.position) == (0, 1)
    assert execute(AdvanceFollower("f", "anna", 30_000_000, 2)).result is False
    assert execute_there(AdvanceFollower("f", "bert", 0, 2)).result is True
    assert execute(anna).result.left_us == 0
    check_log(ours.log)


def test_what_was_done_and_not_said_is_done_again() -> None:
    """After a crash: at least once, in order, and from the last position that was said."""
    clock = ManualClock()
    ours, theirs = two_queues(clock)
    seen: list[tuple[str, int]] = []

    def follower(queue: Queue, name: str) -> FollowerRun:
        def note(event: Event) -> None:
            seen.append((name, event.seq))

        follow = make_follow("f", note, kinds=["created"], names=None, since=0)
        return FollowerRun(follow, node_of(queue), ttl_us=30_000_000)

    first, second = follower(ours, "one"), follower(theirs, "two")
    numbers = [task.number for task in ours.new_many([{}, {}])]
    while first.step(lambda: False) == 0:
        pass
    clock.advance(2)
    # It says how far it has come, does one more, and is never heard of again.
    assert first.step(lambda: False) is None
    numbers.append(ours.new().number)
    first.step(lambda: False)
    while second.step(lambda: False) == 0:
        pass
    assert second.is_aside
    clock.advance(31)
    while second.step(lambda: False) == 0:
        pass

    assert seen == [*(("one", number) for number in numbers), ("two", numbers[-1])]
    check_log(ours.log)


def test_one_that_stands_by_reads_nothing_twice() -> None:
    """What the other one has said that it has done is behind both."""
    clock = ManualClock()
    ours, theirs = two_queues(clock)
    follow = make_follow("f", lambda _event: None, kinds=["created"], names=None, since=0)
    first, second = (FollowerRun(follow, node_of(q), ttl_us=30_000_000) for q in (ours, theirs))
    for _ in range(3):
        ours.new()
        for run in (first, second):
            while run.step(lambda: False) == 0:
                pass
        clock.advance(2)
        first.step(lambda: False)
    ours.new()
    second.step(lambda: False)

    assert first.done > 3
    assert second.done >= told(ours)[-1].seq


def test_one_that_stands_by_does_not_read_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the other one has it and is no further, there is nothing to be looked at."""
    clock = ManualClock()
    ours, theirs = two_queues(clock)
    follow = make_follow("f", lambda _event: 1 / 0, kinds=["created"], names=None, since=0)
    first, second = (FollowerRun(follow, node_of(q), ttl_us=30_000_000) for q in (ours, theirs))
    ours.new()
    for run in (first, second):
        while not run.is_aside:
            run.step(lambda: False)
    reads: list[int] = []
    read = FollowedEvents.read

    def counted(events: FollowedEvents, after: int) -> tuple[list[Event], int]:
        reads.append(after)
        return read(events, after)

    monkeypatch.setattr(FollowedEvents, "read", counted)

    assert second.step(lambda: False) == 0.25
    assert reads == []

    # Until it has stood by for long enough.
    clock.advance(31)
    second.step(lambda: False)
    assert reads


def test_the_wait_after_a_failure_doubles() -> None:
    """Up to a minute; what has come since waits, too, and success ends it."""
    clock = ManualClock()
    ours, _ = two_queues(clock)
    calls: list[float] = []

    def fail(event: Event) -> None:
        del event
        calls.append(clock.seconds - 1_000)
        if len(calls) < 9:
            raise OSError

    follow = make_follow("f", fail, kinds=["created"], names=None, since=0)
    run = FollowerRun(follow, node_of(ours), ttl_us=30_000_000)
    ours.new()
    while len(calls) < 9:
        pause_s = run.step(lambda: False)
        if run.is_aside:
            clock.advance(pause_s or 0)

    assert calls == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert run.step(lambda: False) == 0
    clock.advance(1)
    run.step(lambda: False)
    assert (told(ours)[-1].failures, told(ours)[-1].error) == (0, None)
    check_log(ours.log)


def test_all_kinds_are_all_but_those_about_followers(queue: Queue) -> None:
    """Else each would be followed by another one. The task is as the event left it."""
    seen: list[tuple[str, str | None]] = []

    def note(event: Event, task: Task | None) -> None:
        seen.append((event.kind, None if task is None else str(task.recorded_state)))

    queue.follow("idle", kinds=["cancelled"])(lambda _event: None)
    queue.task("odd")(fail_odd).new(1)
    queue.run(until="idle")
    run = FollowerRun(
        make_follow("f", note, kinds=None, names=None, since=0), node_of(queue), ttl_us=30_000_000
    )
    while run.step(lambda: False) == 0:
        pass

    assert seen == [
        ("created", "scheduled"),
        ("joined", None),
        ("leased", "leased"),
        ("failed", "failed"),
        ("expired", "expired"),
        ("left", None),
    ]


def test_one_that_is_dropped_while_nobody_holds_its_work_ends() -> None:
    """Its run does not bring it back at the next event."""
    clock = ManualClock()
    ours, _ = two_queues(clock)
    seen: list[int] = []
    follow = make_follow(
        "f", lambda event: seen.append(event.task), kinds=["created"], names=None, since=0
    )
    run = FollowerRun(follow, node_of(ours), ttl_us=1_000_000)
    first = ours.new().number
    while run.step(lambda: False) == 0:
        pass
    clock.advance(2)
    assert run.step(lambda: False) is None
    clock.advance(2)
    ours.drop_follower("f")
    ours.new()

    run.step(lambda: False)

    assert (run.is_over, seen, ours.followers()) == (True, [first], [])
    check_log(ours.log)


def test_other_code_of_a_name_is_in_the_log_before_it_has_something_to_do(queue: Queue) -> None:
    """Else its lag would be that of the code before it, and an archive would wait for nothing."""
    first, second = (
        make_follow("f", _seen, kinds=[kind], names=None, since=0)
        for kind in ("created", "expired")
    )
    before = FollowerRun(first, node_of(queue), ttl_us=30_000_000)
    before.begin()
    before.leave()
    queue.new()
    assert [(each.kinds, each.lag_events) for each in queue.followers()] == [(("created",), 1)]

    FollowerRun(second, node_of(queue), ttl_us=30_000_000).begin()

    assert [(each.kinds, each.lag_events) for each in queue.followers()] == [(("expired",), 0)]
    check_log(queue.log)


def _seen(event: Event) -> None:
    del event
