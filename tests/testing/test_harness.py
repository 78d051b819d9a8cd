"""The harness: what is due is run, time passes by itself, faults happen, the log is verified."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

import eventq
from eventq import (
    AlreadyRunningError,
    ArgumentError,
    Backoff,
    Context,
    Handlers,
    NotBoundError,
    Queue,
    WaitTimeoutError,
)
from eventq.errors import AttemptCancelledError
from eventq.testing import Harness, harness
from tests.support import kinds
from tests.testing.shop import calls, pack, send, shop, watch

START = datetime(2027, 3, 27, 23, tzinfo=UTC)

mail = Handlers()


def test_run_works_off_what_is_due_and_what_comes_of_it(t: Harness) -> None:
    """What is to run later is left, and no time has passed."""
    send.new(1)
    send.using(delay="1h").new(2)
    pack.using(priority=9).new(3)

    report = t.run()

    assert report.completed == 3
    assert calls == [("pack", 3), ("send", 1), ("send", 3)]
    assert [task.state for task in t.all_created(send)] == ["completed", "scheduled", "completed"]
    # One minute was slept.
    assert (t.now - START).total_seconds() == 60


def test_forward_runs_all_at_its_instant_and_in_order(t: Harness) -> None:
    """As if time had passed: also what becomes due on the way, and what is made on the way."""
    late = send.using(delay="2h").new(1)
    early = send.using(delay="90s").new(2)
    other = pack.using(delay="1h").new(3)

    report = t.forward("30d")

    assert report.completed == 4
    assert calls == [("send", 2), ("pack", 3), ("send", 3), ("send", 1)]
    starts = {task.key: t.queue.attempts(task.key)[0].started_at for task in (late, early, other)}
    assert [(starts[task.key] - START).total_seconds() for task in (early, other, late)] == [
        90,
        3_600,
        7_200,
    ]
    assert (t.now - START).days == 30


def test_retries_come_when_the_log_says_so(t: Harness) -> None:
    """N times the backoff after each failure, to the microsecond."""
    task = send.new(1)
    t.fail_next(send, ConnectionError("busy"), times=2)

    assert t.run().failed == 1
    assert t.forward("599999ms").failed == 0
    assert t.forward("1ms").failed == 1
    assert t.forward("20m").completed == 1

    starts = [each.started_at - START for each in t.queue.attempts(task.key)]
    assert [length.total_seconds() for length in starts] == [0, 600, 1_800]


def test_what_was_made_is_found_by_its_arguments(t: Harness) -> None:
    """Some of them; the last such task is given, and there must be none where that is said."""
    send.new(1)
    second = send.using(priority=3).new(1, copies=2)
    pack.new(7)

    assert t.assert_created(send, order=1).key == second.key
    assert t.assert_created("send", copies=1).priority == 0
    assert [task.tags["order"] for task in t.all_created()] == [1, 1, 7]
    assert len(t.all_created(send, order=1)) == 2
    t.refute_created(send, order=2)
    t.refute_created(pack, order=1)
    with pytest.raises(AssertionError, match=r"send\(order=1\) was made: task 1, 2"):
        t.refute_created(send, order=1)
    with pytest.raises(AssertionError, match=r"no task send\(order=5\)[^']*'order': 1, 'copies'"):
        t.assert_created(send, order=5)
    with pytest.raises(TypeError, match="send takes no argument 'ordre'"):
        t.assert_created(send, ordre=5)
    with pytest.raises(ArgumentError, match="handler"):
        t.all_created(3)  # type: ignore[arg-type]


def test_inline_tasks_are_run_when_they_are_made(t: Harness) -> None:
    """With all their events; what is to run later is not, and what they make comes after them."""
    with t.inline():
        done = send.new(1)
        later = send.using(delay="1h").new(2)
        many = t.queue.new_many([send.spec(3), send.spec(4)])
        t.fail_next(send, ValueError("no"))
        failed = send.new(5)
        packed = pack.new(6)
    left = send.new(7)

    assert (done.state, done.result) == ("completed", "order 1, 1 copies")
    assert kinds(t.queue, done.key) == ["created", "leased", "completed"]
    assert [task.state for task in many] == ["completed", "completed"]
    assert (later.state, failed.state, packed.state) == ("scheduled", "scheduled", "completed")
    assert t.assert_created(send, order=6).state == "completed"
    assert left.state == "ready"


def test_a_plain_call_is_given_a_context(t: Harness) -> None:
    """Its sleep moves the clock, up to its deadline."""
    task = pack.new(1)
    with t.context(task) as ctx:
        pack(2)
        assert eventq.current() is ctx
    with t.context(deadline="90s") as other, pytest.raises(eventq.DeadlineExceededError):
        watch(length="2m")

    assert ctx.task == task
    assert other.task.attempt == 1
    assert calls == [("pack", 2)]
    assert (t.now - START).total_seconds() == 60 + 90
    t.assert_created(send, order=2)
    with pytest.raises(eventq.NoAttemptError):
        pack(3)


def test_handlers_make_tasks_on_the_innermost_harness(t: Harness) -> None:
    """And on their own queue again, once it is closed."""
    with Queue("memory://", handlers=[mail]) as own:

        @mail.task("letter")
        def letter() -> None:
            return None

        letter.new()
        with harness([mail]) as outer:
            letter.new()
            with harness([mail, shop]) as inner:
                letter.new()
                send.new(1)

                @mail.task
                def late() -> None:
                    return None

                late.new()
                assert [task.name for task in inner.all_created()] == ["letter", "send", "late"]
            letter.new()
            assert len(outer.all_created()) == 2
        letter.new()
        assert len(own.tasks()) == 2
    with pytest.raises(NotBoundError):
        letter.new()
    assert t.all_created() == []


def test_the_handlers_of_a_queue_are_borrowed_with_what_is_around_them() -> None:
    """Its log sees nothing of it."""
    entered: list[str] = []
    with Queue("memory://", handlers=[shop]) as own:

        @own.task("own")
        def task() -> str:
            return "own"

        @own.around
        def note(ctx: Context) -> Iterator[None]:
            entered.append(str(ctx.task.name))
            yield

        with harness([own]) as t:
            task.new()
            send.new(1)
            t.run()
            assert [each.state for each in t.all_created()] == ["completed", "completed"]
        assert own.stats().seq == 0
    assert entered == ["own", "send"]


def test_equal_seeds_make_equal_logs() -> None:
    """To the letter, and another seed draws other waits."""

    def bodies(seed: int) -> list[str]:
        jumpy = Handlers()

        @jumpy.task("jump", backoff=Backoff.exponential("1m", jitter=1.0))
        def jump(ctx: Context, times: int) -> None:
            if ctx.task.attempt < times:
                raise ValueError(ctx.task.attempt)

        with harness([jumpy], seed=seed) as t:
            t.queue.new_many([jump.spec(times) for times in range(1, 6)])
            t.crash_node(jump)
            t.forward("1d")
            assert t.queue.stats().completed == 5
            return [body for commit in t.queue.log.read(after=0) for body in commit.bodies]

    assert bodies(3) == bodies(3)
    assert bodies(3) != bodies(4)


def test_a_task_that_is_called_off_stops_its_attempt(t: Harness) -> None:
    """As soon as its context is asked."""

    @t.queue.task
    def gives_up(ctx: Context) -> None:
        t.queue.cancel(ctx.task.key, reason="enough")
        assert ctx.cancelled
        with pytest.raises(AttemptCancelledError):
            ctx.sleep("1h")
        ctx.check()

    task = gives_up.new()
    t.run()

    assert kinds(t.queue, task.key) == ["created", "leased", "cancelled"]
    assert t.now == START


def test_a_deadline_that_is_slept_over_fails_the_attempt(t: Harness) -> None:
    """At the deadline, and not a microsecond later."""
    task = watch.using(max_retries=0).new(length="1h")

    t.run()

    [attempt] = t.queue.attempts(task.key)
    assert attempt.error is not None
    assert attempt.error.type == "eventq.DeadlineExceededError"
    assert (t.now - START).total_seconds() == 300


def test_what_goes_past_its_deadline_has_failed(t: Harness) -> None:
    """Whatever it returns then: a run would have failed it by then, and another had it."""

    @t.queue.task(deadline="5m", max_retries=0)
    def dawdles() -> str:
        t.clock.forward("6m")
        return "late"

    task = dawdles.new()
    t.run()

    found = t.queue.get(task.key)
    assert found is not None
    assert (found.state, found.result) == ("expired", None)


def test_waiting_has_time_pass(t: Harness) -> None:
    """Until the task has ended, and no further; or until the timeout."""
    task = send.using(delay="3h").new(1)
    never = t.queue.new(name="nobody")

    assert t.queue.wait(task.key, timeout="1d").result == "order 1, 1 copies"
    assert (t.now - START).total_seconds() == 3 * 3_600
    with pytest.raises(WaitTimeoutError):
        t.queue.wait(never.key, timeout="1h")
    assert (t.now - START).total_seconds() == 4 * 3_600
    with pytest.raises(WaitTimeoutError, match="it is ready"):
        # Nothing will end it, so that nobody waits for ever.
        t.queue.wait(never.key)


def test_a_handler_cannot_have_the_harness_work(t: Harness) -> None:
    """It would run a second attempt within the first."""
    ways: dict[str, Callable[[], object]] = {"run": t.run, "wait": lambda: t.queue.wait("1")}

    @t.queue.task
    def nests(how: str) -> None:
        with pytest.raises(AlreadyRunningError):
            ways[how]()

    for how in ways:
        nests.new(how)

    assert t.run().completed == 2


def test_what_it_is_given_is_checked() -> None:
    """Before anything is lent."""
    for wrong in (shop, [send], 3):
        with pytest.raises(ArgumentError, match="handlers"), harness(wrong):  # type: ignore[arg-type]
            pass
    for start in ("soon", "2027-03-28T00:00:00", 3):
        with pytest.raises(ArgumentError, match="start"), harness(start=start):  # type: ignore[arg-type]
            pass
    with pytest.raises(ArgumentError, match="seed"), harness(seed=-1):
        pass
    twin = Handlers()

    @twin.task("send")
    def other() -> None:
        return None

    with pytest.raises(ArgumentError, match="send"), harness([shop, twin]):
        pass
    with pytest.raises(NotBoundError):
        send.new(1)


def test_isolated_handlers_run_in_the_test() -> None:
    """In its own process and its own time, like all others."""
    isolated = Handlers()
    isolated.task("own", isolate=True)(os.getpid)
    with harness([isolated]) as other:
        [handler] = isolated
        task = handler.new()
        other.run()

        assert other.queue.wait(task.key).result == os.getpid()
