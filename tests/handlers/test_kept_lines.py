"""What a worker logs, kept with its attempt where the handler says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from eventq import ArgumentError, Context, Handlers, Queue
from eventq.core.events import Noted
from eventq.handlers.telling import CUT_OFF
from tests.checker import check_log
from tests.support import kinds


@pytest.fixture
def queue() -> Iterator[Queue]:
    """An empty queue in memory, whose log holds what must always hold."""
    with Queue("memory://", workers=2) as opened:
        yield opened
        check_log(opened.log)


def told(queue: Queue, kind: type = Noted) -> list[Any]:
    """The bodies of one kind, in order."""
    return [event.body for event in queue.events() if type(event.body) is kind]


def test_lines_are_kept_with_the_attempt(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """Those of the level or above, as text, whatever the application's logging does with them."""
    caplog.set_level(logging.CRITICAL, "eventq.worker")

    @queue.task(keep_logs="info")
    def talks(ctx: Context) -> None:
        ctx.log.debug("not this")
        ctx.log.info("page %d of %s", 1, "two\0")
        ctx.log.warning("%(a)s", {"a": "b"})
        try:
            int("no")
        except ValueError:
            ctx.log.exception("met")
        ctx.log.info("%d", "no number")

    @queue.task
    def quiet(ctx: Context) -> None:
        ctx.log.info("not kept")

    talks.new()
    quiet.new()
    queue.run(until="idle")

    lines = [line for body in told(queue, Noted) for line in body.lines]
    assert [(line.level, line.text.split("\n")[0]) for line in lines] == [
        ("info", "page 1 of two\\x00"),
        ("warning", "b"),
        ("error", "met"),
        ("info", "a record that has no text (TypeError)"),
    ]
    assert lines[2].text.endswith("'no'")
    # In one event or, on a busy host, in several.
    created, leased, *noted, completed = kinds(queue, "1")
    assert (created, leased, {*noted}, completed) == ("created", "leased", {"noted"}, "completed")
    assert "noted" not in kinds(queue, "2")


@pytest.mark.parametrize("text, most", [("x", 1_000), ("y" * 1_000, 66)])
def test_lines_have_a_bound(queue: Queue, text: str, most: int) -> None:
    """The last line kept says that there were more."""

    @queue.task(keep_logs="info")
    def talks(ctx: Context) -> None:
        for _ in range(2_000):
            ctx.log.info(text)

    talks.new()
    queue.run(until="idle")

    lines = [line for body in told(queue, Noted) for line in body.lines]
    assert len(lines) == most
    assert lines[-1].text == CUT_OFF
    assert {line.text for line in lines[:-1]} == {text}


@pytest.mark.parametrize("wrong", ["loud", 20, True])
def test_a_wrong_level_is_refused(wrong: Any) -> None:  # noqa: ANN401
    """At the decoration."""
    with pytest.raises(ArgumentError, match="keep_logs"):
        Handlers().task("quiet", keep_logs=wrong)(lambda: None)
