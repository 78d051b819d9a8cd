"""What attempts tell while they run: progress, values for the next attempt, lines of their logs."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from eventq import (
    ArgumentError,
    Context,
    LogUnavailableError,
    Queue,
    Retry,
    Snooze,
    Task,
)
from eventq.core.commits import Commit, Event
from eventq.core.events import Noted, Progressed, Saved
from eventq.handlers.context import AsyncContext
from tests.checker import check_log
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    final,
    kinds,
    look,
    nudge,
    pass_time,
    queue_on,
    running,
    wait_until,
)

TOLD = (Progressed, Saved, Noted)


@pytest.fixture
def queue() -> Iterator[Queue]:
    """An empty queue in memory, whose log holds what must always hold."""
    with Queue("memory://", workers=2, backoff=0, max_retries=1) as opened:
        yield opened
        check_log(opened.log)


def told(queue: Queue, kind: type = Progressed) -> list[Any]:
    """The bodies of one kind, in order."""
    return [event.body for event in queue.events() if type(event.body) is kind]


def test_progress_is_seen_while_the_attempt_runs(queue: Queue) -> None:
    """Of all nodes, soon, though nothing else is committed."""
    gate = Gate()

    def work(ctx: Context, _task: Task) -> None:
        ctx.progress(3, 7, "pages")
        gate()

    queue.new()
    with running(queue, work):
        wait_until(lambda: final(queue, "1").progress)
        progress = final(queue, "1").progress
        gate.open()
        wait_until(lambda: final(queue, "1").state == "completed")

    assert progress is not None
    assert (progress.done, progress.total, progress.note) == (3, 7, "pages")
    assert progress.at >= final(queue, "1").created_at
    assert final(queue, "1").progress is None


def test_one_event_of_a_kind_a_second_at_most() -> None:
    """The latest word counts; those between are not written."""
    clock, log = ManualClock(), HookedLog()
    with queue_on(log, clock=clock, workers=1) as queue:
        steps = [threading.Event() for _ in range(3)]
        done = [threading.Event() for _ in range(3)]
        over = threading.Event()

        def work(ctx: Context, _task: Task) -> None:
            for step, (begin, end) in enumerate(zip(steps, done, strict=True)):
                begin.wait(60)
                for number in range(100):
                    ctx.progress(100 * step + number)
                    ctx.save(100 * step + number)
                end.set()
            assert over.wait(60)

        queue.new()
        with running(queue, work):
            for step, seconds in enumerate((0.2, 0.9, 0.2)):
                steps[step].set()
                done[step].wait(60)
                look(queue)
                pass_time(queue, clock, seconds)
                look(queue)
            over.set()
            wait_until(lambda: final(queue, "1").state == "completed")
        check_log(log)

        at = [event.at for event in queue.events() if event.kind == "progressed"]
        assert all(later - earlier >= 1_000_000 for earlier, later in pairwise(at))
        assert [body.done for body in told(queue)] == [99, 299]


def test_what_is_told_rides_on_commits_that_are_made_anyway() -> None:
    """No commit is made for what another takes along in time."""
    log = HookedLog()
    with queue_on(log, workers=2) as queue:
        spoken, ended = Gate(), threading.Event()

        def work(ctx: Context, task: Task) -> None:
            if task.key == "talks":
                ctx.progress(1)
                spoken.reached.set()
                assert ended.wait(60)
            else:
                assert spoken.reached.wait(60)

        queue.new(key="talks")
        queue.new(key="ends")
        with running(queue, work):
            wait_until(lambda: told(queue))
            ended.set()
            wait_until(lambda: final(queue, "talks").state == "completed")

        [commit] = [c for c in log.appended if '"progressed"' in "".join(c.bodies)]
        assert [msgspec.json.decode(body)["kind"] for body in commit.bodies] == [
            "progressed",
            "completed",
        ]


@pytest.mark.parametrize("how", ["failed", "retry", "snooze", "late"])
def test_a_kept_value_is_handed_to_the_next_attempt(queue: Queue, how: str) -> None:
    """Whichever way the first one ended, it stands in the log before that end."""
    seen: list[Any] = []

    def work(ctx: Context, task: Task) -> None:
        seen.append(ctx.saved)
        if len(seen) == 1:
            ctx.save([1])
            ctx.save({"page": 7})
            seen.append(ctx.saved)
            if how == "late":
                ctx.sleep("10s")
            raise {"failed": ValueError(), "retry": Retry(), "snooze": Snooze(0)}[how]
        assert task.saved == {"page": 7}

    queue.new(deadline="300ms" if how == "late" else None)
    queue.run(work, until="idle")

    assert seen == [None, {"page": 7}, {"page": 7}]
    found = kinds(queue, "1")
    assert found.count("saved") == 1
    assert found.index("saved") < found.index("released" if how == "snooze" else "failed")
    assert final(queue, "1").saved is None


def test_short_attempts_that_complete_tell_nothing(queue: Queue) -> None:
    """How far they came, and what they kept for a next attempt, is of no use any more."""

    def work(ctx: Context, _task: Task) -> None:
        ctx.progress(1, 1)
        ctx.save(1)

    for _ in range(20):
        queue.new()
    queue.run(work, until="idle")

    assert [type(event.body) for event in queue.events() if type(event.body) in TOLD] == []


def test_a_value_lives_through_expiry_and_a_retry_by_hand() -> None:
    """Whoever reopens a task goes on where it stood; how far it came before is over."""
    with Queue("memory://", workers=1, max_retries=0) as queue:
        seen = []

        def work(ctx: Context, task: Task) -> None:
            seen.append((ctx.saved, ctx.task.progress))
            ctx.progress(1)
            ctx.save("here")
            if task.attempt == 1:
                raise ValueError("no")

        queue.new()
        queue.run(work, until="idle")
        expired = final(queue, "1")
        queue.retry("1")
        queue.run(work, until="idle")
        check_log(queue.log)

        assert expired.saved == "here"
        assert expired.progress is not None
        assert seen == [(None, None), ("here", None)]
        assert final(queue, "1").saved is None


def test_a_lost_lease_is_told_nothing_for() -> None:
    """An old fence changes nothing."""
    with Queue("memory://", workers=1) as queue:
        gate = Gate()

        def work(ctx: Context, _task: Task) -> None:
            gate()
            ctx.progress(9)

        queue.new()
        with running(queue, work) as run:
            wait_until(gate.reached.is_set)
            queue.cancel("1")
            gate.open()
            wait_until(lambda: "refused" in kinds(queue, "1"))
            del run
        check_log(queue.log)

        assert kinds(queue, "1") == ["created", "leased", "cancelled", "refused"]


@pytest.mark.parametrize(
    "call",
    [
        lambda ctx: ctx.progress(math.nan),
        lambda ctx: ctx.progress(1, math.inf),
        lambda ctx: ctx.progress(-1),
        lambda ctx: ctx.progress("1"),
        lambda ctx: ctx.progress(done=True),
        lambda ctx: ctx.progress(2**70),
        lambda ctx: ctx.progress(1, note=1),
        lambda ctx: ctx.save(math.nan),
        lambda ctx: ctx.save(object()),
        lambda ctx: ctx.save("x" * 70_000),
    ],
    ids=map(str, range(10)),
)
def test_what_cannot_be_told_is_refused(queue: Queue, call: Callable[[Any], object]) -> None:
    """At the call, by name."""

    def work(ctx: Context, _task: Task) -> None:
        with pytest.raises(ArgumentError, match=r"done|total|note|value"):
            call(ctx)

    queue.new(max_retries=0)
    queue.run(work, until="idle")

    assert final(queue, "1").state == "completed"


def test_track_tells_of_each_item(queue: Queue) -> None:
    """With a total where there is one."""
    seen: list[tuple[Any, ...]] = []

    class Watched(Context):
        """Notes what is told."""

        __slots__ = ()

        def progress(self, done: float, total: float | None = None, note: str = "") -> None:
            """See Context.progress."""
            seen.append((done, total, note))

    def work(ctx: Context, _task: Task) -> None:
        ctx.__class__ = Watched
        assert list(ctx.track("ab", "letters")) == ["a", "b"]
        assert list(ctx.track(iter([1]))) == [1]

    queue.new(max_retries=0)
    queue.run(work, until="idle")

    assert final(queue, "1").state == "completed"
    assert seen == [
        *[(0, 2, "letters"), (1, 2, "letters"), (2, 2, "letters")],
        *[(0, None, ""), (1, None, "")],
    ]


def test_coroutines_tell_too(queue: Queue) -> None:
    """From their loop, without holding it up."""

    @queue.task
    async def talks(ctx: AsyncContext) -> None:
        for _ in ctx.track(range(3)):
            await ctx.sleep(0)
        ctx.save(1)
        if ctx.task.attempt == 1:
            raise ValueError("not yet")
        assert ctx.saved == 1

    talks.new()
    queue.run(until="idle")

    assert final(queue, "1").state == "completed"
    assert [body.done for body in told(queue)] == [3]


def test_a_word_that_no_commit_could_take_is_told_by_the_next() -> None:
    """The log was away meanwhile."""
    log = HookedLog()
    with queue_on(log, workers=1) as queue:
        gate = Gate()
        failures: list[Commit] = []

        def work(ctx: Context, _task: Task) -> None:
            ctx.save(1)
            gate()

        def fail(commit: Commit) -> None:
            if '"saved"' in "".join(commit.bodies) and not failures:
                failures.append(commit)
                raise LogUnavailableError("away")

        log.before_append = fail
        queue.new()
        with running(queue, work):
            wait_until(lambda: final(queue, "1").saved == 1)
            nudge(queue)
            gate.open()

        assert len(failures) == 1
        assert kinds(queue, "1").count("saved") == 1


def test_a_next_run_hears_what_attempts_of_an_earlier_one_tell() -> None:
    """They go on beside it, with their leases."""
    log = HookedLog()
    with queue_on(log, workers=2) as queue:
        gate = Gate()

        def work(ctx: Context, task: Task) -> None:
            if task.key == "long":
                gate()
                ctx.progress(5)
                wait_until(lambda: final(queue, "long").progress)

        def fail(commit: Commit) -> None:
            if '"completed"' in "".join(commit.bodies):
                raise OSError("broken")

        log.before_append = fail
        queue.new(key="long")
        with running(queue, work) as run:
            wait_until(gate.reached.is_set)
            queue.new(key="short")
            wait_until(lambda: not run.running)
        log.before_append = lambda _: None
        with running(queue, lambda _ctx, _task: None):
            gate.open()
            wait_until(lambda: final(queue, "long").state == "completed")
        check_log(log)

        assert kinds(queue, "long") == ["created", "leased", "progressed", "completed"]


def events_told(queue: Queue) -> list[Event]:
    """All that attempts have told."""
    return [event for event in queue.events() if type(event.body) in TOLD]


def test_a_stop_by_force_keeps_the_value(queue: Queue) -> None:
    """The lease is given back with it."""
    gate = threading.Event()

    def work(ctx: Context, _task: Task) -> None:
        ctx.save(5)
        gate.set()
        ctx.sleep("1m")

    queue.new()
    with running(queue, work):
        wait_until(gate.is_set)

    assert final(queue, "1").saved == 5
    assert kinds(queue, "1")[-2:] == ["saved", "released"]
    assert len(events_told(queue)) == 1
