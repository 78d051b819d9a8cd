"""A process that outlives its parent for a moment, to kill the groups that it has left.

Run as a program of its own, it may import nothing that takes long: it is begun beside the first
isolated attempt. A group can hold processes that nobody else would kill, and a process that
computes in C never gets to look whether its parent is there.
"""

import os
import select
import signal
import sys
from contextlib import suppress

# A pipe that a forked process holds open, too, does not end with the parent.
LOOK_S = 1.0


def guard(parent: int, pipe: int = 0) -> None:
    """Reads the groups that begin (`+5`) and end (`-5`); at the end kills those that are left."""
    groups: set[int] = set()
    rest = b""
    while os.getppid() == parent:
        if not select.select([pipe], [], [], LOOK_S)[0]:
            continue
        piece = os.read(pipe, 4096)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            change = groups.add if line.startswith(b"+") else groups.discard
            change(int(line[1:]))
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    guard(int(sys.argv[1]))
