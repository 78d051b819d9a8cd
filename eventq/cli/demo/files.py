"""The demo's work: finding files, making a task of each, and reading them as from a flaky disk.

Files are never changed. Random failures depend only on seed, path and attempt, so two runs with
the same seed fail alike.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from eventq import Cancel, Task, TaskSpec
from eventq.cli.text import visible
from eventq.core.events import KEY_BYTES
from eventq.core.plain import storable
from eventq.handlers.context import Context

# Small files first, so that results come soon: name, size below it, priority.
SIZE_CLASSES = (
    ("tiny", 4 * 1024, 30),
    ("small", 64 * 1024, 20),
    ("medium", 1024 * 1024, 10),
    ("large", None, 0),
)
CHUNK_BYTES = 1024 * 1024
COMPRESSION_LEVEL = 6
# After this many random failures a file is read without any, so that only one task expires.
UNLUCKY_ATTEMPTS = 3
# The prefix of keys for paths that cannot be keys.
DIGEST = "sha256:"
FAILURES_KEPT = 5


class DemoFile(Struct, frozen=True):
    """A file of the tree. Its path is relative, and may hold what UTF-8 cannot."""

    path: str
    size_bytes: int


class Board:
    """What the worker threads do, as lines for the screen. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, tuple[float, str]] = {}
        self._failures: deque[str] = deque(maxlen=FAILURES_KEPT)

    @contextmanager
    def working(self, task: Task, path: str) -> Iterator[None]:
        """Lists the attempt as running during the block, and its failure afterwards."""
        with self._lock:
            self._running[task.number] = (time.monotonic(), visible(path))
        try:
            yield
        except OSError as error:
            what = visible(error.strerror or str(error))
            with self._lock:
                self._failures.appendleft(f"attempt {task.attempt}  {what}  {visible(path)}")
            raise
        finally:
            with self._lock:
                del self._running[task.number]

    def lines(self) -> tuple[list[str], list[str]]:
        """The running attempts, longest first, and the last failures, newest first."""
        now_s = time.monotonic()
        with self._lock:
            running = [
                f"{now_s - begun_s:6.2f} s  {path}"
                for begun_s, path in sorted(self._running.values())
            ]
            return running, list(self._failures)


class DiskWorker(Struct, frozen=True):
    """Reads a task's file: its SHA-256 and how well it compresses are the result."""

    root: str
    board: Board
    seed: int
    fail_share: float
    pace_s: float

    def __call__(self, ctx: Context, task: Task) -> dict[str, Any]:
        """Runs one attempt. Raises OSError as a disk would, and at random."""
        path = path_of(task.tags)
        if path is None:
            raise Cancel("not a task of the demo")
        begun_s = time.monotonic()
        with self.board.working(task, path):
            self._fail_by_chance(path, task)
            result = self._read(ctx, path)
            seconds = time.monotonic() - begun_s
            if seconds < self.pace_s:
                ctx.sleep(self.pace_s - seconds)
        return {**result, "seconds": round(seconds, 6)}

    def _fail_by_chance(self, path: str, task: Task) -> None:
        unlucky = (
            task.attempt <= UNLUCKY_ATTEMPTS
            and chance(self.seed, path, task.attempt) < self.fail_share
        )
        if unlucky or task.tags.get("broken"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    def _read(self, ctx: Context, path: str) -> dict[str, Any]:
        digest = hashlib.sha256()
        packer = zlib.compressobj(COMPRESSION_LEVEL)
        size_bytes = packed_bytes = 0
        with open(os.path.join(self.root, path), "rb") as file:  # noqa: PTH118, PTH123 - odd names
            while chunk := file.read(CHUNK_BYTES):
                ctx.check()
                digest.update(chunk)
                packed_bytes += len(packer.compress(chunk))
                size_bytes += len(chunk)
        packed_bytes += len(packer.flush())
        return {
            "sha256": digest.hexdigest(),
            "bytes": size_bytes,
            "compressed": packed_bytes,
            "ratio": round(packed_bytes / size_bytes, 4) if size_bytes else None,
        }


def scan(
    root: str, *, without: Callable[[str], bool], limit: int | None
) -> tuple[list[DemoFile], list[str]]:
    """The regular files under the root by path, and the directories that could not be read.

    Symbolic links are not followed. ``without`` says which full paths to leave out.
    """
    files: list[DemoFile] = []
    unread: list[str] = []
    for directory, names, _ in os.walk(root, onerror=lambda error: unread.append(error.filename)):
        names[:] = [name for name in names if not without(os.path.join(directory, name))]  # noqa: PTH118
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False) and not without(entry.path):
                        size_bytes = entry.stat(follow_symlinks=False).st_size
                        files.append(DemoFile(os.path.relpath(entry.path, root), size_bytes))
        except OSError:
            # It was deleted meanwhile, or is reported above.
            continue
    files.sort(key=lambda file: os.fsencode(file.path))
    return files[:limit], unread


def specs_of(root: str, files: list[DemoFile], *, broken: DemoFile | None) -> list[TaskSpec]:
    """The tasks of the files; ``broken`` comes first, so it is in the first commit."""
    return [
        TaskSpec(
            tags_of(root, file, broken=file is broken),
            key=key_of(file.path),
            priority=size_class(file.size_bytes)[1],
        )
        for file in sorted(files, key=lambda file: file is not broken)
    ]


def tags_of(root: str, file: DemoFile, *, broken: bool) -> dict[str, Any]:
    """A file's tags; ``path_hex`` has the bytes of a path that is not UTF-8."""
    path, name = storable(file.path), size_class(file.size_bytes)[0]
    odd = {} if path == file.path else {"path_hex": os.fsencode(file.path).hex()}
    chosen = {"broken": True} if broken else {}
    return {"path": path, **odd, "size": name, **chosen, "root": storable(root)}


def path_of(tags: dict[str, Any]) -> str | None:
    """The relative path in a task's tags; None when the task is not the demo's."""
    try:
        if "path_hex" in tags:
            return os.fsdecode(bytes.fromhex(tags["path_hex"]))
        path = tags["path"]
    except (KeyError, TypeError, ValueError):
        return None
    return path if isinstance(path, str) and "root" in tags else None


def key_of(path: str) -> str:
    """The task's key: the path, or its digest when the path is no valid key."""
    stays = path.isprintable() and not path.isdigit() and not path.startswith(DIGEST)
    if stays and len(path.encode()) <= KEY_BYTES:
        return path
    return DIGEST + hashlib.sha256(os.fsencode(path)).hexdigest()


def choose_broken(seed: int, files: list[DemoFile]) -> DemoFile:
    """The one file that never succeeds."""
    return min(files, key=lambda file: chance(seed, file.path, 0))


def chance(seed: int, path: str, attempt: int) -> float:
    """A number from 0 up to 1 that depends only on the arguments."""
    digest = hashlib.sha256(f"{seed} {attempt} ".encode() + os.fsencode(path)).digest()
    return float(int.from_bytes(digest[:6]) / 2**48)


def size_class(size_bytes: int) -> tuple[str, int]:
    """The name and priority of a size."""
    for name, below_bytes, priority in SIZE_CLASSES:
        if below_bytes is None or size_bytes < below_bytes:
            return name, priority
    raise AssertionError("the last class has no bound")
