"""Followers: called after the commit, in order, at least once, by one node at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventq import ArgumentError, Event, Handlers, Queue, Task
from eventq.core.queue_events import Followed
from eventq.replay.followers import FollowerState
from eventq.runner.follower import STRIDE
from tests.checker import check_log
from tests.support import running, wait_until


@pytest.fixture
def queue() -> Iterator[Queue]:
    """An empty queue in memory; what it leaves must be a good log."""
    with Queue("memory://", max_retries=0, workers=1) as opened:
        yield opened
        check_log(opened.log)


def fail_odd(n: int) -> None:
    """A handler that fails every other time."""
    if n % 2:
        raise ValueError(n)


def told(queue: Queue) -> list[Followed]:
    """What the log says of followers."""
    return [event.body for event in queue.events() if isinstance(event.body, Followed)]


def test_every_end_is_followed(queue: Queue) -> None:
    """Completions, failures for good, expiries and cancellations by hand alike; in order."""
    seen: list[tuple[str, int]] = []

    @queue.follow("ends", kinds=["completed", "expired", "cancelled"], since=0)
    def _note(event: Event) -> None:
        seen.append((event.kind, event.task))

    handler = queue.task("odd")(fail_odd)
    queue.cancel(handler.new(0).key, by="ada")
    handler.new(1)
    handler.new(2)

    queue.run(until="idle")

    assert seen == [("cancelled", 1), ("expired", 3), ("completed", 4)]


def test_names_choose_and_the_task_is_as_the_event_left_it(queue: Queue) -> None:
    """A second parameter is given the task, also one that is final by now."""
    seen: list[tuple[str, str | None, str]] = []

    @queue.follow("mail", names=["mail.*"], since=0)
    def _note(event: Event, task: Task) -> None:
        seen.append((event.kind, task.name, task.recorded_state))

    queue.task("mail.send")(fail_odd).new(2)
    queue.task("docs")(fail_odd).new(2)
    queue.run(until="idle")

    assert seen == [
        ("created", "mail.send", "scheduled"),
        ("leased", "mail.send", "leased"),
        ("completed", "mail.send", "completed"),
    ]


def test_a_follower_begins_where_the_log_ends(queue: Queue) -> None:
    """What was before the first run that has it is past; a second run goes on, and misses none."""
    seen: list[int] = []
    queue.new()

    @queue.follow("created", kinds=["created"])
    async def _note(event: Event) -> None:
        await asyncio.sleep(0)
        seen.append(event.task)

    queue.run(lambda _ctx, _task: None, until="idle")
    numbers = [queue.new().number, queue.new().number]
    queue.run(lambda _ctx, _task: None, until="idle")

    assert seen == numbers


def test_what_a_follower_makes_is_run_before_the_run_is_idle(queue: Queue) -> None:
    """Also where nothing but followers is registered."""
    done: list[str] = []

    @queue.task
    def second(text: str) -> None:
        done.append(text)

    @queue.follow("chain", kinds=["completed"], names=["first"])
    def _chain(event: Event) -> None:
        second.new(str(event.task))

    queue.task("first")(fail_odd).new(0)
    queue.run(until="idle")

    assert done == ["1"]


def test_a_run_may_have_followers_alone() -> None:
    """It leases nothing."""
    handlers = Handlers()
    seen: list[str] = []

    @handlers.follow("all", kinds=["created"], since=0)
    def _note(event: Event) -> None:
        seen.append(event.kind)

    with Queue("memory://", handlers=[handlers]) as queue:
        queue.new()

        report = queue.run(until="idle")

        assert (seen, report.completed) == (["created"], 0)


def test_one_that_raises_is_called_again_and_holds_nothing_up(queue: Queue) -> None:
    """The same event first, after a wait; tasks and other followers go on; the log says why."""
    seen: list[int] = []
    others: list[int] = []
    failed: list[FollowerState] = []

    @queue.follow("fragile", kinds=["created"], since=0)
    def _note(event: Event) -> None:
        seen.append(event.task)
        if len(seen) == 1:
            raise ConnectionError("away")

    @queue.follow("other", kinds=["completed"], since=0)
    def _other(event: Event) -> None:
        others.append(event.task)

    def has_failed() -> bool:
        failed[:] = [state for state in queue.followers() if state.error is not None]
        return bool(failed)

    with running(queue, lambda _ctx, _task: None):
        first, second = (task.number for task in queue.new_many([{}, {}]))
        wait_until(has_failed)
        wait_until(lambda: (len(others), len(seen)) == (2, 3))

    assert seen == [first, first, second]
    [failing] = failed
    assert failing.error is not None
    assert (failing.failures, failing.error.type, failing.error.message) == (
        1,
        "ConnectionError",
        "away",
    )
    assert failing.lag_events == 2
    assert all(state.error is None for state in queue.followers())


def test_followed_is_said_at_most_once_a_second_and_given_back_at_the_end(queue: Queue) -> None:
    """Once for the claim, once for the end; nothing where there was nothing to follow."""

    @queue.follow("created", kinds=["created"])
    def _note(event: Event) -> None:
        del event

    queue.run(lambda _ctx, _task: None, until="idle")
    begun = len(told(queue))
    queue.run(lambda _ctx, _task: None, until="idle")
    idle = len(told(queue))
    last = queue.new_many([{} for _ in range(500)])[-1].number
    queue.run(lambda _ctx, _task: None, until="idle")

    assert (begun, idle) == (2, 2)
    assert len(told(queue)) <= 5
    assert (told(queue)[-1].ttl_us, told(queue)[-1].seq >= last) == (0, True)
    [state] = queue.followers()
    assert (state.worker, state.lag_events, state.kinds) == (None, 0, ("created",))


def test_many_events_without_one_to_follow_are_said_too(queue: Queue) -> None:
    """So that a restart need not read them again, and an archive may take them."""

    @queue.follow("rare", kinds=["cancelled"])
    def _note(event: Event) -> None:
        del event

    queue.run(lambda _ctx, _task: None, until="idle")
    queue.new_many([{} for _ in range(STRIDE)], lane="elsewhere")
    queue.run(lambda _ctx, _task: None, lanes=["default"], until="idle")

    [state] = queue.followers()
    assert state.position > STRIDE


def test_another_node_goes_on_where_one_has_stopped(tmp_path: Path) -> None:
    """At once where that gave the work back; each event comes to one of them, in order."""
    url = f"sqlite:///{tmp_path}/q.db"
    seen: list[tuple[str, int]] = []

    def opened(name: str) -> Queue:
        queue = Queue(url, workers=1)

        @queue.follow("f", kinds=["created"], since=0)
        def _note(event: Event) -> None:
            seen.append((name, event.task))

        return queue

    with opened("one") as one, opened("two") as two:
        with running(one, lambda _ctx, _task: None):
            first = one.new().number
            wait_until(lambda: seen == [("one", first)])
            with running(two, lambda _ctx, _task: None):
                second = two.new().number
                wait_until(lambda: len(seen) == 2)
                one.stop()
                wait_until(lambda: told(one)[-1].ttl_us == 0)
                third = two.new().number
                wait_until(lambda: len(seen) == 3)
        assert seen == [("one", first), ("one", second), ("two", third)]
        check_log(one.log)


@pytest.mark.parametrize("stops", [False, True])
def test_a_long_call_keeps_the_work(queue: Queue, *, stops: bool) -> None:
    """It is renewed meanwhile, so that no other node calls for the same event; to its end."""
    begun, may_end = threading.Event(), threading.Event()

    @queue.follow("slow", kinds=["created"], since=0)
    def _note(event: Event) -> None:
        del event
        begun.set()
        assert may_end.wait(60)

    with running(queue, lambda _ctx, _task: None, lease_ttl="1s"):
        queue.new()
        assert begun.wait(60)
        if stops:
            queue.stop()
        said = len(told(queue))
        wait_until(lambda: len(told(queue)) >= said + 4)
        may_end.set()


def test_one_that_is_dropped_is_forgotten_and_stops(queue: Queue) -> None:
    """A later run begins anew, where the log ends then."""
    seen: list[int] = []

    @queue.follow("f", kinds=["created"])
    def _note(event: Event) -> None:
        seen.append(event.task)

    queue.run(lambda _ctx, _task: None, until="idle")
    queue.drop_follower("f", by="ada")

    assert queue.followers() == []
    with pytest.raises(ArgumentError, match="the name of a follower"):
        queue.drop_follower("f")
    queue.new()
    queue.run(lambda _ctx, _task: None, until="idle")
    number = queue.new().number
    queue.run(lambda _ctx, _task: None, until="idle")
    assert seen == [number]


def test_other_code_of_one_name_is_warned_of(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on from the position that the name has; what can be told is told."""
    Handlers().follow("f")(print_it := _printing())
    queue.follow("f", kinds=["created"])(print_it)
    queue.run(lambda _ctx, _task: None, until="idle")
    other = Queue(log=queue.log)
    other.follow("f", kinds=["completed"])(print_it)

    other.run(lambda _ctx, _task: None, until="idle")

    assert "follower f was of other code until now" in caplog.text


def _printing() -> Callable[[Event], None]:
    def take(event: Event) -> None:
        del event

    return take


def no_argument() -> None:
    """Not to be called for an event."""


def a_generator(event: Event) -> Iterator[None]:
    """Nor this."""
    del event
    yield


@pytest.mark.parametrize(
    "options, function, argument",
    [
        ({"kinds": ["complete"]}, print, "kinds"),
        ({"kinds": "completed"}, print, "kinds"),
        ({"kinds": []}, print, "kinds"),
        ({"kinds": ["followed"]}, print, "kinds"),
        ({"names": "a"}, print, "names"),
        ({"names": ["a b"]}, print, "names"),
        ({"since": -1}, print, "since"),
        ({}, no_argument, "follow"),
        ({}, a_generator, "follow"),
        ({}, int, "follow"),
    ],
)
def test_what_cannot_follow_is_refused(options: Any, function: Any, argument: str) -> None:  # noqa: ANN401
    """At decoration, by the name of what is wrong."""
    with pytest.raises(ArgumentError) as caught:
        Handlers().follow("f", **options)(function)

    assert caught.value.argument == argument


def test_two_of_one_name_are_refused() -> None:
    """In one collection at decoration, in two of a queue when it runs."""
    one, other = Handlers(), Handlers()
    one.follow("f")(_printing())
    other.follow("f")(_printing())
    with pytest.raises(ArgumentError, match="no other follower"):
        one.follow("f")(_printing())
    with (
        Queue("memory://", handlers=[one, other]) as queue,
        pytest.raises(ArgumentError, match="no other follower"),
    ):
        queue.run(lambda _ctx, _task: None, until="idle")
