"""A log as the console reads it: with snapshots of the past in a folder of the console's own.

They may be deleted at any time. Nothing here writes to the log or to its database.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from eventq.core.commits import Commit
from eventq.core.sizes import show_size
from eventq.eventlog.contract import READ_EVENTS, EventLog, SnapshotEntry, Snapshots
from eventq.eventlog.durable import write_whole
from eventq.host.logger import SafeLogger

logger = SafeLogger("eventq.web")

CACHE_BYTES = 1024**3
_NAME = re.compile(r"(\d{1,19})-(\d{1,19})-([0-9a-f]{1,128})\.snapshot")


class CachedSnapshots:
    """The log's own snapshots, and those of a folder, which may take so many bytes."""

    def __init__(self, own: Snapshots, folder: Path, *, most_bytes: int) -> None:
        self._own = own
        self._folder = folder
        self._most_bytes = most_bytes

    def entries(self) -> list[SnapshotEntry]:
        """All of both, by rising position."""
        found = {entry.seq: entry for entry, _ in self._files()}
        found.update({entry.seq: entry for entry in self._own.entries()})
        return [found[seq] for seq in sorted(found)]

    def get(self, seq: int) -> bytes | None:
        """Those of the folder first: the log may be far away."""
        for entry, path in self._files():
            if entry.seq == seq:
                try:
                    os.utime(path)
                    return path.read_bytes()
                except OSError:
                    break
        return self._own.get(seq)

    def put(self, entry: SnapshotEntry, data: bytes) -> None:
        """Keeps one in the folder; the longest unused ones go where there is no room."""
        if len(data) > self._most_bytes:
            return
        name = f"{entry.seq}-{entry.at}-{entry.seal.hex()}.snapshot"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._make_room(len(data))
            write_whole(self._folder / name, data)
        except OSError as error:
            told = {"folder": str(self._folder), "error": str(error)}
            logger.warning("a snapshot of the past was not kept", extra=told)

    def delete(self, seq: int) -> bool:
        """Forgets one of the folder; the log's own are not the console's to delete."""
        found = [path for entry, path in self._files() if entry.seq == seq]
        for path in found:
            path.unlink(missing_ok=True)
        return bool(found)

    def _make_room(self, more_bytes: int) -> None:
        files = [(path.stat().st_mtime, path, entry.size_bytes) for entry, path in self._files()]
        taken = sum(size for _, _, size in files) + more_bytes
        for _, path, size in sorted(files):
            if taken <= self._most_bytes:
                return
            logger.info("a snapshot of the past was dropped", extra={"size": show_size(size)})
            path.unlink(missing_ok=True)
            taken -= size

    def _files(self) -> list[tuple[SnapshotEntry, Path]]:
        found = []
        try:
            paths = list(self._folder.iterdir())
        except OSError:
            return []
        for path in paths:
            words = _NAME.fullmatch(path.name)
            if words is None:
                continue
            try:
                known = path.stat()
            except OSError:
                continue
            seal = bytes.fromhex(words[3]) if len(words[3]) % 2 == 0 else b""
            taken_at = int(known.st_mtime * 1_000_000)
            entry = SnapshotEntry(int(words[1]), int(words[2]), seal, taken_at, known.st_size)
            found.append((entry, path))
        return found


class _ReadLog:
    """A log whose reads are told, and which has other snapshots; all else is the log's."""

    def __init__(self, log: EventLog, snapshots: Snapshots, tell: Callable[[int], None]) -> None:
        self.snapshots = snapshots
        self._log = log
        self._tell = tell

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the log has
        return getattr(self._log, name)

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read; what ``tell`` raises passes."""
        self._tell(after)
        return self._log.read(after=after, limit=limit)


def read_log(log: EventLog, snapshots: Snapshots, tell: Callable[[int], None]) -> EventLog:
    """The log with these snapshots, calling ``tell`` with each position it is read from."""
    return cast("EventLog", _ReadLog(log, snapshots, tell))


def cache_folder(log: EventLog, base: Path | None = None) -> Path:
    """Where snapshots of a log are kept; by default in the user's cache folder."""
    if base is None:
        given = os.environ.get("XDG_CACHE_HOME")
        base = Path(given) if given else Path.home() / ".cache"
    name = sha256(f"{log.url}\0{log.namespace}".encode()).hexdigest()[:16]
    return base / "eventq" / "console" / name
