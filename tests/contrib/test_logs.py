"""Log lines carry the attempt that they are of, in threads, in loops, and in what workers call."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

import eventq
from eventq.contrib.logs import RECORD_FIELDS, AttemptFilter, add_attempt

logger = logging.getLogger("shop")


class Lines(logging.Handler):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps it."""
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """A handler of the application's, with the filter."""
    handler = Lines()
    handler.addFilter(AttemptFilter())
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_records_of_any_logger_carry_the_attempt(queue: eventq.Queue, lines: Lines) -> None:
    """Those of what a worker calls, too; outside of attempts the fields are None."""

    def helper() -> None:
        logger.warning("charged")

    @queue.task("pay", lane="money")
    def pay(ctx: eventq.Context) -> None:
        helper()
        ctx.log.warning("told")

    @queue.task("refund")
    async def refund() -> None:
        helper()

    tasks = [pay.new(), refund.new()]
    queue.run(until="idle", signals=False)
    logger.warning("outside")

    found = [
        tuple(getattr(record, field) for field in RECORD_FIELDS[:6])
        for record in lines.records
        if record.getMessage() in {"charged", "told"}
    ]
    fences = [queue.attempts(task.key)[0].fence for task in tasks]
    own = (tasks[0].key, "pay", "money", 1, fences[0], "default")
    assert sorted(found, key=str) == sorted(
        [own, own, (tasks[1].key, "refund", "default", 1, fences[1], "default")], key=str
    )
    assert lines.records[-1].task is None  # type: ignore[attr-defined]


def test_structlog_lines_carry_the_attempt(queue: eventq.Queue) -> None:
    """By a processor; what a line says itself stays."""
    said: list[dict[str, object]] = []

    def keep(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        said.append(dict(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[add_attempt, keep])

    @queue.task("pay")
    def pay() -> None:
        log.info("charged", lane="own")

    task = pay.new()
    queue.run(until="idle", signals=False)
    log.info("outside")

    fence = queue.attempts(task.key)[0].fence
    assert said == [
        {
            "event": "charged",
            "task": task.key,
            "name": "pay",
            "lane": "own",
            "attempt": 1,
            "fence": fence,
            "namespace": "default",
        },
        {"event": "outside"},
    ]
