"""One process that runs attempts, as its parent sees it: begun by exec, spoken to, killed, reaped.

Never forked: it has none of this process's threads, locks or connections. Nothing here knows
attempts.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from eventq.core.values import ProcessExit
from eventq.handlers.isolation import main_source
from eventq.host import records
from eventq.host.clock import Clock
from eventq.host.groups import end_group, peak_bytes, peak_of, signal_group
from eventq.runner.isolation import guard
from eventq.runner.isolation.messages import Channel, Hello, ToParent, ToProcess

# Its path of imports is this process's before it imports anything of eventq.
BEGIN = (
    "import sys; parent, socket, *sys.path = sys.argv[1:]; "
    "from eventq.runner.isolation.child import main; main(int(parent), int(socket))"
)
# A process that has nothing to do ends by itself when its socket does; then it is killed.
CLOSE_S = 1.0
# It may close its end without ending, or have given the socket to others: it is looked after.
LOOK_S = 0.5
LOOK_OFTEN_S = 0.002


class GroupGuard:
    """The process that kills what this one leaves behind, should it die; see `guard`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", guard.__file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            # Else Ctrl-C would end it, and what was left would stay.
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        """The group has begun."""
        self._say(f"+{group}\n")

    def remove(self, group: int) -> None:
        """The group is gone, and its number may be another's."""
        self._say(f"-{group}\n")

    def close(self) -> None:
        """Kills the groups that are left, and ends it."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        # Somebody may have killed it: then processes look after their parent themselves.
        with suppress(OSError, ValueError):
            os.write(self._process.stdin.fileno(), line.encode())


class Waker:
    """Has a thread that waits for a process look up, from any other thread."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        # A descriptor that was closed may soon be somebody else's.
        self._lock = threading.Lock()
        self._is_open = True

    def fileno(self) -> int:
        """For select."""
        return self._out

    def wake(self) -> None:
        """Wakes it; it does nothing once this is closed."""
        with self._lock, suppress(BlockingIOError):
            if self._is_open:
                os.write(self._in, b"x")

    def hear(self) -> None:
        """For the thread that has woken up."""
        with suppress(BlockingIOError):
            os.read(self._out, 4096)

    def close(self) -> None:
        """Ends it; may come twice."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                os.close(self._in)
                os.close(self._out)


class WorkerProcess:
    """A process for isolated attempts, one after the other."""

    def __init__(
        self, guarded_by: GroupGuard, waker: Waker, *, memory_bytes: int | None, clock: Clock
    ) -> None:
        """Begins it. Raises OSError where no process can be begun now."""
        self.memory_bytes = memory_bytes
        self.loaded: set[str] = set()
        """The handlers that it has found."""
        self.attempts_count = 0
        self.least_bytes: int | None = None
        """Of what the system counts as its memory, this much need not have been its own."""
        self._is_reaped = False
        self._status: tuple[int | None, int | None] | None = None
        self._peak: int | None = None
        self._clock = clock
        self._guard = guarded_by
        self._waker = waker
        own, other = socket.socketpair()
        self._channel = Channel(own, ToParent)
        self._poll = select.poll()
        self._poll.register(self._channel, select.POLLIN)
        self._poll.register(waker, select.POLLIN)
        try:
            with other:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    [*_interpreter(), "-c", BEGIN, str(os.getpid()), str(other.fileno()), *_path()],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[other.fileno()],
                    # A group of its own, out of reach of the terminal's Ctrl-C.
                    start_new_session=True,
                )
        except BaseException:
            self._channel.close()
            raise
        self.pid = self._process.pid
        guarded_by.add(self.pid)
        with suppress(OSError):
            self.send(_hello(memory_bytes))

    def send(self, message: ToProcess) -> None:
        """Says something. Raises OSError when the process is gone."""
        self._channel.send(message)

    def receive(self, wait_s: float) -> object | None:
        """The next message; None after ``wait_s``, a wake, or when there may be none any more.

        Raises EOFError once it is gone, and msgspec.DecodeError for what is no message.
        """
        ends_s = self._clock.monotonic() + wait_s
        while (message := self._channel.take()) is None:
            left_s = min(ends_s - self._clock.monotonic(), LOOK_S)
            ready = self._poll.poll(max(0.0, left_s) * 1_000)
            if any(descriptor == self._channel.fileno() for descriptor, _ in ready):
                self._read()
            elif ready:
                self._waker.hear()
                return None
            elif not self.is_alive():
                raise EOFError
            elif self._clock.monotonic() >= ends_s:
                return None
        return message

    def is_alive(self) -> bool:
        """Whether it has not ended; where the system can tell, it is not reaped by this."""
        if self._status is not None:
            return False
        try:
            if hasattr(os, "waitid"):
                options = os.WEXITED | os.WNOHANG | os.WNOWAIT
                return os.waitid(os.P_PID, self.pid, options) is None
            return not self._take_status(os.wait4(self.pid, os.WNOHANG))
        except ChildProcessError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Signals its whole group, which has its number as long as it is not reaped."""
        if number is signal.SIGKILL:
            # The system forgets it as soon as the process is dead.
            self._peak = self._peak or peak_of(self.pid)
        signal_group(self.pid, number)

    def reap(self, *, killed_after_us: int | None = None) -> ProcessExit:
        """Kills its group, waits until all of it is gone, and returns how the process ended."""
        self._is_reaped = True
        self.signal(signal.SIGKILL)
        code, most = self._wait()
        end_group(self.pid)
        self._guard.remove(self.pid)
        self._channel.close()
        if most is not None and self.least_bytes is not None and most > self.least_bytes:
            self._peak = max(most, self._peak or 0)
        return ProcessExit(
            code=code if code is not None and code >= 0 else None,
            signal=_name(-code) if code is not None and code < 0 else None,
            killed_after_us=killed_after_us,
            peak_bytes=self._peak,
            memory_bytes=self.memory_bytes,
        )

    def hang_up(self) -> None:
        """Says nothing more: it ends by itself, and kills its group if it has an attempt."""
        self._channel.close()

    def retire(self) -> None:
        """Ends it, which has nothing to do, and kills it if that takes too long.

        After `reap` it does nothing.
        """
        if self._is_reaped:
            return
        self.hang_up()
        ends_s = self._clock.monotonic() + CLOSE_S
        while self.is_alive() and self._clock.monotonic() < ends_s:
            time.sleep(LOOK_OFTEN_S)
        self.reap()

    def _read(self) -> None:
        try:
            is_open = self._channel.read()
        except ConnectionError:
            is_open = False
        if not is_open:
            raise EOFError

    def _wait(self) -> tuple[int | None, int | None]:
        """Exit code (negative: a signal) and memory; None where others have reaped it."""
        with suppress(ChildProcessError):
            if self._status is None:
                self._take_status(os.wait4(self.pid, 0))
        found = self._status or (None, None)
        # Else it would be waited for once more.
        self._process.returncode = found[0] or 0
        return found

    def _take_status(self, waited: tuple[int, int, resource.struct_rusage]) -> bool:
        pid, status, usage = waited
        if not pid:
            return False
        self._status = os.waitstatus_to_exitcode(status), peak_bytes(usage.ru_maxrss)
        return True


def _interpreter() -> list[str]:
    """This interpreter, with its own options."""
    return [sys.executable, *subprocess._args_from_interpreter_flags()]  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing does


def _path() -> list[str]:
    """Where modules are found; the folder of a program may be named by nothing."""
    return [str(Path(entry).absolute()) if entry in {"", "."} else entry for entry in sys.path]


def _hello(memory_bytes: int | None) -> Hello:
    name, path = main_source()
    return Hello(sys.argv, name, path, memory_bytes, records.levels())


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
