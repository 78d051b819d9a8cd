"""The harness and what goes wrong: calls that fail, nodes that die, logs that break rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import eventq
from eventq import ArgumentError, Context, Snooze, TaskState
from eventq.testing import Harness, harness
from tests.support import is_closed, kinds, lease
from tests.testing.shop import calls, send, shop


def test_an_error_comes_instead_of_the_next_call(t: Harness) -> None:
    """What is wrapped around the attempt sees it; the call after it goes through."""
    seen: list[str] = []

    def note(_: Context) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            seen.append(str(error))
            raise

    t.queue.around(note)
    task = send.new(1)
    t.fail_next(send, OSError("disk"))

    t.run()
    t.forward("10m")

    assert seen == ["disk"]
    assert calls == [("send", 1)]
    assert kinds(t.queue, task.key) == [
        "created", "leased", "failed", "retried", "leased", "completed",
    ]  # fmt: skip
    with pytest.raises(ArgumentError, match="error"):
        t.fail_next(send, "disk")  # type: ignore[arg-type]


def test_outcomes_that_handlers_raise_mean_what_they_say(t: Harness) -> None:
    """`fail_next` takes them, too."""
    task = send.new(1)
    t.fail_next(send, Snooze("1h", "not yet"))
    t.fail_next(send, eventq.Fail("never"))

    t.run()
    assert t.queue.attempts(task.key)[0].outcome == "released"
    t.forward("1h")

    found = t.queue.get(task.key)
    assert found is not None
    assert (found.state, found.final_reason) == ("expired", "fatal")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_node_that_dies_loses_its_task_to_another(t: Harness, after: bool) -> None:  # noqa: FBT001
    """Once its lease has lapsed, and not before; what it had done is done twice."""
    task = send.new(1)
    t.crash_node(send, after=after)

    t.run()
    t.forward("29s")
    found = t.queue.get(task.key)
    assert found is not None
    assert (found.state, found.worker) == (TaskState.LEASED, "node-1")
    assert calls == [("send", 1)] * after
    t.forward("1s")

    first, second = t.queue.attempts(task.key)
    assert (first.outcome, first.node) == ("lapsed", "node-1")
    assert (second.outcome, second.node) == ("completed", "node-2")
    assert calls == [("send", 1)] * (1 + after)


def test_a_node_dies_inside_a_handler(t: Harness) -> None:
    """Nothing behind the call runs, and nothing is written."""

    @t.queue.task
    def dies(ctx: Context) -> str:
        if ctx.task.attempt == 1:
            t.crash_node()
        return "done"

    task = dies.new()
    other = send.new(1)

    t.run()
    assert kinds(t.queue, task.key) == ["created", "leased"]
    t.forward("31s")

    assert t.queue.wait(task.key).result == "done"
    assert t.queue.wait(other.key).attempt == 1


def test_a_log_that_breaks_rules_fails_the_test() -> None:
    """The verifier's findings are named."""
    broken = harness()
    t = broken.__enter__()
    t.queue.new(delay="1h")
    lease(t.queue, ttl_us=1)

    with pytest.raises(AssertionError, match="schedule at 2: task 1 leased too early"):
        broken.__exit__(None, None, None)
    assert is_closed(t.queue)


def test_a_fault_that_has_not_happened_fails_the_test() -> None:
    """A test that asks for one and does not meet it tests something else."""
    hopeful = harness([shop])
    hopeful.__enter__().fail_next(send, ValueError)

    with pytest.raises(AssertionError, match=r"fail_next\('send'\) has not happened"):
        hopeful.__exit__(None, None, None)


def test_an_error_of_the_tests_own_is_not_hidden() -> None:
    """What else is wrong is noted on it."""

    def fails() -> None:
        with harness([shop]) as t:
            t.crash_node()
            raise KeyError("own")

    with pytest.raises(KeyError) as caught:
        fails()

    assert caught.value.__notes__ == ["crash_node() has not happened"]
