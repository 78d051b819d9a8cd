"""Log records on their way from another process: taken there, and handed to our logging here.

There is no logging of the application's in that process, nor need there be: what is logged comes
out where its parent's logs do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

# What JSON can hold as it is.
Attribute = str | int | float | bool | None

# What every record has. Of these the parent is told those that it cannot make itself.
COMMON = frozenset(vars(logging.makeLogRecord({})))
KEPT = ("created", "pathname", "filename", "module", "lineno", "funcName", "processName", "process")
# Of a message, and of each other text of a record.
MOST_CHARACTERS = 16_000


def levels() -> dict[str, int]:
    """The loggers that have a level of their own; "" is the root."""
    loggers = {"": logging.root, **logging.root.manager.loggerDict}
    return {
        name: logger.level
        for name, logger in loggers.items()
        if isinstance(logger, logging.Logger) and logger.level
    }


def emit(name: str, level: int, message: str, attributes: Mapping[str, Attribute]) -> None:
    """Hands a record of another process to the loggers here, as if it had been logged here."""
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    values = {
        **attributes,
        "name": name,
        "levelno": level,
        "levelname": logging.getLevelName(level),
        "msg": message,
        "args": None,
    }
    # Filters and handlers are other people's code; see SafeLogger.
    with suppress(Exception):
        logger.handle(logging.makeLogRecord(values))


class Forwarding(logging.Handler):
    """Sends each record to the parent, by ``send(name, level, message, attributes)``."""

    def __init__(self, send: Callable[[str, int, str, dict[str, Attribute]], object]) -> None:
        super().__init__()
        self._send = send

    @classmethod
    def begin(
        cls,
        send: Callable[[str, int, str, dict[str, Attribute]], object],
        levels: Mapping[str, int],
    ) -> None:
        """All that is logged in this process goes to the parent, by its parent's levels."""
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        logging.root.addHandler(cls(send))

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        attributes = {
            name: _plain(value)
            for name, value in vars(record).items()
            if name in KEPT or name not in COMMON
        }
        # It makes the traceback as text, which the parent cannot.
        text = self.format(record)
        if record.exc_text:
            attributes["exc_text"] = record.exc_text[:MOST_CHARACTERS]
            text = record.getMessage()
        with suppress(OSError):
            self._send(record.name, record.levelno, text[:MOST_CHARACTERS], attributes)


def _plain(value: object) -> Attribute:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)[:MOST_CHARACTERS]
