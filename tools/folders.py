"""Folders of an attack's own, and what a killed attack has left of its own.

Nothing here touches a folder whose process lives, or that this user does not own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
MEMORY = Path("/dev/shm")  # noqa: S108 - folders of its own are made in there


@contextmanager
def own_folder(name: str, *, within: Path | None = None) -> Iterator[Path]:
    """A folder for a block of ``with``; first, those of processes are removed that were killed."""
    parent = Path(tempfile.gettempdir()) if within is None else within
    clear(name, parent)
    with tempfile.TemporaryDirectory(prefix=prefix_of(name), dir=parent) as folder:
        yield Path(folder)


def memory() -> Path | None:
    """A folder in memory, where nobody waits for a disk; None where there is no such folder."""
    return MEMORY if MEMORY.is_dir() else None


def prefix_of(name: str) -> str:
    """How the name of a folder begins that `clear` removes once this process has ended."""
    return f"{name}-{os.getpid()}-"


def clear(name: str, parent: Path) -> None:
    """Removes the folders of this name whose processes have ended, and what is mounted there."""
    for path in parent.glob(f"{name}-*-*"):
        found = re.match(r"(\d+)-", path.name.removeprefix(f"{name}-"))
        with suppress(OSError):
            if found is None or lives(int(found[1])) or path.lstat().st_uid != os.geteuid():
                continue
            for point in _mounted_in(path):
                subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
            shutil.rmtree(path, ignore_errors=True)


def lives(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _mounted_in(folder: Path) -> list[str]:
    with suppress(OSError):
        points = [line.split()[1] for line in MOUNTS.read_text().splitlines()]
        return [point for point in points if point.startswith(f"{folder}/")]
    return []
