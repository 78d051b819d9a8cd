"""Filters that people have given a name, each their own; kept beside the console's snapshots.

The file may be deleted at any time: the log knows nothing of it.
"""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec

from eventq.errors import ArgumentError
from eventq.eventlog.durable import write_whole
from eventq.host.logger import SafeLogger

FILTERS_KEPT = 50
PEOPLE_KEPT = 1_000
NAME_CHARACTERS = 60

logger = SafeLogger("eventq.web")

Saved = dict[str, dict[str, str]]


class SavedFilters:
    """Names and filters by person. May be used from any thread, and by several consoles."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "filters.json"
        self._lock = threading.Lock()

    def of(self, person: str) -> dict[str, str]:
        """The filters of one person by name, as they stand in addresses."""
        found = self._read().get(person, {})
        return {name: found[name] for name in sorted(found)}

    def save(self, person: str, name: str, text: str) -> None:
        """Keeps a filter under a name, in the place of another. Raises ArgumentError."""
        if not 0 < len(name) <= NAME_CHARACTERS or not name.isprintable():
            raise ArgumentError("name", name, f"1 to {NAME_CHARACTERS} characters on one line")
        with self._lock:
            saved = self._read()
            own = saved.setdefault(person, {})
            own[name] = text
            if len(own) > FILTERS_KEPT or len(saved) > PEOPLE_KEPT:
                raise ArgumentError("name", name, f"one of at most {FILTERS_KEPT} filters")
            self._write(saved)

    def drop(self, person: str, name: str) -> None:
        """Forgets a filter; it may be forgotten already."""
        with self._lock:
            saved = self._read()
            if saved.get(person, {}).pop(name, None) is not None:
                self._write(saved)

    def _read(self) -> Saved:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Saved)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            logger.warning("saved filters cannot be read", extra={"error": str(error)})
            return {}

    def _write(self, saved: Saved) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._path, msgspec.json.encode(saved))
        except OSError as error:
            raise ArgumentError("name", str(self._path), f"a place to keep it ({error})") from error
