"""The library's log records on standard error, each on one line that is safe on a terminal."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from eventq.cli.text import visible, visible_lines
from eventq.runner.news import ATTEMPTS

# What every record has; the rest are its named values.
PLAIN = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"})


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
        values = [f"{name}={value}" for name, value in vars(record).items() if name not in said]
        words = [f"eventq: {record.levelname.lower()}:", record.getMessage(), *values]
        lines = [visible(" ".join(words))]
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            lines += visible_lines(text, indent="    ")
        return "\n".join(lines)


def log_to_stderr(*, verbose: bool, attempts: bool = False) -> None:
    """Shows warnings, or everything, unless the worker's module has configured logging itself.

    With ``attempts`` also each attempt that failed and will be retried.
    """
    logger = logging.getLogger("eventq")
    if logger.hasHandlers():
        return
    logger.addHandler(StderrHandler())
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    if attempts:
        logging.getLogger(ATTEMPTS).setLevel(logging.INFO)


def hide_attempts() -> None:
    """Shows no failed attempts, for the demo: its screen and its summary do."""
    logging.getLogger(ATTEMPTS).setLevel(logging.ERROR)
