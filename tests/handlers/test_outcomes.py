"""How attempts of handlers end, and what the log keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventq import (
    Cancel,
    Context,
    DeadlineExceededError,
    Fail,
    Queue,
    Retry,
    Snooze,
    Task,
    TaskState,
)
from eventq.core.events import Failed, Released
from eventq.core.values import ERROR_BYTES
from eventq.testing import ManualClock
from tests.support import final, kinds


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def queue(clock: ManualClock) -> Iterator[Queue]:
    """An empty queue in memory, with a second between retries."""
    with Queue("memory://", clock=clock, backoff="1s", max_retries=5) as opened:
        yield opened


def run_once(queue: Queue, function: Callable[..., Any], **options: Any) -> Task:  # noqa: ANN401
    """The task after one attempt of this handler."""
    key = queue.task("handler", **options)(function).using(key="k").new().key
    queue.run(until="idle")
    found = queue.get(key)
    assert found is not None
    return found


def failures(queue: Queue, key: str = "k") -> list[Failed]:
    """The failures of a task."""
    return [event.body for event in queue.history(key) if isinstance(event.body, Failed)]


def test_fail_is_for_good(queue: Queue) -> None:
    """However many retries are left."""

    def handler() -> None:
        raise Fail("no such page")

    task = run_once(queue, handler)

    assert (task.state, task.final_reason, task.attempt) == (TaskState.EXPIRED, "fatal", 1)
    assert [(f.error.type, f.error.message) for f in failures(queue)] == [
        ("eventq.Fail", "no such page")
    ]


@pytest.mark.parametrize("outcome", [Fail("why"), Retry("why", delay="0s"), Cancel("why")])
def test_the_error_behind_an_outcome_is_kept(queue: Queue, outcome: Exception) -> None:
    """Its type, message and traceback, not those of what says how to go on."""

    def handler() -> None:
        try:
            Path("/nowhere/at/all").read_text()
        except OSError as error:
            raise outcome from error

    queue.task("handler", max_retries=0)(handler).using(key="k").new()
    queue.run(until="idle")

    [failed] = failures(queue)
    assert failed.error.type == "FileNotFoundError"
    assert "/nowhere/at/all" in failed.error.message
    assert "read_text" in failed.error.traceback
    # A Cancel's own reason stands in `cancelled`.
    said = f"eventq.{type(outcome).__name__}: why\n"
    assert failed.error.traceback.endswith(said) is not isinstance(outcome, Cancel)


def test_a_long_traceback_leaves_room_for_the_reason(queue: Queue) -> None:
    """All of an error fits where it is kept, and its end says what the worker said."""
    many = ExceptionGroup("many", [ValueError("x" * 500) for _ in range(50)])

    def handler() -> None:
        raise Fail("no page is left") from many

    queue.task("handler", max_retries=0)(handler).using(key="k").new()
    queue.run(until="idle")

    [failed] = failures(queue)
    assert failed.error.type == "ExceptionGroup"
    assert failed.error.traceback.endswith("\neventq.Fail: no page is left\n")
    assert len(msgspec.json.encode(failed.error)) <= ERROR_BYTES


def test_a_snooze_counts_as_no_attempt(queue: Queue, clock: ManualClock) -> None:
    """The task waits for as long as it asked for, and its snoozes are counted."""
    left = [2]

    def handler() -> str:
        if left[0]:
            left[0] -= 1
            raise Snooze("90s", "the mailbox is locked")
        return "done"

    begun = clock.now_us()
    key = queue.task("handler", max_retries=0)(handler).using(key="k").new().key
    while final(queue, key).state is not TaskState.COMPLETED:
        queue.run(until="idle")
        clock.forward("90s")

    task = final(queue, key)
    assert (task.attempt, task.snoozes, task.result) == (1, 2, "done")
    assert clock.now_us() - begun >= 180_000_000
    released = [e.body for e in queue.history(key) if isinstance(e.body, Released)]
    assert [body.reason for body in released] == ["the mailbox is locked"] * 2


def test_snoozes_end_with_the_age_of_the_task(queue: Queue, clock: ManualClock) -> None:
    """A task that is put off for ever still expires."""

    def handler() -> None:
        raise Snooze("40s")

    queue.task("handler", max_age="1m")(handler).using(key="k").new()
    for _ in range(3):
        queue.run(until="idle")
        clock.forward("40s")
    queue.run(until="idle")

    task = final(queue, "k")
    assert (task.state, task.final_reason) == (TaskState.EXPIRED, "max_age")


def test_the_rule_that_decided_is_recorded(queue: Queue, clock: ManualClock) -> None:
    """With what it says; without one, the task's own backoff decides and nothing is recorded."""
    errors: list[Exception] = [ConnectionResetError("x"), KeyError("y"), ValueError("z")]

    def handler() -> None:
        raise errors.pop(0)

    queue.task("handler", retry={ConnectionError: "30s", ValueError: Fail})(handler).using(
        key="k"
    ).new()
    begun = clock.now_us()
    queue.run(until="idle")

    assert [failed.rule for failed in failures(queue)] == [
        "ConnectionError: linear 30s",
        None,
        "ValueError: fail",
    ]
    assert kinds(queue, "k")[-2:] == ["failed", "expired"]
    # 30 s by the rule, then twice a second by the queue's backoff.
    assert clock.now_us() - begun == 32_000_000


def test_a_passed_deadline_has_rules_too(queue: Queue, clock: ManualClock) -> None:
    """It is a DeadlineExceededError like any other error."""

    def handler(ctx: Context) -> None:
        clock.forward("60s")
        ctx.check()

    task = run_once(queue, handler, deadline="30s", retry={DeadlineExceededError: Fail})

    assert task.final_reason == "fatal"


def test_a_strict_result_fails_the_attempt(queue: Queue) -> None:
    """A lenient one completes, and the log says what is missing."""

    def handler() -> Any:  # noqa: ANN401
        return {1, 2}

    strict = run_once(queue, handler, result="strict", max_retries=0)
    assert (strict.state, strict.last_error and strict.last_error.type) == (
        TaskState.EXPIRED,
        "eventq.ArgumentError",
    )


def text_for_a_number() -> int:
    """Returns what its annotation does not say."""
    wrong: Any = "five"
    return wrong  # type: ignore[no-any-return]


def bytes_in_a_dict() -> dict[str, Any]:
    """Returns what JSON has as text."""
    return {"raw": b"x"}


@pytest.mark.parametrize("function", [text_for_a_number, bytes_in_a_dict])
def test_a_strict_result_comes_back_by_its_annotation(
    queue: Queue, function: Callable[[], Any]
) -> None:
    """Else whoever asks for it would be the first to learn of it."""
    handler = queue.task("strict", result="strict", max_retries=0)(function)
    strict = handler.new()
    lenient = queue.task("lenient")(function).new()

    queue.run(until="idle")

    assert [final(queue, task.key).state for task in (strict, lenient)] == ["expired", "completed"]
    error = final(queue, strict.key).last_error
    assert error is not None
    assert error.message.startswith("result: expected")


def test_a_strict_result_that_fits_completes(queue: Queue) -> None:
    """Also one that JSON has another form of."""

    def handler() -> dict[int, tuple[str, bytes]]:
        return {1: ("a", b"b")}

    registered = queue.task("handler", result="strict")(handler)
    key = registered.new().key
    queue.run(until="idle")

    assert registered.result_of(final(queue, key)) == {1: ("a", b"b")}


def test_a_lenient_result_completes(queue: Queue) -> None:
    """The work is done; that its result cannot be kept must not run it again."""

    def handler() -> Any:  # noqa: ANN401
        return {1, 2}

    task = run_once(queue, handler)

    assert task.state is TaskState.COMPLETED
    assert "JSON" in (task.result_missing or "")


def test_chained_and_grouped_errors_are_kept_legibly(queue: Queue) -> None:
    """Cause and leaves stand in the traceback."""

    def handler() -> None:
        try:
            dict[str, int]()["inner"]
        except KeyError as error:
            raise ExceptionGroup("both", [ValueError("one"), OSError("two")]) from error

    queue.task("handler", max_retries=0)(handler).using(key="k").new()
    queue.run(until="idle")

    [failed] = failures(queue)
    assert failed.error.type == "ExceptionGroup"
    for words in ("inner", "direct cause", "ValueError: one", "OSError: two"):
        assert words in failed.error.traceback


def test_tags_that_do_not_fit_fail_for_good(queue: Queue) -> None:
    """No later attempt would find others; the error names the argument."""

    @queue.task
    def handler(path: str) -> None: ...

    queue.new({"path": 5}, name="handler", key="k")
    queue.run(until="idle")

    assert final(queue, "k").final_reason == "fatal"
    [failed] = failures(queue)
    assert failed.error.message.startswith("path: expected `str`")
