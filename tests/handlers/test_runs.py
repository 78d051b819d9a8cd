"""Runs of handlers: by name and lane, of all kinds together, wrapped, and told in the log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from eventq import ArgumentError, Context, Handlers, Queue, Task, TaskState
from eventq.core.queue_events import Joined, Left
from eventq.handlers.collection import Register
from eventq.testing import ManualClock
from tests.support import final, kinds, running, wait_until


@pytest.fixture
def queue() -> Iterator[Queue]:
    """An empty queue in memory."""
    with Queue("memory://", max_retries=0, workers=2) as opened:
        yield opened


def states(queue: Queue) -> dict[str, str]:
    """The state of every task by its key."""
    keys = [event.task for event in queue.events() if event.kind == "created"]
    return {str(number): final(queue, str(number)).state.value for number in keys}


def do_nothing() -> None:
    """A handler that only has to be called."""


def test_a_run_takes_what_its_handlers_have_names_for(queue: Queue) -> None:
    """A name that nobody handles, and what has none, waits, and is counted as left."""
    queue.task("ours")(do_nothing).new()
    queue.new(name="theirs")
    queue.new()

    report = queue.run(until="idle")

    assert states(queue) == {"1": "completed", "2": "ready", "3": "ready"}
    assert (report.completed, report.left) == (1, 2)
    assert [final(queue, key).attempt for key in "23"] == [0, 0]


@pytest.mark.parametrize(
    "names, done", [(["docs.*"], "13"), (["mail"], "2"), (["docs.a", "mail"], "12"), (["*"], "123")]
)
def test_names_choose_among_the_handlers(queue: Queue, names: list[str], done: str) -> None:
    """By name or by pattern."""
    for name in ("docs.a", "mail", "docs.b"):
        queue.task(name)(do_nothing).new()

    queue.run(names=names, until="idle")

    assert "".join(key for key, state in states(queue).items() if state == "completed") == done


@pytest.mark.parametrize("names, done", [(None, "3"), (["*"], "123"), (["docs.*"], "1")])
def test_a_worker_takes_what_has_no_name_or_what_it_is_told(
    queue: Queue, names: list[str] | None, done: str
) -> None:
    """Also tasks that handlers are registered for: it stands in for them."""
    for name in ("docs.a", "mail"):
        queue.new(name=name)
    queue.new()

    queue.run(lambda _ctx, _task: None, names=names, until="idle")

    assert "".join(key for key, state in states(queue).items() if state == "completed") == done


def test_lanes_choose_among_the_tasks(queue: Queue) -> None:
    """Tasks of other lanes are left."""
    handler = queue.task("handler")(do_nothing)
    for lane in ("a", "b", "default"):
        handler.using(lane=lane).new()

    queue.run(lanes=["a", "default"], until="idle")

    assert states(queue) == {"1": "completed", "2": "ready", "3": "completed"}


def test_slots_are_those_of_each_lane(queue: Queue) -> None:
    """One of the heavy ones at a time, however many wait, while light ones go on beside it."""
    heavy_gate, running_now, most = threading.Event(), set[str](), {"heavy": 0, "light": 0}
    lock = threading.Lock()

    @queue.task
    def handler(ctx: Context) -> None:
        with lock:
            running_now.add(ctx.task.key)
            lanes = [final(queue, key).lane for key in running_now]
            for lane, before in most.items():
                most[lane] = max(before, lanes.count(lane))
        if ctx.task.lane == "heavy":
            heavy_gate.wait(60)
        with lock:
            running_now.discard(ctx.task.key)

    queue.new_many([handler.using(lane="heavy", priority=9).spec() for _ in range(3)])
    light = queue.new_many([handler.using(lane="light").spec() for _ in range(6)])
    with running(queue, None, lanes={"heavy": 1, "light": 2}, until="idle") as run:
        wait_until(lambda: all(final(queue, t.key).state == "completed" for t in light))
        assert most["heavy"] == 1
        heavy_gate.set()
        run.result()

    assert most["heavy"] == 1
    assert most["light"] <= 2
    assert set(states(queue).values()) == {"completed"}


def test_def_and_async_share_the_slots() -> None:
    """Two at a time, whatever their kinds are."""
    lock, now, most = threading.Lock(), [0], [0]

    def note(change: int) -> None:
        with lock:
            now[0] += change
            most[0] = max(most[0], now[0])

    with Queue("memory://", workers=2) as queue:

        @queue.task
        def plain() -> str:
            note(1)
            note(-1)
            return threading.current_thread().name

        @queue.task
        async def loop() -> str:
            note(1)
            await asyncio.sleep(0)
            note(-1)
            return threading.current_thread().name

        queue.new_many([spec for _ in range(50) for spec in (plain.spec(), loop.spec())])
        queue.run(until="idle")

        assert most[0] <= 2
        assert final(queue, "1").result.startswith("eventq-worker")
        assert final(queue, "2").result.startswith("eventq-loop")
        assert set(states(queue).values()) == {"completed"}


def test_a_node_says_what_it_can_run(queue: Queue) -> None:
    """Before its first lease, and that it has left at the end."""

    @queue.task("docs.ocr")
    def ocr(path: str, *, dpi: int = 300) -> None: ...

    ocr.new("a")
    queue.run(until="idle", lanes={"default": 1, "heavy": 3})

    bodies = [event.body for event in queue.events()]
    [joined] = [body for body in bodies if isinstance(body, Joined)]
    assert (joined.names, joined.unnamed) == (("docs.ocr",), False)
    assert (joined.lanes, joined.slots) == ({"default": 1, "heavy": 3}, 4)
    assert joined.signatures == {"docs.ocr": "(path: str, *, dpi: int = 300)"}
    assert [type(body) for body in bodies][1] is Joined
    assert isinstance(bodies[-1], Left)


def test_a_plain_worker_says_nothing(queue: Queue) -> None:
    """What has no name, in any lane, is what a node takes that has said nothing."""
    queue.new()

    queue.run(lambda _ctx, _task: None, until="idle")

    assert kinds(queue, "1") == ["created", "leased", "completed"]
    assert not any(isinstance(event.body, Joined | Left) for event in queue.events())


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"names": ["nobody"]},
        {"names": []},
        {"names": "docs.*"},
        {"names": ["a b"]},
        {"lanes": []},
        {"lanes": "heavy"},
        {"lanes": ["a", "a"]},
        {"lanes": {"a": 0}},
        {"lanes": {"a": "1"}},
        {"lanes": {"": 1}},
    ],
)
def test_a_run_of_nothing_is_refused(queue: Queue, arguments: dict[str, Any]) -> None:
    """Names that no handler has, and lanes that cannot be."""
    if arguments:
        queue.task("handler")(do_nothing)

    with pytest.raises(ArgumentError):
        queue.run(until="idle", **arguments)


def test_arounds_wrap_each_attempt(queue: Queue) -> None:
    """Outermost first, in the attempt's own thread, also of a plain worker."""
    said: list[tuple[str, str]] = []

    def around(name: str) -> Any:  # noqa: ANN401
        def wrapping(_ctx: Context) -> Iterator[None]:
            said.append((f"{name} begins", threading.current_thread().name))
            yield
            said.append((f"{name} ends", threading.current_thread().name))

        return wrapping

    queue.around(around("outer"))
    queue.around(around("inner"))

    @queue.task
    def handler() -> None:
        said.append(("handler", threading.current_thread().name))

    handler.new()
    queue.run(until="idle")

    assert [word for word, _ in said] == [
        "outer begins",
        "inner begins",
        "handler",
        "inner ends",
        "outer ends",
    ]
    assert len({thread for _, thread in said}) == 1


def test_a_collection_wraps_its_own_handlers() -> None:
    """Inside of what the queue wraps around all."""
    said: list[str] = []
    handlers = Handlers()
    registers: list[Register] = [handlers.task("theirs")]

    @handlers.around
    def theirs(_ctx: Context) -> Iterator[None]:
        said.append("collection")
        yield

    with Queue("memory://", handlers=[handlers], workers=1) as queue:

        @queue.around
        def ours(ctx: Context) -> Iterator[None]:
            said.append(f"queue {ctx.task.name}")
            yield

        registers[0](do_nothing).new()
        queue.task("ours")(do_nothing).new()
        queue.run(until="idle")

    assert said == ["queue theirs", "collection", "queue ours"]


def test_an_error_passes_through_the_arounds(queue: Queue) -> None:
    """They see it at their yield, and may raise another one; what they raise fails the attempt."""
    seen: list[str] = []

    @queue.around
    def watching(_ctx: Context) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            seen.append(str(error))
            raise OSError("while cleaning up") from error

    @queue.task
    def handler() -> None:
        raise ValueError("no")

    handler.new()
    queue.run(until="idle")

    assert seen == ["no"]
    error = final(queue, "1").last_error
    assert error is not None
    assert (error.type, error.message) == ("OSError", "while cleaning up")


def test_async_arounds_wrap_coroutines(queue: Queue) -> None:
    """A plain generator does as well; neither is wrapped around a `def` handler unseen."""
    said: list[str] = []

    @queue.around
    async def awaited(_ctx: Context) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        said.append("async")
        yield

    @queue.around
    def plain(_ctx: Context) -> Iterator[None]:
        said.append("plain")
        yield

    @queue.task
    async def handler() -> str:
        return "done"

    handler.new()
    queue.run(until="idle")

    assert said == ["async", "plain"]
    assert final(queue, "1").result == "done"
    queue.task("sync")(do_nothing)
    with pytest.raises(ArgumentError, match="async"):
        queue.run(until="idle")


def not_once(_ctx: Context) -> None:
    """No generator."""


@pytest.mark.parametrize("function", [not_once, 5, lambda: (yield)])
def test_what_cannot_wrap_is_refused(queue: Queue, function: Any) -> None:  # noqa: ANN401
    """When it is registered."""
    with pytest.raises(ArgumentError, match="around"):
        queue.around(function)


def test_a_run_in_a_loop_calls_handlers_too() -> None:
    """`AsyncQueue.run` without a worker; coroutines run in the caller's loop."""

    async def main() -> tuple[TaskState, Any]:
        async with Queue("memory://").aio as queue:
            loop = asyncio.get_running_loop()

            @queue.queue.task
            async def handler() -> bool:
                return asyncio.get_running_loop() is loop

            task: Task = await handler.aio.new()
            await queue.run(until="idle")
            done = await queue.get(task.key)
            assert done is not None
            return done.state, done.result

    assert asyncio.run(main()) == (TaskState.COMPLETED, True)


def test_names_that_nobody_handles_are_warned_of(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """By a run that cannot take them; what it handles itself is none of them."""
    queue.task("ours")(do_nothing).new()
    queue.new_many([{}] * 3, name="theirs")

    queue.run(until="idle")

    said = [record.getMessage() for record in caplog.records if "no running" in record.msg]
    assert said == ["no running node handles theirs (3 waiting)"]
    # Once the run is over, nobody takes what it handled either, but of that nothing is left.
    assert queue.stats().unhandled == {"theirs": 3}


def test_the_warning_comes_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Also while nothing else happens, and by a plain run."""
    clock = ManualClock()

    def said() -> int:
        return sum("no running" in record.msg for record in caplog.records)

    with Queue("memory://", clock=clock) as queue:
        queue.new(name="theirs")
        with running(queue, lambda _ctx, _task: None):
            for minute in (1, 2, 3):
                wait_until(lambda: said() >= minute)  # noqa: B023 - called before the next one
                assert said() == minute
                clock.forward("61s")


def test_limits_that_hold_tasks_for_good_are_warned_of(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has defined one; the other is counted by a tag since a task without it was made."""
    queue.new(limits=["nobody"])
    queue.new(limits=["smtp"])
    queue.new(limits=["plain"])
    queue.limit("smtp", running=1, per="host")
    queue.limit("plain", running=1)

    queue.run(lambda *_: None, until="idle")

    assert [record.getMessage() for record in caplog.records] == [
        "tasks wait for limits that are not defined: nobody (1 waiting)",
        "tasks wait that lack the tag by which their limit is counted: smtp (1 waiting)",
    ]
