"""A file that says of a run that it lives: for whoever asks from outside, such as a container.

Written by the run's own thread, a few times a minute; whoever reads it goes by its age, too.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from eventq.errors import ArgumentError
from eventq.host.clock import Clock
from eventq.host.logger import SafeLogger
from eventq.host.paths import check_path_text

logger = SafeLogger("eventq.runner")

# The file is written this often, and at once when something else is wrong than before.
HEALTH_S = 5.0
# No health file has more; what an empty one is taken for.
MOST_BYTES = 16_384
EMPTY = b'{"pid":0,"node":"","running":0,"slots":0}'
UNWRITTEN = "the health file cannot be written: %(error)s"


class Health(Struct, frozen=True):
    """What a run says of itself."""

    pid: int
    node: str
    running: int
    """Attempts that run, or are about to."""
    slots: int
    problem: str | None = None
    """What is wrong; None: nothing is."""


class FoundHealth(Struct, frozen=True):
    """A health file as it was found, and what is to be thought of it."""

    file: str
    healthy: bool
    problem: str | None
    age_s: float | None = None
    """Since it was written; None where there is none."""
    said: Health | None = None


class HealthFile:
    """The file of one run; a new one is put in the place of the last."""

    def __init__(self, path: Path, node: str, clock: Clock, *, slots: int) -> None:
        self._path = path
        self._node = node
        self._clock = clock
        self._slots = slots
        self._due_s: float | None = None
        self._problem: str | None = None
        self._is_told = False

    def tell(self, problem: str | None, *, running: int) -> None:
        """Writes it, if it is time or what is wrong has changed. Never raises."""
        now_s = self._clock.monotonic()
        if self._due_s is not None and now_s < self._due_s and problem == self._problem:
            return
        self._due_s, self._problem = now_s + HEALTH_S, problem
        said = Health(os.getpid(), self._node, running, self._slots, problem)
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            beside.write_bytes(msgspec.json.encode(said) + b"\n")
            # Whoever reads never finds half of it; that it outlives the machine, nobody needs.
            beside.replace(self._path)
        except OSError as error:
            if not self._is_told:
                self._is_told = True
                values = {"error": str(error)}
                logger.warning(UNWRITTEN, values, extra=values)

    def pause_s(self) -> float:
        """Seconds until it is to be written again."""
        if self._due_s is None:
            return 0.0
        return max(0.001, self._due_s - self._clock.monotonic())

    def end(self) -> None:
        """Takes it away: nothing runs here any more."""
        with suppress(OSError):
            self._path.unlink()


def check_health_path(path: str | os.PathLike[str] | None) -> Path | None:
    """The path of a health file. Raises ArgumentError where none can be written."""
    if path is None:
        return None
    expected = "a file in a folder that can be written to"
    found = Path(check_path_text(path, "health", expected))
    try:
        is_possible = bool(found.name) and found.parent.is_dir() and not found.is_dir()
    except OSError:
        # As for a name that is too long.
        is_possible = False
    if not is_possible or not os.access(found.parent, os.W_OK):
        raise ArgumentError("health", path, expected)
    if not _may_be_replaced(found):
        raise ArgumentError("health", path, "a health file of an earlier run, or no file")
    return found


def look_up_health(path: Path, *, max_age_s: float) -> FoundHealth:
    """What a health file says, if it is no older than this; see `FoundHealth`."""
    name = str(path)
    try:
        age_s = max(0.0, time.time() - path.stat().st_mtime)
        text = path.read_bytes()
    except OSError as error:
        return FoundHealth(name, healthy=False, problem=f"no run writes it: {error.strerror}")
    age_s = round(age_s, 1)
    try:
        said = msgspec.json.decode(text, type=Health)
    except (msgspec.DecodeError, RecursionError):
        return FoundHealth(name, healthy=False, problem="it is no health file", age_s=age_s)
    problem = said.problem
    if age_s > max_age_s:
        silent = f"the run has said nothing for {age_s:.0f} s"
        problem = silent if problem is None else f"{silent}; {problem}"
    return FoundHealth(name, problem is None, problem, age_s, said)


def _may_be_replaced(path: Path) -> bool:
    """Whether no file of somebody else's is there: a run replaces what it finds, and deletes it."""
    try:
        if not path.is_file():
            return not path.exists()
        with path.open("rb") as file:
            text = file.read(MOST_BYTES)
        msgspec.json.decode(text or EMPTY, type=Health)
    except (OSError, msgspec.DecodeError, RecursionError):
        return False
    return True
