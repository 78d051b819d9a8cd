"""Registering handlers, and making tasks of their calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from eventq import (
    ArgumentError,
    Context,
    Handlers,
    KeyConflictError,
    NoAttemptError,
    NotBoundError,
    Queue,
    TaskFailedError,
    TaskState,
)


@pytest.fixture
def queue() -> Iterator[Queue]:
    """An empty queue in memory."""
    with Queue("memory://", max_retries=0) as opened:
        yield opened


def test_a_call_is_a_plain_call(queue: Queue) -> None:
    """No task comes of it."""

    @queue.task
    def double(number: int) -> int:
        """Twice the number."""
        return 2 * number

    assert double(4) == 8
    assert (double.name, double.__doc__) == ("double", "Twice the number.")
    assert queue.tasks() == []


def test_new_makes_a_task_of_the_call(queue: Queue) -> None:
    """Its arguments are its tags, by the handler's name and with its options."""

    @queue.task("docs.ocr", lane="heavy", priority=3, max_retries=8, deadline="30m")
    def ocr(path: str, *, dpi: int = 300) -> None: ...

    task = ocr.new("a.pdf", dpi=600)

    assert (task.name, task.lane, task.priority) == ("docs.ocr", "heavy", 3)
    assert task.tags == {"path": "a.pdf", "dpi": 600}
    assert (task.policy.max_retries, task.policy.deadline_us) == (8, 1_800_000_000)


def test_using_goes_before_the_handler_and_the_handler_before_the_queue() -> None:
    """Option by option; of two that exclude each other the other one goes."""
    with Queue("memory://", max_retries=1, max_age="1d", max_lapses=9) as queue:

        @queue.task(max_retries=2, max_age="2d", delay="1h", lane="a")
        def handler(path: str) -> None: ...

        at = datetime(2040, 1, 1, tzinfo=UTC)
        usual = handler.new("a")
        other = handler.using(
            max_retries=3, scheduled_at=at, expires_at=at.replace(year=2041), tags={"tenant": "7"}
        ).new("b")

    assert (usual.policy.max_retries, usual.policy.max_lapses) == (2, 9)
    assert usual.scheduled_at_us - usual.created_at_us == 3_600_000_000
    assert (other.policy.max_retries, other.scheduled_at, other.lane) == (3, at, "a")
    assert other.policy.max_age_us is None
    assert other.tags == {"path": "b", "tenant": "7"}


def test_using_twice_adds_up(queue: Queue) -> None:
    """Each time options and tags are added; the handler itself stays as it is."""

    @queue.task
    def handler(path: str) -> None: ...

    task = handler.using(priority=5, tags={"a": 1}).using(tags={"b": 2}, key="k").new("x")

    assert (task.priority, task.key, task.tags) == (5, "k", {"path": "x", "a": 1, "b": 2})
    assert handler.new("x").priority == 0


def test_specs_make_many_at_once(queue: Queue) -> None:
    """Of several handlers and plain ones in one commit."""

    @queue.task(priority=1)
    def one(path: str) -> None: ...

    @queue.task(lane="x")
    def two(number: int) -> None: ...

    tasks = queue.new_many([one.spec("a"), two.spec(1), two.using(priority=7).spec(2), {"p": 1}])

    assert [(t.name, t.lane, t.priority) for t in tasks] == [
        ("one", "default", 1),
        ("two", "x", 0),
        ("two", "x", 7),
        (None, "default", 0),
    ]


def test_a_queue_takes_a_handler_and_its_arguments(queue: Queue) -> None:
    """As the handler does, for handlers that are bound elsewhere or to many queues."""
    handlers = Handlers()

    @handlers.task
    def handler(path: str, priority: int) -> None: ...

    task = queue.new(handler.using(priority=4), "a", priority=7)

    assert (task.name, task.priority, task.tags) == ("handler", 4, {"path": "a", "priority": 7})
    assert queue.new(handler.spec("b", 1)).tags == {"path": "b", "priority": 1}


def test_a_key_of_a_task_of_another_name_is_taken(queue: Queue) -> None:
    """What a task is to its caller includes who runs it."""

    @queue.task
    def handler(path: str) -> None: ...

    queue.new({"path": "a"}, key="k")

    with pytest.raises(KeyConflictError, match="name"):
        handler.using(key="k").new("a")


def test_a_handler_without_an_open_queue_makes_no_task() -> None:
    """Nor one with two, of which either could be meant."""
    handlers = Handlers()

    @handlers.task
    def handler() -> None: ...

    with pytest.raises(NotBoundError, match="no open queue"):
        handler.new()
    with Queue("memory://", handlers=[handlers]):
        assert handler.new().name == "handler"
        with Queue("memory://", handlers=[handlers]), pytest.raises(NotBoundError, match="2 open"):
            handler.new()
        assert handler.new().key == "2"
    with pytest.raises(NotBoundError):
        handler.new()


def test_a_handler_registered_later_is_bound_as_well() -> None:
    """Modules are imported in any order."""
    handlers = Handlers()
    with Queue("memory://", handlers=[handlers]):

        @handlers.task
        def handler() -> None: ...

        assert handler.new().name == "handler"


def test_two_handlers_of_one_name_are_refused() -> None:
    """Within a collection at once, across collections when they meet."""
    ours, others = Handlers(), Handlers()

    @ours.task("a")
    def first() -> None: ...

    @others.task("a")
    def second() -> None: ...

    with pytest.raises(ArgumentError, match="'a'"):
        ours.task("a")(first.function)
    with pytest.raises(ArgumentError, match="'a'"):
        Queue("memory://", handlers=[ours, others])
    with Queue("memory://", handlers=[ours]) as both:
        both.task("a")(first.function)
        with pytest.raises(ArgumentError, match="'a'"):
            both.run(until="idle")


def generator() -> Iterator[int]:
    """Its body never runs by a mere call."""
    yield 1


async def async_generator() -> AsyncIterator[int]:
    """Nor this one's."""
    yield 1


@pytest.mark.parametrize("function", [generator, async_generator, 5, Queue])
def test_what_is_no_function_is_no_handler(queue: Queue, function: Any) -> None:  # noqa: ANN401
    """Generators, classes and values."""
    with pytest.raises(ArgumentError, match="handler"):
        queue.task(function)


@pytest.mark.parametrize(
    "options",
    [
        {"lane": "a b"},
        {"lane": ""},
        {"priority": "high"},
        {"max_retries": -1},
        {"result": "loose"},
        {"result": []},
        {"retry": {int: "1s"}},
        {"key": "k"},
        {"nonsense": 1},
    ],
)
def test_wrong_options_of_a_handler_are_refused(queue: Queue, options: dict[str, Any]) -> None:
    """When it is made."""
    with pytest.raises(ArgumentError):
        queue.task("name", **options)(lambda: None)


@pytest.mark.parametrize("name", ["", "a b", "*", "ä", "-x", "x" * 129])
def test_odd_names_are_refused(queue: Queue, name: str) -> None:
    """A name goes into patterns, command lines and metrics."""
    with pytest.raises(ArgumentError, match="name"):
        queue.task(name)(lambda: None)


def test_a_lambda_needs_a_name(queue: Queue) -> None:
    """Its own is none."""
    with pytest.raises(ArgumentError, match="name"):
        queue.task(lambda: None)


def test_tags_that_clash_with_arguments_are_refused(queue: Queue) -> None:
    """One of the two would be lost."""

    @queue.task
    def handler(path: str) -> None: ...

    with pytest.raises(ArgumentError, match="path"):
        handler.using(tags={"path": "x"})
    with pytest.raises(ArgumentError, match="name"):
        handler.using(name="other")


def test_nothing_is_appended_for_a_wrong_call(queue: Queue) -> None:
    """Neither for one that Python refuses nor for one that does not fit."""

    @queue.task
    def handler(path: str) -> None: ...

    call: Callable[..., Any] = handler.new
    with pytest.raises(TypeError, match=r"^handler\(\) missing a required argument: 'path'"):
        call()
    with pytest.raises(ArgumentError):
        call(5)

    assert list(queue.events()) == []


def test_results_are_of_the_annotated_type(queue: Queue) -> None:
    """And a task without success has none."""

    @queue.task
    def handler(path: str) -> datetime:
        return datetime.fromisoformat(path)

    @queue.task
    def broken() -> int:
        raise ValueError("no")

    good, bad = handler.new("2026-01-02T00:00:00+00:00"), broken.new()
    with pytest.raises(TaskFailedError, match="ready"):
        handler.result_of(good)
    queue.run(until="idle")

    done, failed = queue.get(good.key), queue.get(bad.key)
    assert done is not None
    assert failed is not None
    assert handler.result_of(done) == datetime(2026, 1, 2, tzinfo=UTC)
    with pytest.raises(TaskFailedError, match="ValueError: no") as found:
        broken.result_of(failed)
    assert (found.value.state, found.value.reason) == (TaskState.EXPIRED, "max_retries")


def test_a_context_is_that_of_the_running_attempt(queue: Queue) -> None:
    """Also for a plain call of another handler inside it; outside there is none."""

    @queue.task
    def inner(ctx: Context, number: int) -> int:
        return ctx.fence + number

    @queue.task
    def outer(ctx: Context) -> list[int]:
        return [ctx.fence, inner(0)]

    with pytest.raises(NoAttemptError):
        inner(1)
    key = outer.new().key
    queue.run(until="idle")

    done = queue.get(key)
    assert done is not None
    first, second = outer.result_of(done)
    assert first == second


def test_awaited_handlers_make_tasks_too() -> None:
    """`Handler.aio` is the same, awaited."""

    async def main() -> tuple[int, str | None]:
        async with Queue("memory://").aio as queue:

            @queue.queue.task
            async def handler(number: int) -> int:
                return number + 1

            task = await handler.aio.new(4)
            await queue.run(until="idle")
            done = await queue.get(task.key)
            assert done is not None
            return handler.result_of(done), done.name

    assert asyncio.run(main()) == (5, "handler")


def test_an_argument_may_have_any_name(queue: Queue) -> None:
    """Also those that methods of a handler give to what they are called on."""

    @queue.task
    def handler(self: int, args: int, name: str, tags: int) -> list[Any]:
        return [self, args, name, tags]

    task = handler.new(self=1, args=2, name="x", tags=3)
    queue.run(until="idle")

    assert handler(self=1, args=2, name="x", tags=3) == [1, 2, "x", 3]
    assert handler.result_of(queue.get(task.key) or task) == [1, 2, "x", 3]
    assert asyncio.run(handler.aio.new(self=1, args=2, name="x", tags=3)).tags == task.tags


def test_tags_of_using_are_names_with_values(queue: Queue) -> None:
    """As those of `new`."""
    wrong: Any = 5
    handler = queue.task("handler")(lambda: None)

    with pytest.raises(ArgumentError, match="tags"):
        handler.using(tags=wrong)


def test_a_handler_is_no_worker(queue: Queue) -> None:
    """Else its tasks would wait for ever, and it would be called for others."""
    handler = queue.task("handler")(lambda *, number=1: number)
    handler.new()

    with pytest.raises(ArgumentError, match="run without a worker"):
        queue.run(handler, until="idle")


def test_a_handler_shows_its_name_and_arguments(queue: Queue) -> None:
    """In messages, and where somebody looks at it."""

    def handler(path: str, *, dpi: int = 300) -> None: ...

    assert (
        repr(queue.task("docs.ocr")(handler)) == "<Handler docs.ocr(path: str, *, dpi: int = 300)>"
    )
