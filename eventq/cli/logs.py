"""The library's log records on standard error, each on one line that is safe on a terminal."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Literal

from eventq.cli.text import visible, visible_lines
from eventq.core.task import DEFAULT_LANE
from eventq.runner.news import ATTEMPTS

# What every record has, and what is one for the whole command; the rest are its named values.
PLAIN = frozenset(
    {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", "namespace"}
)
# What is so for most tasks needs no word.
USUAL = {("task_name", None), ("lane", DEFAULT_LANE)}


class StderrHandler(logging.Handler):
    """Writes to the current standard error, which a live display may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record, or drops it when standard error is closed."""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{self.format(record)}\n")

    def format(self, record: logging.LogRecord) -> str:
        """The record with its named values, followed by its traceback."""
        # What stands in the message by its name is not repeated.
        said = {*PLAIN, *(record.args if isinstance(record.args, dict) else ())}
        named = ((name, value) for name, value in vars(record).items() if name not in said)
        values = [f"{name}={value}" for name, value in named if not _is_usual(name, value)]
        words = [f"eventq: {record.levelname.lower()}:", record.getMessage(), *values]
        lines = [visible(" ".join(words))]
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            lines += visible_lines(text, indent="    ")
        return "\n".join(lines)


def _is_usual(name: str, value: object) -> bool:
    return (value is None or isinstance(value, str)) and (name, value) in USUAL


# Where more or fewer of the failed attempts are shown than those that failed for good.
SHOWN = {"all": logging.INFO, "none": logging.ERROR}


def log_to_stderr(*, verbose: bool, attempts: Literal["all", "final", "none"] = "final") -> None:
    """Shows warnings, or everything, unless the worker's module has configured logging itself.

    Of ``attempts`` that fail it shows all, those that failed for good, or none.
    """
    logger = logging.getLogger("eventq")
    if logger.hasHandlers():
        return
    logger.addHandler(StderrHandler())
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    if attempts in SHOWN:
        logging.getLogger(ATTEMPTS).setLevel(SHOWN[attempts])
