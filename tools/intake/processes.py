"""Processes that run the pipeline, each of which may be killed at any moment and comes back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

# How long a process may take to end after SIGTERM.
STOP_S = 60.0


class Processes:
    """Some processes of one program, for a block of ``with``."""

    def __init__(self, module: str, environment: Mapping[str, str], *, count: int) -> None:
        self.kills = 0
        self._command = [sys.executable, "-m", module]
        self._environment = {**os.environ, **environment}
        self._count = count
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Starts all."""
        self._running = [self._start() for _ in range(self._count)]
        return self

    def kill_one(self) -> None:
        """SIGKILL for the one that has run longest; another one is started."""
        oldest = self._running.pop(0)
        assert oldest.poll() is None, "a process has ended by itself; its error stands above"
        oldest.kill()
        oldest.wait()
        self.kills += 1
        self._running.append(self._start())

    def stop(self) -> None:
        """SIGTERM for all; each must end well."""
        for process in self._running:
            process.terminate()
        codes = [process.wait(STOP_S) for process in self._running]
        assert not any(codes), f"they ended with {codes}; their errors stand above"

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Kills what is left."""
        for process in self._running:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        # What each prints at its end is of no use here.
        return subprocess.Popen(self._command, env=self._environment, stdout=subprocess.DEVNULL)
