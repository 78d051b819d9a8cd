"""What is measured of processes and files, and whether it stays as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median

from msgspec import Struct

KIB, MIB = 2**10, 2**20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Of fewer samples nothing can be said.
LEAST_SAMPLES = 8
# How much more the last quarter may have than the second: what a machine does by chance.
MORE_MEMORY_BYTES, MORE_MEMORY_SHARE = 8 * MIB, 0.05
MORE_THREADS, MORE_FILES = 2, 4


class Sample(Struct, frozen=True):
    """One process at one moment."""

    memory_bytes: int
    threads: int
    files: int


def sample(pid: int) -> Sample | None:
    """What the system says of a process; None once it is gone."""
    place = Path("/proc") / str(pid)
    with suppress(OSError):
        pages = int((place / "statm").read_text().split()[1])
        threads = sum(1 for _ in (place / "task").iterdir())
        files = sum(1 for _ in (place / "fd").iterdir())
        return Sample(pages * PAGE_BYTES, threads, files)
    return None


def grown(values: list[int]) -> float:
    """By how much the median of the last quarter is above that of the second."""
    quarter = len(values) // 4
    return median(values[-quarter:]) - median(values[quarter : 2 * quarter])


def judge(name: str, samples: list[Sample]) -> Iterator[str]:
    """What of a process grows: a leak, as far as the samples reach."""
    if len(samples) < LEAST_SAMPLES:
        yield f"{name} was measured only {len(samples)} times"
        return
    memory = [each.memory_bytes for each in samples]
    most = MORE_MEMORY_BYTES + MORE_MEMORY_SHARE * median(memory)
    if (more := grown(memory)) > most:
        yield f"{name} has {more / MIB:.1f} MiB more memory than at first"
    if (more := grown([each.threads for each in samples])) > MORE_THREADS:
        yield f"{name} has {more:g} more threads than at first"
    if (more := grown([each.files for each in samples])) > MORE_FILES:
        yield f"{name} has {more:g} more open files than at first"
