"""Where this process and this call run: the cores that may be used, the event loop that goes on."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

CGROUPS = Path("/proc/self/cgroup")
P = ParamSpec("P")
R = TypeVar("R")

# Where everybody mounts control groups: version 2 here, of version 1 each controller in a folder.
CGROUP_ROOT = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """How many CPU cores this process may use at a time: at least one.

    The host's cores, less by the process's affinity and by the CPU quota of its control groups,
    where a part of a core counts as one.
    """
    count = os.cpu_count() or 1
    # Not every system has it.
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    return max(1, min([count, *map(math.ceil, _quotas())]))


def running_loop() -> AbstractEventLoop | None:
    """The asyncio event loop that runs in this thread, if there is one."""
    if "asyncio" not in sys.modules:
        return None
    import asyncio  # noqa: PLC0415 - costs more to import than the rest of eventq

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Calls it in a thread of the loop's pool; the loop goes on meanwhile."""
    import asyncio  # noqa: PLC0415 - costs more to import than the rest of eventq

    return await asyncio.to_thread(function, *args, **kwargs)


class OwnThread:
    """A thread beside an event loop, for what must not wait for one of the loop's pool.

    All those may be waiting for it.
    """

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - see in_thread

        self._pool = ThreadPoolExecutor(1, thread_name_prefix="eventq-own")

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls it there; see `in_thread`."""
        import asyncio  # noqa: PLC0415 - see in_thread

        call = partial(copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def end(self) -> None:
        """Ends it, without waiting for a call that goes on."""
        self._pool.shutdown(wait=False)


def _quotas() -> list[float]:
    """The CPU quotas, in cores, that bind this process: each of its groups, and those above it."""
    found = []
    for line in _read(CGROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        root = CGROUP_ROOT / "cpu" if controllers else CGROUP_ROOT
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container the path may be the host's, of which only the root is to be seen here.
        group = PurePosixPath(path)
        for each in (group, *group.parents):
            folder = root / str(each).strip("/")
            quota = _quota_1(folder) if controllers else _quota_2(folder)
            if quota is not None:
                found.append(quota)
    return found


def _quota_1(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _quota_2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _ratio(quota: str, period: str) -> float | None:
    """Quota in cores; None where there is none: no file, "max", or -1."""
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
