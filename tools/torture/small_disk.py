"""A folder on a disk of its own that can be filled up, where this user may mount one."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

SIZE_MIB = 64
FILLER = "filler"
# The disk stays full for so long, in seconds.
FULL_S = 1.0


class SmallDisk:
    """A file system in memory for a block of ``with``; else a plain folder, which is never full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_small = False

    def __enter__(self) -> Self:
        """Mounts it."""
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(self.folder)]
        with suppress(OSError):
            done = subprocess.run(command, capture_output=True, check=False)
            self.is_small = done.returncode == 0
        return self

    def fill(self) -> None:
        """Leaves no room for a while."""
        with (self.folder / FILLER).open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(2**20))
        # The last few bytes too.
        with (self.folder / FILLER).open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 512)
        time.sleep(FULL_S)
        os.unlink(self.folder / FILLER)  # noqa: PTH108 - beside those that are open

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Unmounts it; what was in it is gone."""
        if self.is_small:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
