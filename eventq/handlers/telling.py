"""What one attempt tells while it runs, until a commit has taken it along.

Workers tell from any thread; the run's own thread takes. Only the latest progress and value count.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

import msgspec
from msgspec import Struct

from eventq.core.commits import AnyBody, AnyTold, Unknown, encode_bodies
from eventq.core.events import Noted, Progressed, Saved
from eventq.core.options import make_policy
from eventq.core.plain import storable
from eventq.core.task import Task
from eventq.core.values import NOTED_BYTES, NOTED_LINES, LogLine, Policy
from eventq.handlers.children import Children
from eventq.handlers.secret_texts import secrets_of, without
from eventq.host.logger import SafeLogger
from eventq.node.visit import Visit

# One event of a kind at most in this time, for each attempt.
EVERY_S = 1.0
# What an attempt tells first waits this long for a commit that is made anyway: a short attempt's
# own end, above all.
FIRST_S = 0.1
NOTE_CHARACTERS = 1_000
CUT_OFF = "the lines behind this are not kept: an attempt may keep 1,000, and 64 KiB"


class Setting(Struct, frozen=True):
    """What the attempts of one run share, as far as their contexts have to know."""

    policy: Policy
    """The queue's, for the tasks that they make."""
    keeps_level: int | None
    """From which level on what they log is kept; None: nothing is."""
    hear: Callable[[Telling], object]
    """Called, in any thread, with an attempt that has something to tell."""
    visit: Callable[[float], Visit] | None = None
    """A block inside a commit, of so many seconds; None where an attempt can have none."""
    results: Mapping[str, bytes] = {}
    """The results of the tasks that the attempt's comes after, by key, as JSON text."""


class Telling:
    """What one attempt has told and asked for that is not in the log yet.

    Its fields are for who holds its lock.
    """

    __slots__ = (
        "children", "due_s", "fence", "from_s", "is_over", "is_waiting", "kept_bytes", "kept_count",
        "lines", "lock", "number", "progress", "saved", "saved_json", "secrets",
    )  # fmt: skip

    def __init__(self, task: Task) -> None:
        self.lock = threading.Lock()
        self.number = task.number
        self.fence = task.fence
        self.secrets = secrets_of(task.tags_json, task.secret)
        """What is left out of lines and notes."""
        self.children: Children | None = None
        self.progress: Progressed | None = None
        self.saved: Saved | None = None
        self.saved_json: bytes | None = None
        """What the attempt saved last, in the log or not."""
        self.lines: list[LogLine] = []
        self.kept_count = 0
        self.kept_bytes = 0
        self.from_s = -math.inf
        """No commit takes it along before. Monotonic seconds."""
        self.due_s = -math.inf
        """A commit is made for it then, if none has taken it along."""
        self.is_waiting = False
        """A run has heard of it and has not taken everything yet."""
        self.is_over = False
        """The attempt has ended: what is left goes with its outcome."""

    def add_line(self, line: LogLine) -> bool:
        """Keeps a line, if there is room for it; returns whether something was kept."""
        line = LogLine(line.at, line.level, without(line.text, self.secrets))
        size_bytes = len(msgspec.json.encode(line.text))
        if self.kept_count >= NOTED_LINES:
            return False
        is_last = self.kept_count == NOTED_LINES - 1
        if is_last or self.kept_bytes + size_bytes > NOTED_BYTES:
            line = LogLine(line.at, "warning", CUT_OFF)
            self.kept_count = NOTED_LINES
        self.kept_count += 1
        self.kept_bytes += size_bytes
        self.lines.append(line)
        return True

    def take(self, bodies: Iterable[AnyBody | Unknown]) -> None:
        """Takes over what was told elsewhere."""
        for body in bodies:
            if isinstance(body, Progressed):
                self.progress = body
            elif isinstance(body, Saved):
                self.saved, self.saved_json = body, bytes(body.value)
            elif isinstance(body, Noted):
                self.lines += body.lines

    def bodies(self) -> list[AnyTold]:
        """The events of all that is told and not taken yet; one of a kind."""
        noted = [Noted(self.fence, lines=tuple(self.lines))] if self.lines else []
        return [body for body in (self.progress, self.saved, *noted) if body is not None]

    def forget(self, bodies: list[AnyTold]) -> bool:
        """Leaves out what is in the log now; returns whether nothing is left."""
        for body in bodies:
            if body is self.progress:
                self.progress = None
            elif body is self.saved:
                self.saved = None
            elif isinstance(body, Noted):
                del self.lines[: len(body.lines)]
        return not (self.progress or self.saved or self.lines)


class KeptLogger(SafeLogger):
    """A logger that hands each record of a level, or above, to be kept, whoever else wants it."""

    def __init__(
        self,
        name: str,
        extra: Mapping[str, object],
        *,
        level: int,
        keep: Callable[[str, str], object],
    ) -> None:
        super().__init__(name, extra)
        self._level = level
        self._keep = keep

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401
        """Logs; every other method ends here."""
        if level >= self._level:
            self._keep(logging.getLevelName(level).lower(), _text(msg, args, kwargs))
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        super().log(level, msg, *args, **kwargs)


def told_bytes(bodies: Iterable[AnyTold]) -> int:
    """How long events of these bodies are."""
    return sum(len(text) for text in encode_bodies(list(bodies)))


def _text(msg: object, args: tuple[object, ...], kwargs: MutableMapping[str, Any]) -> str:
    """The text of a record, as `logging` makes it; whatever the values do, there is one."""
    try:
        values = args[0] if len(args) == 1 and isinstance(args[0], Mapping) and args[0] else args
        text = str(msg) % values if args else str(msg)
        if kwargs.get("exc_info"):
            text += "\n" + _traceback(kwargs["exc_info"])
    except Exception as error:  # noqa: BLE001 - a broken __str__ must not end the attempt
        text = f"a record that has no text ({type(error).__name__})"
    return storable(text)


def _traceback(found: object) -> str:
    error = found if isinstance(found, BaseException) else sys.exc_info()[1]
    return "" if error is None else "".join(traceback.format_exception(error)).rstrip()


def ignore(_telling: Telling) -> None:
    """Hears nothing: where no run takes what is told."""


PLAIN_SETTING = Setting(make_policy(), None, ignore)
