"""Snapshots of a file log, each a file in a directory beside it.

The name of a file says all that the entry does, and a file gets its name once it is whole; so
nothing in one needs to be understood, and none is ever half there.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eventq.errors import LogUnavailableError
from eventq.eventlog.contract import SnapshotEntry

_NAME = re.compile(
    r"(?P<seq>\d{1,19})-(?P<at>\d{1,19})-(?P<taken_at>\d{1,19})-(?P<seal>[0-9a-f]{64})\.snapshot",
    re.ASCII,
)
# What another writer may still be at work on begins with this; the rest of it is chance.
UNFINISHED = ".unfinished-"
# Nobody writes one for so many seconds.
ABANDONED_S = 3_600


class FileSnapshots:
    """The Snapshots of the file's namespace; ``check`` raises where the log is closed."""

    def __init__(self, log_path: str, check: Callable[[], None]) -> None:
        self._directory = Path(f"{log_path}.snapshots")
        self._check = check

    def entries(self) -> list[SnapshotEntry]:
        """See Snapshots.entries."""
        return [entry for entry, _ in self._newest().values()]

    def get(self, seq: int) -> bytes | None:
        """See Snapshots.get."""
        found = self._newest().get(seq)
        if found is None:
            return None
        with self._translating():
            try:
                return found[1].read_bytes()
            except FileNotFoundError:
                # It was replaced or deleted meanwhile.
                return None

    def put(self, entry: SnapshotEntry, data: bytes) -> None:
        """See Snapshots.put."""
        before = self._paths_of(entry.seq)
        name = f"{entry.seq}-{entry.at}-{entry.taken_at}-{entry.seal.hex()}.snapshot"
        with self._translating():
            self._directory.mkdir(mode=0o700, exist_ok=True)
            self._clear_abandoned()
            write_whole(self._directory / name, data)
            for path in before:
                if path.name != name:
                    path.unlink(missing_ok=True)

    def delete(self, seq: int) -> bool:
        """See Snapshots.delete."""
        paths = self._paths_of(seq)
        with self._translating():
            for path in paths:
                path.unlink(missing_ok=True)
        return bool(paths)

    def _newest(self) -> dict[int, tuple[SnapshotEntry, Path]]:
        """By rising position; of two at one position, the one that was taken last."""
        found: dict[int, tuple[SnapshotEntry, Path]] = {}
        for entry, path in sorted(self._found(), key=_age):
            found[entry.seq] = (entry, path)
        return dict(sorted(found.items()))

    def _paths_of(self, seq: int) -> list[Path]:
        """A writer that was killed may have left several."""
        return [path for entry, path in self._found() if entry.seq == seq]

    def _found(self) -> list[tuple[SnapshotEntry, Path]]:
        """All files that are snapshots by their names."""
        self._check()
        found = []
        with self._translating():
            for path in self._directory.iterdir() if self._directory.is_dir() else ():
                name = _NAME.fullmatch(path.name)
                if name is not None:
                    # It may be replaced or deleted between the list and this look.
                    with suppress(FileNotFoundError):
                        found.append((_to_entry(name, path), path))
        return found

    def _clear_abandoned(self) -> None:
        """Deletes what writers left that were killed in the middle."""
        for path in self._directory.glob(f"{UNFINISHED}*"):
            # Its writer may have given it its name since the list was made.
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > ABANDONED_S:
                    path.unlink()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LogUnavailableError(f"{self._directory}: {error.strerror}") from error


def _to_entry(name: re.Match[str], path: Path) -> SnapshotEntry:
    return SnapshotEntry(
        seq=int(name["seq"]),
        at=int(name["at"]),
        seal=bytes.fromhex(name["seal"]),
        taken_at=int(name["taken_at"]),
        size_bytes=path.stat().st_size,
    )


def _age(found: tuple[SnapshotEntry, Path]) -> tuple[int, str]:
    return found[0].taken_at, found[1].name


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file that has its name only once it is whole and on the disk. Raises OSError."""
    unfinished = path.with_name(f"{UNFINISHED}{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor with a mode of its own
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
