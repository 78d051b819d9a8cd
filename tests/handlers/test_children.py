"""Tasks that attempts make with their completions: in the same commit, and only then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventq import (
    ArgumentError,
    AttemptCancelledError,
    Cancel,
    Context,
    DeadlineExceededError,
    Fail,
    Handlers,
    NewTaskRef,
    NoAttemptError,
    Queue,
    Retry,
    Snooze,
    Task,
    TaskSpec,
)
from eventq.core.commits import Event
from eventq.core.events import Completed, Created, Failed
from eventq.handlers.children import CHILDREN_BYTES, MOST_CHILDREN
from eventq.handlers.context import AsyncContext
from tests.checker import check_log
from tests.support import Gate, HookedLog, final, kinds, queue_on, running, wait_until


@pytest.fixture
def queue() -> Iterator[Queue]:
    """An empty queue in memory, whose log holds what must always hold."""
    with Queue("memory://", max_retries=0, workers=2) as opened:
        yield opened
        check_log(opened.log)


def made_by(queue: Queue, number: int = 1) -> list[Event]:
    """The events that stand right behind a task's completion, as far as they belong to it."""
    events = list(queue.events())
    [place] = [i for i, e in enumerate(events) if e.task == number and e.kind == "completed"]
    body = events[place].body
    assert isinstance(body, Completed)
    return events[place + 1 : place + 1 + body.made]


def bodies(events: list[Event]) -> list[Created]:
    """Their bodies, which are all of tasks that were made."""
    found = [event.body for event in events]
    assert all(isinstance(body, Created) for body in found)
    return found  # type: ignore[return-value]


def test_children_come_with_the_completion(queue: Queue) -> None:
    """From tags and options, a spec, or a handler and its arguments; in order, in one commit."""

    @queue.task("child", lane="heavy")
    def child(n: int) -> None: ...

    @queue.task("parent")
    def parent(ctx: Context) -> list[str | None]:
        refs = [
            ctx.new({"a": 1}, priority=5, key="k"),
            ctx.new(TaskSpec({"b": 2}, delay="1h")),
            ctx.new(child, 3),
            ctx.new(child.using(priority=7), n=4),
            *ctx.new_many([{"c": 5}, child.spec(6)], priority=1),
        ]
        assert refs[0] == NewTaskRef(0, "k")
        assert [ref.index for ref in refs] == [0, 1, 2, 3, 4, 5]
        return [ref.key for ref in refs]

    parent.new()
    queue.run(names=["parent"], until="idle")

    made = made_by(queue)
    found = bodies(made)
    assert [(b.name, b.priority, b.lane, bytes(b.tags)) for b in found] == [
        (None, 5, None, b'{"a":1}'),
        (None, 0, None, b'{"b":2}'),
        ("child", 0, "heavy", b'{"n":3}'),
        ("child", 7, "heavy", b'{"n":4}'),
        (None, 1, None, b'{"c":5}'),
        ("child", 1, "heavy", b'{"n":6}'),
    ]
    assert [b.made_by for b in found] == [1] * 6
    assert found[1].scheduled_at == made[1].at + 3_600_000_000
    assert final(queue, "k").number == made[0].seq
    assert final(queue, "1").result == ["k", None, None, None, None, None]


def test_children_have_the_options_of_their_queue() -> None:
    """As if the queue had made them."""
    with Queue("memory://", max_retries=3, backoff="7s", deadline="5s", max_lapses=2) as queue:
        queue.new()
        own = final(queue, "1").policy
        queue.run(lambda ctx, task: None if task.number > 1 else str(ctx.new()), until="idle")

        [made] = bodies(made_by(queue))

    assert made.policy == own


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), Retry(), Fail("no"), Cancel("no"), Snooze("1h")],
    ids=lambda error: type(error).__name__,
)
def test_an_attempt_that_ends_otherwise_makes_none(queue: Queue, error: Exception) -> None:
    """Whatever it had asked for before."""

    def work(ctx: Context, _task: Task) -> None:
        ctx.new({"child": 1})
        raise error

    queue.new()
    queue.run(work, until="idle")

    assert [event.kind for event in queue.events()].count("created") == 1


def test_only_the_attempt_that_completes_makes_its_own() -> None:
    """What an earlier attempt had asked for is not made up for."""
    with Queue("memory://", backoff=0) as queue:

        def work(ctx: Context, task: Task) -> None:
            if not task.tags:
                ctx.new({"attempt": task.attempt})
                if task.attempt == 1:
                    raise ValueError("not yet")

        queue.new()
        queue.run(work, until="idle")

        assert [bytes(body.tags) for body in bodies(made_by(queue))] == [b'{"attempt":2}']


def test_a_result_that_cannot_be_kept_strictly_makes_none(queue: Queue) -> None:
    """That attempt has failed."""

    @queue.task(result="strict")
    def parent(ctx: Context) -> Any:  # noqa: ANN401
        ctx.new()
        return object()

    parent.new()
    queue.run(until="idle")

    assert kinds(queue, "1") == ["created", "leased", "failed", "expired"]
    assert queue.stats().total == 1


def test_async_and_threads_and_arounds_make_them_too(queue: Queue) -> None:
    """All are of the attempt, until it has ended."""

    @queue.around
    def around(ctx: Context) -> Iterator[None]:
        ctx.new({"by": "before"})
        yield
        ctx.new({"by": "after"})

    @queue.task
    async def parent(ctx: AsyncContext) -> None:
        ctx.new({"by": "loop"})
        await ctx.sleep(0)

    @queue.task
    def threaded(ctx: Context) -> None:
        threads = [threading.Thread(target=ctx.new, args=({"by": n},)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    parent.new()
    threaded.new()
    queue.run(until="idle")

    tags = [[final(queue, str(e.seq)).tags["by"] for e in made_by(queue, n)] for n in (1, 2)]
    assert tags[0] == ["before", "loop", "after"]
    assert sorted(map(str, tags[1][1:-1])) == sorted(map(str, range(20)))


shop = Handlers()


@shop.task("shop.child")
def child(n: int) -> None:
    """A handler to make tasks for."""


WRONG: dict[str, tuple[Callable[[Any], object], type[Exception]]] = {
    "a value": (lambda ctx: ctx.new({"a": object()}), ArgumentError),
    "two places": (lambda ctx: ctx.new({"a": 1}, 2), ArgumentError),
    "an option": (lambda ctx: ctx.new({"a": 1}, colour="red"), ArgumentError),
    "a spec with options": (lambda ctx: ctx.new(TaskSpec(), priority=1), ArgumentError),
    "too late": (lambda ctx: ctx.new(expires_at=ctx.task.created_at), ArgumentError),
    "no list": (lambda ctx: ctx.new_many({"a": 1}), ArgumentError),
    "one key for all": (lambda ctx: ctx.new_many([{}], key="k"), ArgumentError),
    "too many arguments": (lambda ctx: ctx.new(child, 1, 2), TypeError),
    "another type": (lambda ctx: ctx.new(child, "one"), ArgumentError),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_raises_at_once(queue: Queue, name: str) -> None:
    """And asks for nothing; the attempt may go on."""
    call, error = WRONG[name]

    def work(ctx: Context, _task: Task) -> None:
        with pytest.raises(error):
            call(ctx)

    queue.new()
    queue.run(work, until="idle")

    assert made_by(queue) == []


def test_more_than_a_commit_holds_is_refused(queue: Queue) -> None:
    """The completion and all children must go into one; what is refused is refused as a whole."""

    def work(ctx: Context, task: Task) -> None:
        if task.number != 1:
            return
        with pytest.raises(ArgumentError, match="no more than 999 tasks"):
            ctx.new_many([{}] * (MOST_CHILDREN + 1))
        ctx.new_many([{"n": 1}] * MOST_CHILDREN)
        with pytest.raises(ArgumentError, match="no more than 999 tasks"):
            ctx.new()

    queue.new()
    queue.run(work, until="idle")

    assert len(made_by(queue)) == MOST_CHILDREN
    assert queue.stats().completed == MOST_CHILDREN + 1


def test_bytes_are_counted_too(queue: Queue) -> None:
    """With the longest result and leases beside it, the commit still fits."""
    big = {"text": "x" * 60_000}

    def work(ctx: Context, task: Task) -> Any:  # noqa: ANN401
        if task.number != 1:
            return None
        for _ in range(CHILDREN_BYTES // 60_500):
            ctx.new(big)
        with pytest.raises(ArgumentError, match="896 KiB"):
            ctx.new(big)
        ctx.progress(1)
        return "y" * 65_000

    queue.new()
    queue.run(work, until="idle")

    [commit] = [c for c in queue.log.read(after=0) if '"made":' in "".join(c.bodies)]
    assert sum(len(body.encode()) for body in commit.bodies) <= 1024 * 1024
    assert len(made_by(queue)) == CHILDREN_BYTES // 60_500


def test_a_context_makes_nothing_once_its_attempt_has_ended(queue: Queue) -> None:
    """Nor keeps anything: it would be lost."""
    seen: list[Context] = []
    queue.new()
    queue.run(lambda ctx, _task: seen.append(ctx), until="idle")

    with pytest.raises(NoAttemptError):
        seen[0].new()
    with pytest.raises(NoAttemptError):
        seen[0].new_many([{}])
    with pytest.raises(NoAttemptError):
        seen[0].save(1)
    seen[0].progress(1)


def test_an_attempt_that_should_stop_makes_nothing(queue: Queue) -> None:
    """Its outcome will not count."""
    gate = Gate()
    errors: list[BaseException] = []

    def work(ctx: Context, task: Task) -> None:
        gate()
        if task.key == "late":
            wait_until(lambda: ctx.remaining() == 0.0)
        else:
            wait_until(lambda: ctx.cancelled)
        for call in (ctx.new, lambda: ctx.save(1)):
            try:
                call()
            except Exception as error:  # noqa: BLE001 - looked at below
                errors.append(error)

    queue.new(key="off")
    queue.new(key="late", deadline="1s")
    with running(queue, work):
        wait_until(gate.reached.is_set)
        queue.cancel("off")
        gate.open()
        wait_until(lambda: len(errors) == 4)

    found = sorted(type(error).__name__ for error in errors)
    assert found == [AttemptCancelledError.__name__] * 2 + [DeadlineExceededError.__name__] * 2
    assert queue.stats().total == 2


def test_a_key_that_is_there_gives_that_task(queue: Queue) -> None:
    """With the same content, of whoever made it; the commit makes no second one."""
    queue.new({"a": 1}, key="there", priority=9)

    def work(ctx: Context, task: Task) -> None:
        if task.key == "parent":
            ctx.new({"a": 1}, key="there", priority=9)
            ctx.new({"a": 2}, key="new")
            ctx.new({"a": 2}, key="new")

    queue.new(key="parent")
    queue.run(work, until="idle")

    assert [body.key for body in bodies(made_by(queue, 2))] == ["new"]
    assert queue.stats().total == 3


def test_a_key_of_another_task_fails_the_attempt_for_good() -> None:
    """It makes none of its children, and what else the commit holds stays as it is."""
    log = HookedLog()
    with queue_on(log, workers=3, max_retries=5) as queue:
        queue.new({"a": 1}, key="taken", delay="1h")
        for key in ("one", "bad", "two"):
            queue.new(key=key)
        ready = threading.Barrier(3)

        def work(ctx: Context, task: Task) -> None:
            if task.key in {"one", "bad", "two"}:
                ctx.new({"for": task.key}, key=f"child of {task.key}")
                if task.key == "bad":
                    ctx.new({"a": 2}, key="taken")
                ready.wait(60)

        queue.run(work, until="idle")
        check_log(log)

        assert kinds(queue, "bad") == ["created", "leased", "failed", "expired"]
        body = queue.history("bad")[2].body
        assert isinstance(body, Failed)
        assert body.error.type == "eventq.KeyConflictError"
        assert "'taken' belongs to task 1, which differs in tags" in body.error.message
        assert final(queue, "bad").final_reason == "fatal"
        assert queue.get("child of bad") is None
        assert {final(queue, f"child of {key}").state for key in ("one", "two")} == {"completed"}
        assert final(queue, "taken").tags == {"a": 1}
