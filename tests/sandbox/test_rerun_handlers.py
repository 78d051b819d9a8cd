"""Running attempts of handlers again: which is called, with what around it, and by what rules."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from eventq import ArgumentError, Context, Fail, Handlers, Queue
from eventq.sandbox import attempted_keys, rerun
from tests.sandbox.trying import ReadOnlyLog, end_of, new_memory_url, read_only

fixed = Handlers()
told: list[str] = []


@fixed.around
def around(ctx: Context) -> Iterator[None]:
    """Tells of each attempt."""
    told.append(f"begin {ctx.task.name}")
    yield


@fixed.task("mail.send", retry={ValueError: Fail})
def send(ctx: Context, address: str) -> str:
    """What `mail.send` is by now."""
    ctx.new({"of": address})
    return f"sent to {address}"


@fixed.task("mail.read", isolate=True, retry={KeyError: "1h"})
def read(number: int) -> int:
    """One that ran in a process of its own."""
    if number == 13:
        raise KeyError(number)
    return os.getpid()


@fixed.task("mail.poll")
async def poll(ctx: Context) -> int:
    """A coroutine."""
    return ctx.fence


@pytest.fixture
def log() -> ReadOnlyLog:
    """A log in which tasks of three handlers and one without a name have been run."""
    queue = Queue(new_memory_url(), workers=1, max_retries=0)

    @queue.task("mail.send")
    def broken(address: str) -> None:
        raise ValueError(address)

    @queue.task("mail.read")
    def old_read(number: int) -> int:
        return number

    @queue.task("mail.poll")
    def old_poll() -> int:
        return 0

    with queue:
        broken.using(key="send").new("ada")
        old_read.using(key="read").new(7)
        old_read.using(key="bad", max_retries=5).new(13)
        old_poll.using(key="poll").new()
        queue.new({"plain": 1}, key="plain")
        queue.run(until="idle")
        queue.run(lambda _ctx, _task: None, until="idle")
        return read_only(queue.url)


def test_the_handler_of_the_tasks_name_is_called(log: ReadOnlyLog) -> None:
    """With its arguments, and what its collection wraps around it; `ctx.new` makes nothing."""
    told.clear()
    found = rerun(log, "send", fixed)

    assert (found.verdict, found.here.result_json) == ("other outcome", b'"sent to ada"')
    assert told == ["begin mail.send"]


def test_a_queue_stands_for_its_handlers(log: ReadOnlyLog) -> None:
    """Those that it was given, and its own; what it wraps around comes outermost."""
    told.clear()
    with Queue("memory://", handlers=[fixed]) as queue:

        @queue.around
        def outer(_ctx: Context) -> Iterator[None]:
            told.append("outer")
            yield

        found = rerun(log, "send", queue)
        assert queue.stats().total == 0

    assert found.here.result_json == b'"sent to ada"'
    assert told == ["outer", "begin mail.send"]


def test_an_isolated_handler_is_called_in_this_process(log: ReadOnlyLog) -> None:
    """So that a debugger can look at it."""
    assert rerun(log, "read", fixed).here.result_json == str(os.getpid()).encode()


def test_a_coroutine_handler_is_awaited(log: ReadOnlyLog) -> None:
    """With the recorded fence."""
    found = rerun(log, "poll", fixed)

    assert found.here.result_json == str(found.recorded.task.fence).encode()


def test_what_it_raises_is_its_outcome(log: ReadOnlyLog) -> None:
    """As in a run."""
    found = rerun(log, "bad", fixed)

    assert (found.verdict, found.here.kind) == ("other outcome", "failed")
    assert found.here.error is not None
    assert found.here.error.type == "KeyError"


def test_tags_that_no_longer_fit_are_told(log: ReadOnlyLog) -> None:
    """The handler has another signature by now."""
    other = Handlers()

    @other.task("mail.send")
    def send(address: int) -> int:
        return address

    found = rerun(log, "send", other)

    assert found.here.error is not None
    assert found.here.error.message == "address: expected `int`, got 'ada'"


@pytest.mark.parametrize("key, name", [("plain", "None"), ("send", "'mail.send'")])
def test_a_task_that_no_handler_is_for_is_refused(log: ReadOnlyLog, key: str, name: str) -> None:
    """Naming what was looked for."""
    with pytest.raises(ArgumentError, match=f"of which one is for {name}"):
        rerun(log, key, fixed if key == "plain" else Handlers())


def test_tasks_are_chosen_by_name(log: ReadOnlyLog) -> None:
    """Of several; those without a name are none of them."""
    names = {handler.name for handler in fixed} - {"mail.poll"}

    assert attempted_keys(log, names=names, at=end_of(log)) == ["bad", "read", "send"]
