"""The application's logging may fail in any way: no run, no thread and no attempt goes with it."""

from __future__ import annotations

import ast
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventq
from eventq import Queue, Task
from eventq.handlers.context import Context
from eventq.host import logger as safelog
from eventq.host.logger import SafeLogger
from eventq.runner.news import ATTEMPTS
from tests.support import Gate, ManualClock, Spawned, ends, kinds, pass_time, running, wait_until

PACKAGE = Path(eventq.__file__).parent


class Broken(logging.Filter):
    """A filter, as an application sets it, that raises at each record."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Raises."""
        del record
        self.count += 1
        raise self.error


@pytest.fixture(params=[ValueError("filter"), SystemExit(3)], ids=["error", "exit"])
def broken(request: pytest.FixtureRequest) -> Iterator[Broken]:
    """Every logger of eventq has the filter, and takes every level."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("eventq")]
    loggers = [logging.getLogger(name) for name in {*names, "eventq", "eventq.worker"}]
    levels = [logger.level for logger in loggers]
    found = Broken(request.param)
    for logger in loggers:
        logger.addFilter(found)
        logger.setLevel(logging.DEBUG)
    yield found
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeFilter(found)
        logger.setLevel(level)


def test_a_run_bears_logging_that_raises(broken: Broken) -> None:
    """Failures, retries, refusals and a passed deadline are settled as ever."""
    clock = ManualClock()
    with Queue("memory://", workers=2, clock=clock, max_retries=0) as queue:
        queue.new({"do": "fail"}, key="fail")
        queue.new({"do": "log"}, key="log")
        queue.new({"do": "ignore"}, key="ignore", deadline="5s")
        gate = Gate()

        def worker(ctx: Context, task: Task) -> None:
            ctx.log.info("begun", extra={"more": 1})
            if task.tags["do"] == "fail":
                raise ValueError(task.key)
            if task.tags["do"] == "ignore":
                gate()

        # Not in the main thread, where an exit would be the program's own wish.
        with running(queue, worker):
            wait_until(ends(queue, "log"))
            assert gate.reached.wait(60)
            pass_time(queue, clock, 5)
            wait_until(ends(queue, "ignore"))
            pass_time(queue, clock, 2)
            gate.open()
            wait_until(lambda: queue.stats().refused)

        assert broken.count >= 5
        assert kinds(queue, "fail") == ["created", "leased", "failed", "expired"]
        assert kinds(queue, "log") == ["created", "leased", "completed"]
        assert kinds(queue, "ignore")[-3:] == ["failed", "expired", "refused"]


def test_no_module_logs_past_the_safe_way() -> None:
    """Only host/logger.py asks for loggers; cli/logs.py sets up the command's own.

    And host/records.py hands over, as safely, what was logged in another process,
    handlers/telling.py asks for the name of a level, and contrib/logs.py adds to others' records.
    """
    allowed = {"host/logger.py", "host/records.py", "cli/logs.py", "handlers/telling.py"}
    allowed.add("contrib/logs.py")
    wrong = [
        f"{path}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).as_posix() not in allowed
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(name.name == "logging" for name in node.names)
    ]

    assert wrong == [], "log with a SafeLogger: what filters and handlers raise ends nothing then"


def test_records_come_after_what_they_report() -> None:
    """A handler that asks the queue finds the outcome settled, and may use the queue."""
    seen = []
    with Queue("memory://", workers=1, max_retries=0) as queue:
        queue.new(key="bad")

        class Asking(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                del record
                seen.append(kinds(queue, "bad"))
                queue.new({"from": "a handler"})

        def worker(_: Context, task: Task) -> None:
            if task.key == "bad":
                raise ValueError

        handler = Asking(level=logging.WARNING)
        logging.getLogger("eventq").addHandler(handler)
        try:
            report = queue.run(worker, until="idle")
        finally:
            logging.getLogger("eventq").removeHandler(handler)

    assert seen == [["created", "leased", "failed", "expired"]]
    assert (report.completed, report.failed, report.expired) == (1, 1, 1)


def test_the_first_lost_record_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, as `logging` itself does; not at all where the application forbids it."""
    safelog.reported.clear()
    logger = logging.getLogger("eventq.tried")
    broken = Broken(ValueError("odd"))
    logger.addFilter(broken)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    SafeLogger("eventq.tried").warning("quiet")
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr(sys, "stderr", None)
    SafeLogger("eventq.tried").warning("nowhere")
    monkeypatch.undo()
    safelog.reported.clear()
    for _ in range(3):
        SafeLogger("eventq.tried").warning("said once")
    logger.removeFilter(broken)

    assert capsys.readouterr().err == (
        "eventq: the application's logging failed: ValueError('odd')\n"
    )


def test_an_interrupt_of_the_main_thread_passes() -> None:
    """Ctrl-C during a log call is the user's, but other threads have no such thing."""
    logger = logging.getLogger("eventq.tried")
    broken = Broken(KeyboardInterrupt())
    logger.addFilter(broken)
    try:
        with pytest.raises(KeyboardInterrupt):
            SafeLogger("eventq.tried").warning("here")
        Spawned(SafeLogger("eventq.tried").warning, "there").result()
    finally:
        logger.removeFilter(broken)

    assert broken.count == 2


def test_a_worker_may_add_to_its_records(caplog: pytest.LogCaptureFixture) -> None:
    """``extra`` of a call stands beside task, attempt and fence; the line is the worker's."""
    with Queue("memory://", workers=1) as queue, caplog.at_level("INFO", logger="eventq.worker"):
        queue.new(key="k")
        queue.run(lambda ctx, _: ctx.log.info("page %d", 7, extra={"url": "u"}), until="idle")

    [record] = [found for found in caplog.records if found.name == "eventq.worker"]
    values = vars(record)
    assert record.getMessage() == "page 7"
    assert (values["task"], values["attempt"], values["fence"]) == ("k", 1, 2)
    assert values["url"] == "u"
    assert record.filename == Path(__file__).name


def test_every_logger_is_listed() -> None:
    """The page on failures lists each logger, or one above it."""
    page = (PACKAGE.parent / "docs/how-to/failures.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(eventq[.a-z]*)`", page, re.MULTILINE))
    names = set()
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for name in re.findall(r"= SafeLogger\((.+)\)", path.read_text(encoding="utf-8")):
            names.add({"__name__": module, "ATTEMPTS": ATTEMPTS}.get(name, name.strip('"')))

    missing = {name for name in names if not any(f"{name}.".startswith(f"{a}.") for a in listed)}

    assert {"eventq.runner", "eventq.runner.attempts"} <= names
    assert missing == set()
