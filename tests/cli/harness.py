"""What tests of the command share: calling it in this process, as a process, and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from eventq.cli import main

ROOT = Path(__file__).parent.parent.parent
# Only ever reached when something is broken, or the machine all but stands still.
DEADLINE_S = 60.0
POLL_S = 0.02

# What must never reach a terminal from data: an escape sequence, a bell, an 8-bit control
# sequence, a direction mark; and what rich would take for markup and emoji.
NASTY = "\x1b]0;owned\x07\x1b[31m\x9b31m\u202egnp\u2066\r\b[bold]:smile:[/bold]"
FORBIDDEN = ("\x1b]0;owned", "\x07", "\x1b[31m\x9b", "\x9b", "\u202e", "\u2066", "\b")


class Cli:
    """The command, called in this process with a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/queue.db"

    def __call__(self, *words: str, stdin: str | bytes | None = None) -> Result:
        """Calls it and gives the result, whatever it is."""
        return CliRunner().invoke(main, words, input=stdin, env={"EVENTQ_URL": self.url})

    def ok(self, *words: str, stdin: str | bytes | None = None) -> str:
        """Its output, when it must succeed."""
        result = self(*words, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def rows(self, *words: str, stdin: str | bytes | None = None) -> list[dict[str, Any]]:
        """What it says with --json, one object a line."""
        return [json.loads(line) for line in self.ok(*words, "--json", stdin=stdin).splitlines()]

    def row(self, *words: str) -> dict[str, Any]:
        """The one object that it says with --json."""
        [row] = self.rows(*words)
        return row

    def one_error(self, *words: str, code: int, stdin: str | bytes | None = None) -> str:
        """The one line it says when it must fail with this exit code."""
        result = self(*words, stdin=stdin)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        [line] = result.stderr.splitlines()
        assert line.startswith("eventq: ")
        return line


def environment(**more: str) -> dict[str, str]:
    """A clean environment for a process: this source, no terminal, no settings of ours or Python's.

    Above all not PYTHONUNBUFFERED, which would hide output that is never flushed.
    """
    ours = ("EVENTQ_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "dumb", **more}


def command(*words: str) -> list[str]:
    """The command line of a process."""
    return [sys.executable, "-m", "eventq", *words]


def finished(
    *words: str, folder: Path, stdin: bytes = b"", **more: str
) -> subprocess.CompletedProcess[str]:
    """A process that has run to its end."""
    done = subprocess.run(
        command(*words),
        cwd=folder,
        env=environment(**more),
        input=stdin,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@contextmanager
def started(*words: str, folder: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own; the block's end is its end, and that of its children."""
    with subprocess.Popen(
        command(*words),
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Exit code, output and errors, once the process and all that share its output have ended."""
    output, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, output.decode(), errors.decode()


def until(condition: Callable[[], object], what: str) -> None:
    """Returns when the condition holds; fails after a long time."""
    ends_s = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < ends_s, f"waited in vain until {what}"
        pause.wait(POLL_S)


def on_terminal(
    *words: str, folder: Path, columns: int = 100, typed: str = "", **more: str
) -> tuple[int, str]:
    """Exit code and everything a terminal received from a process that ran to its end.

    ``typed`` is what somebody has typed on it already.
    """
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    settings = {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40", **more}
    with subprocess.Popen(
        command(*words),
        cwd=folder,
        env=environment(**settings),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        received = _all_of(ours)
        os.close(ours)
        return process.wait(DEADLINE_S), received.decode()


def _all_of(descriptor: int) -> bytes:
    received = b""
    while True:
        readable, _, _ = select.select([descriptor], [], [], DEADLINE_S)
        assert readable, "the terminal stays silent"
        try:
            data = os.read(descriptor, 65_536)
        except OSError:
            # Linux says so when the last one on the other side has gone.
            return received
        if not data:
            return received
        received += data
