"""Groups of processes, and what a process may have: signals, limits and the most memory it had."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

# From <linux/prctl.h>: the signal that comes when the thread ends that began this process.
PR_SET_PDEATHSIG = 1
# A killed group is gone within microseconds; what hangs in the kernel for longer runs no code.
GONE_S = 1.0
LOOK_S = 0.002


def signal_group(group: int, number: signal.Signals) -> bool:
    """Signals all processes of a group; False when there is none that could be signalled."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # macOS says the second of a group of which only zombies are left.
        return False
    return True


def end_group(group: int) -> None:
    """Kills what is left of a group whose leader has been reaped, and waits until it is gone.

    Those whose parent has ended are reaped by init; here only where this process stands for it.
    """
    ends_s = time.monotonic() + GONE_S
    while signal_group(group, signal.SIGKILL) and time.monotonic() < ends_s:
        with suppress(ChildProcessError):
            os.waitpid(-group, os.WNOHANG)
        time.sleep(LOOK_S)


def die_with_parent(parent: int) -> None:
    """Has the system kill this process when its parent ends; on Linux alone."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It ended before this was asked for.
        os._exit(1)


def limit_memory(size_bytes: int) -> None:
    """What this process may have of its own that it can write to; see docs/how-to/isolate.md.

    Not its address space: libraries reserve far more of that than they ever use.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = size_bytes if hard == resource.RLIM_INFINITY else min(size_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def peak_bytes(maxrss: int) -> int:
    """What the system counts as ``ru_maxrss`` in bytes: macOS has these, all others KiB."""
    return maxrss if sys.platform == "darwin" else maxrss * 1024


def peak_of(pid: int) -> int | None:
    """The most memory that a living process has had; None where the system does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
