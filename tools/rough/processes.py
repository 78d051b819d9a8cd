"""The processes that work, and what is done to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tools.rough.worker import TTL_S, boot_us

# A stopped process has ended by then.
STOP_S = 20.0
# One that stands still comes back so long after its leases are over.
STALL_S = 2.0


class Processes:
    """The processes of workers, and what was done to them."""

    def __init__(self, url: str, folder: Path, calls: Path) -> None:
        self.silenced: set[int] = set()
        """Those that were killed, or stood still for longer than their leases."""
        self.told: dict[int, int] = {}
        """By process, when it was told to stop; microseconds since boot."""
        self.broken: list[str] = []
        self._command = [sys.executable, "-m", "tools.rough.worker", url]
        self._command += [str(folder), str(calls)]
        self._errors = (folder / "errors").open("w+", encoding="utf-8")
        self._live: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts one more."""
        self._live.append(subprocess.Popen(self._command, stderr=self._errors))

    def kill(self, pid: int) -> None:
        """SIGKILL for one."""
        process = self._take(pid)
        self.silenced.add(pid)
        self._note_end(process.poll())
        process.kill()
        process.wait()

    def stall(self, pid: int) -> None:
        """SIGSTOP for one, and SIGCONT when its leases are long over."""
        self.silenced.add(pid)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(TTL_S + STALL_S)
        os.kill(pid, signal.SIGCONT)

    def stop(self, pid: int) -> None:
        """SIGTERM for one, which must end well."""
        process = self._take(pid)
        self.told[pid] = boot_us()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            self.broken.append("a process did not stop when it was told to")
            return
        self._note_end(code)

    def stop_all(self) -> None:
        """SIGTERM for each."""
        for process in self._live.copy():
            self.stop(process.pid)

    def end(self) -> None:
        """Kills what is left."""
        for process in self._live.copy():
            self.kill(process.pid)

    def _take(self, pid: int) -> subprocess.Popen[bytes]:
        process = next(each for each in self._live if each.pid == pid)
        self._live.remove(process)
        return process

    def _note_end(self, code: int | None) -> None:
        if code:
            self._errors.seek(0)
            said = [line for line in self._errors if "Error: " in line] or ["nothing said"]
            self.broken.append(f"a process ended with {code}: {said[-1].strip()[-200:]}")


def pid_of(node: str) -> int:
    """The process of a node, by its name."""
    return int(node.rsplit("-", 2)[1])
