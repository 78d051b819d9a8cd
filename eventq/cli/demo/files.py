"""The demo's files: finding them, naming their tasks, and choosing the one that never succeeds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from eventq import TaskSpec
from eventq.core.values import KEY_BYTES
from eventq.handlers.handler import Handler

# Small files first, so that results come soon: name, size below it, priority.
SIZE_CLASSES = (
    ("tiny", 4 * 1024, 30),
    ("small", 64 * 1024, 20),
    ("medium", 1024 * 1024, 10),
    ("large", None, 0),
)
# In the keys of paths that cannot stand in one.
DIGEST = "sha256:"

# Takes the root and a path.
FileHandler = Handler[[str, str], str, str]


class DemoFile(Struct, frozen=True):
    """A file of the tree. Its path is relative, and may hold what UTF-8 cannot."""

    path: str
    size_bytes: int


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


def specs_of(
    handler: FileHandler, root: str, files: list[DemoFile], *, broken: DemoFile | None
) -> list[TaskSpec]:
    """The tasks of the files; ``broken`` comes first, so it is in the first commit."""
    specs: list[TaskSpec] = []
    for file in sorted(files, key=lambda file: file is not broken):
        size, priority = size_class(file.size_bytes)
        tags = {"size": size, **({"broken": True} if file is broken else {})}
        made = handler.using(key=key_of(handler.name, file.path), priority=priority, tags=tags)
        specs.append(made.spec(quoted(root), quoted(file.path)))
    return specs


def quoted(path: str) -> str:
    """The path as tags hold it: ``%`` and bytes that are not UTF-8 are quoted, as in a URL."""
    text = os.fsencode(path.replace("%", "%25")).decode(errors="surrogateescape")
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in text)


def unquoted(path: str) -> str:
    """The path that `quoted` was given."""
    return os.fsdecode(unquote_to_bytes(path))


def key_of(handler: str, path: str) -> str:
    """The key of a handler's task: with the path, or its digest when no key can hold it."""
    key = f"{handler}:{path}"
    stays = path.isprintable() and not path.startswith(DIGEST)
    if stays and len(key.encode()) <= KEY_BYTES:
        return key
    return f"{handler}:{DIGEST}{hashlib.sha256(os.fsencode(path)).hexdigest()}"


def choose_broken(seed: int, files: list[DemoFile]) -> DemoFile:
    """The one file that never succeeds."""
    return min(files, key=lambda file: chance(seed, file.path, 0))


def chance(seed: int, what: str, attempt: int) -> float:
    """A number from 0 up to 1 that depends only on the arguments."""
    digest = hashlib.sha256(f"{seed} {attempt} ".encode() + os.fsencode(what)).digest()
    return float(int.from_bytes(digest[:6]) / 2**48)


def size_class(size_bytes: int) -> tuple[str, int]:
    """The name and priority of a size."""
    for name, below_bytes, priority in SIZE_CLASSES:
        if below_bytes is None or size_bytes < below_bytes:
            return name, priority
    raise AssertionError("the last class has no bound")
