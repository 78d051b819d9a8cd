"""Records what a run does to its files, in order: writes, truncations, names, and syncs.

SQLite's files are seen through a layer of its own file system (an apsw VFS), which is the default
one while a recorder is on. What eventq does itself to names, it does by the module `os`. Nothing
here changes what happens.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from unittest.mock import patch

import apsw

from eventq.core.commits import Commit
from eventq.eventlog.sqlite.connection import SqliteConnection
from eventq.eventlog.sqlite.log import SqliteLog
from tools.powercut.steps import (
    FolderSynced,
    Made,
    Record,
    Renamed,
    Synced,
    Told,
    Truncated,
    Unlinked,
    Wrote,
)

# How hard eventq has SQLite sync: FULL is its own, each commit; the others must lose some.
LEVELS = ("FULL", "NORMAL", "OFF")
# With the first sync of such a file SQLite also syncs the folder that it was made in.
JOURNALS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
# As many pages in the WAL have SQLite move them into the database, instead of 1,000: a short run
# sees it several times.
CHECKPOINT_PAGES = 60

R = TypeVar("R")


class Recorder:
    """Records what is done to the files in a folder while the block of ``with`` lasts.

    What other processes do there it does not see. ``level`` is how hard SQLite syncs, ``names`` are
    the files that are there already, with their numbers.
    """

    def __init__(
        self, folder: Path, *, level: str = "FULL", names: Mapping[str, int] | None = None
    ) -> None:
        assert level in LEVELS, level
        self.steps: Record = []
        self.lock = threading.RLock()
        """Held around each step, so that they stand in the record as they were done."""
        self._folder = folder
        self._level = level
        self._names = dict(names or {})
        self._files = max(self._names.values(), default=0)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Begins."""
        base = apsw.vfs_names()[0]
        disk = RecordedDisk(self, base)
        self._stack.callback(apsw.set_default_vfs, base)
        self._stack.callback(disk.unregister)
        for name, step in (("rename", self._rename), ("unlink", self._unlink)):
            self._stack.enter_context(patch.object(os, name, step(getattr(os, name))))
        self._stack.enter_context(patch.object(os, "fsync", self._fsync(os.fsync)))
        self._stack.enter_context(_all_told(self))
        self._stack.enter_context(_set_up_as(self._level))
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Ends."""
        self._stack.close()

    def name_of(self, path: str | None) -> str | None:
        """The name of a file in the folder; None for what is elsewhere, or no matter here."""
        if path is None or os.path.dirname(path) != str(self._folder):  # noqa: PTH120
            return None
        name = path[len(str(self._folder)) + 1 :]
        return None if name.endswith(("-shm", "-lock", "-bell")) else name

    def opened(self, name: str) -> int:
        """The number of the file with this name, which may be new."""
        if name not in self._names:
            self._files += 1
            self._names[name] = self._files
            self.steps.append(Made(name, self._files))
        return self._names[name]

    def unlinked(self, name: str) -> None:
        """The name is gone."""
        if self._names.pop(name, None) is not None:
            self.steps.append(Unlinked(name))

    def _rename(self, real: Callable[..., None]) -> Callable[..., None]:
        def rename(source: str, target: str) -> None:
            name, to = self.name_of(os.fspath(source)), self.name_of(os.fspath(target))
            with self.lock:
                real(source, target)
                if name in self._names and to is not None:
                    self._names[to] = self._names.pop(name)
                    self.steps.append(Renamed(name, to))

        return rename

    def _unlink(self, real: Callable[..., None]) -> Callable[..., None]:
        def unlink(path: str, **options: Any) -> None:  # noqa: ANN401 - those of `os.unlink`
            with self.lock:
                real(path, **options)
                if (name := self.name_of(os.fspath(path))) is not None:
                    self.unlinked(name)

        return unlink

    def _fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            with self.lock:
                real(descriptor)
                synced = os.fstat(descriptor)
                if os.path.samestat(synced, self._folder.stat()):
                    self.steps.append(FolderSynced())
                for name, file in self._names.items():
                    if os.path.samestat(synced, (self._folder / name).stat()):
                        self.steps.append(Synced(file))

        return fsync


class RecordedDisk(apsw.VFS):
    """The usual file system, with a recorder beside it."""

    def __init__(self, recorder: Recorder, base: str) -> None:
        self.recorder = recorder
        self.base = base
        super().__init__("recorded", base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """A file whose steps are recorded if it is in the folder."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        known = self.recorder.name_of(path)
        if known is None:
            return apsw.VFSFile(self.base, name, flags)
        return RecordedFile(self, known, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001 - as apsw calls it
        """Deletes a name, and syncs the folder if asked to."""
        with self.recorder.lock:
            super().xDelete(filename, syncdir)
            if (name := self.recorder.name_of(filename)) is not None:
                self.recorder.unlinked(name)
                if syncdir:
                    self.recorder.steps.append(FolderSynced())


class RecordedFile(apsw.VFSFile):
    """A file whose writes, truncations and syncs are recorded."""

    def __init__(
        self,
        disk: RecordedDisk,
        known: str,
        name: str | apsw.URIFilename | None,
        flags: list[int],
    ) -> None:
        self._recorder = disk.recorder
        with self._recorder.lock:
            super().__init__(disk.base, name, flags)
            self._file = self._recorder.opened(known)
        self._syncs_folder = bool(flags[0] & JOURNALS and flags[0] & apsw.SQLITE_OPEN_CREATE)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        """Writes."""
        with self._recorder.lock:
            super().xWrite(data, offset)
            self._recorder.steps.append(Wrote(self._file, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        """Truncates."""
        with self._recorder.lock:
            super().xTruncate(newsize)
            self._recorder.steps.append(Truncated(self._file, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Syncs."""
        with self._recorder.lock:
            super().xSync(flags)
            self._recorder.steps.append(Synced(self._file))
            if self._syncs_folder:
                self._syncs_folder = False
                self._recorder.steps.append(FolderSynced())


def _all_told(recorder: Recorder) -> ExitStack:
    """Has each commit recorded that an append or a read of a log has returned."""
    stack = ExitStack()

    def telling(real: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(real)
        def call(*args: Any, **options: Any) -> R:  # noqa: ANN401 - those of the method
            answer = real(*args, **options)
            last = answer[-1] if isinstance(answer, list) and answer else answer
            if isinstance(last, Commit):
                recorder.steps.append(Told(last.last))
            return answer

        return call

    for method in ("append_next", "read"):
        told = telling(getattr(SqliteLog, method))
        stack.enter_context(patch.object(SqliteLog, method, told))
    return stack


def _set_up_as(level: str) -> ExitStack:
    """Has each connection of a log sync as the level says, and move pages from the WAL often."""
    stack = ExitStack()
    real = SqliteConnection._set_up  # noqa: SLF001 - eventq has no option for either

    def set_up(self: SqliteConnection, connection: apsw.Connection, *, writes: bool) -> None:
        real(self, connection, writes=writes)
        connection.wal_autocheckpoint(CHECKPOINT_PAGES)
        if level != "FULL":
            connection.execute(f"PRAGMA synchronous = {level}")

    stack.enter_context(patch.object(SqliteConnection, "_set_up", set_up))
    return stack
