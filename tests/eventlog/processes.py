"""Talking with processes that a test has started on the log of the test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from tests.eventlog.commits import WAIT_S

Process = subprocess.Popen[str]
Starter = Callable[..., Process]

PREAMBLE = """
import os, sys, threading
from pathlib import Path
from eventq.errors import LogConflictError
from tests.eventlog.commits import append, append_in_slot, commit_after, everything, open_sqlite
path = Path(sys.argv[1])
def say(*words):
    print(*words, flush=True)
"""


def line(process: Process) -> str:
    """The next line that the process prints; empty at its end."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def tell(process: Process) -> None:
    """Lets a process go on that waits for a line."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def finish(process: Process) -> list[str]:
    """What the process prints until its end, which must be a good one."""
    said = rest(process)
    assert process.returncode == 0
    return said


def rest(process: Process) -> list[str]:
    """What the process still prints until its end, whatever that is."""
    assert process.stdout is not None
    # Not communicate(), which would miss what `line` has read ahead.
    said = process.stdout.read().splitlines()
    process.wait(WAIT_S)
    return said
