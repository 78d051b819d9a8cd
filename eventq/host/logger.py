"""The one way eventq logs: a record that the application's logging cannot take stops nothing.

Filters and handlers are other people's code, and may raise. Nothing else in eventq asks `logging`
for a logger.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any


class SafeLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose calls return whatever filters and handlers raise.

    The first record lost is reported on standard error, where `logging.raiseExceptions` allows it.
    ``extra`` goes with each record; that of a call is added to it.
    """

    def __init__(self, name: str, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(logging.getLogger(name), extra or {})

    def process(
        self,
        msg: object,
        kwargs: MutableMapping[str, Any],
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Adds the extra of the call to that of the logger."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401
        """Logs; every other method ends here."""
        # The caller's line is the record's, not this one.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        try:
            super().log(level, msg, *args, **kwargs)
        except BaseException as error:
            # Only the main thread is ever interrupted: by Ctrl-C, or a handler that calls exit().
            interrupted = threading.current_thread() is threading.main_thread()
            if interrupted and not isinstance(error, Exception):
                raise
            _report(error)


# Set once: a broken filter fails at each record alike.
reported = threading.Event()


def _report(error: BaseException) -> None:
    if logging.raiseExceptions and not reported.is_set():
        reported.set()
        # Standard error may be closed, full, or None.
        with suppress(Exception):
            sys.stderr.write(f"eventq: the application's logging failed: {error!r}\n")
