"""Wake-ups between processes: each append rings all listeners at the database file.

A listener binds a datagram socket in a directory beside the file, and its thread sleeps in
``recv``; a ringer sends one byte to each socket it finds there. A ring never fails, and may get
lost, so a listener also looks at the log's position now and then.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from eventq.errors import LogError, LogLostError, QueueClosedError
from eventq.host.interrupts import raise_interrupt
from eventq.host.logger import SafeLogger

# The safety net for rings that got lost.
POLL_S = 1.0
# How often to look where no socket can be had.
POLL_ALONE_S = 0.1
# A socket's address holds 108 bytes with the closing NUL, on some systems 104.
ADDRESS_BYTES = 103
# How often to make the directory again when a leaving listener has just removed it.
BIND_ATTEMPTS = 10

# How long an appender believes that nobody listens. Who begins to listen looks at the log once more
# after that time, since an append in it rings nobody.
UNHEARD_S = 0.01

_OUR_NAME = re.compile(r"[0-9]+-[0-9a-f]{8}")

logger = SafeLogger(__name__)


class Doorbell:
    """The bell at one database file, as one log uses it."""

    def __init__(self, directory: str, *, position: Callable[[], int]) -> None:
        self._directory = directory
        self._position = position
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        # Replaced, never changed, so that a ring needs no lock.
        self._watches: tuple[BellWatch, ...] = ()
        self._unheard_until_s = 0.0

    def ring(self) -> None:
        """Wakes this log's own watches directly and all others through their sockets."""
        watches = self._watches
        for watch in watches:
            watch.call_wake()
        now_s = time.monotonic()
        if now_s < self._unheard_until_s:
            return
        # There is no directory when nobody listens, and asking is cheaper than being refused.
        if not os.access(self._directory, os.F_OK):
            self._unheard_until_s = now_s + UNHEARD_S
            return
        try:
            names = os.listdir(self._directory)  # noqa: PTH208 - on the path of every append
        except OSError as error:
            raise_interrupt(error)
            return
        own = {watch.name for watch in watches}
        for name in names:
            if name not in own:
                self._send(name)

    def watch(self, wake: Callable[[], None]) -> BellWatch:
        """Starts a watch; see EventLog.watch. Raises LogError as `position` does."""
        watch = BellWatch(self._directory, position=self._position, wake=wake, ended=self._forget)
        # Before others know it, since `close` may come at once, and waits for its thread.
        watch.start()
        with self._lock:
            self._watches = (*self._watches, watch)
        return watch

    def close(self) -> None:
        """Closes all watches; may be called twice."""
        for watch in self._watches:
            watch.close()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def after_fork(self) -> None:
        """In a child, drops the parent's watches without touching their sockets' files."""
        self._lock = threading.Lock()
        for watch in self._watches:
            watch.abandon()
        self._watches = ()

    def _forget(self, watch: BellWatch) -> None:
        with self._lock:
            self._watches = tuple(other for other in self._watches if other is not watch)

    def _send(self, name: str) -> None:
        try:
            if self._socket is None:
                self._open_socket()
            with _address(self._directory, name) as address:
                if self._socket is not None:
                    self._socket.sendto(b"\0", address)
        except BlockingIOError as error:
            # Its queue is full of rings, so it will wake anyway.
            raise_interrupt(error)
        except OSError as error:
            raise_interrupt(error)
            # Its process was killed.
            if error.errno == errno.ECONNREFUSED and _OUR_NAME.fullmatch(name):
                with suppress(OSError):
                    os.unlink(os.path.join(self._directory, name))  # noqa: PTH108, PTH118

    def _open_socket(self) -> None:
        with self._lock:
            if self._socket is None:
                self._socket = _new_socket()


class BellWatch:
    """One listener: a thread that calls ``wake`` at every ring; see Watch."""

    def __init__(
        self,
        directory: str,
        *,
        position: Callable[[], int],
        wake: Callable[[], None],
        ended: Callable[[BellWatch], None],
    ) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._directory = directory
        self._position = position
        self._wake = wake
        self._ended = ended
        self._closed = threading.Event()
        self._seen = position()
        self._socket = self._bind()
        self._thread: threading.Thread | None = threading.Thread(
            target=self._run, name="eventq-watch", daemon=True
        )

    def start(self) -> None:
        """Starts the thread."""
        assert self._thread is not None, "a watch starts once"
        self._thread.start()

    def close(self) -> None:
        """See Watch.close."""
        thread = self._thread
        if thread is None:
            return
        self._closed.set()
        self._ring_myself()
        # A wake may close its own watch.
        if thread is not threading.current_thread():
            thread.join()
        self._ended(self)

    def abandon(self) -> None:
        """Closes what a forked child has inherited; the thread and the file are the parent's."""
        self._thread = None
        if self._socket is not None:
            self._socket.close()

    def call_wake(self) -> None:
        """Calls ``wake``; an error in it is logged, since it concerns no appender."""
        try:
            self._wake()
        except Exception as error:
            raise_interrupt(error)
            logger.exception("the function called after an append failed")

    def _run(self) -> None:
        try:
            wait_s = 2 * UNHEARD_S
            while not self._closed.is_set():
                rung = self._wait(wait_s)
                wait_s = POLL_S
                if not self._closed.is_set() and (rung or self._has_moved()):
                    self.call_wake()
        finally:
            self._unbind()

    def _wait(self, wait_s: float) -> bool:
        """Sleeps until a ring (True) or until it is time to look at the position (False)."""
        if self._socket is None:
            self._closed.wait(POLL_ALONE_S)
            return False
        try:
            # Not select(), which knows no descriptor above 1,023.
            ears = select.poll()
            ears.register(self._socket, select.POLLIN)
            if not ears.poll(wait_s * 1_000):
                return False
            # One look serves all rings that have come by now.
            with suppress(BlockingIOError):
                while True:
                    self._socket.recv(1)
        except OSError:
            logger.warning("rings can no longer be heard, looking instead", exc_info=True)
            self._unbind()
            return False
        return True

    def _has_moved(self) -> bool:
        try:
            position = self._position()
        except QueueClosedError:
            self._closed.set()
            return False
        except LogLostError:
            return True  # The listener asks the log itself, and gets the error there.
        except LogError:
            logger.warning("the log could not be looked at", exc_info=True)
            return False
        moved = position != self._seen
        self._seen = position
        return moved

    def _bind(self) -> socket.socket | None:
        """A socket in the directory; None where that is impossible."""
        bell = None
        try:
            bell = _new_socket()
            for _ in range(BIND_ATTEMPTS):
                with suppress(FileExistsError):
                    os.mkdir(self._directory, 0o700)  # noqa: PTH102
                with suppress(FileNotFoundError), _address(self._directory, self.name) as address:
                    bell.bind(address)
                    return bell
        except OSError as error:
            logger.info(
                "no socket can be had, looking instead",
                extra={"directory": self._directory, "error": str(error)},
            )
        if bell is not None:
            bell.close()
        return None

    def _unbind(self) -> None:
        if self._socket is None:
            return
        self._socket.close()
        self._socket = None
        with suppress(OSError):
            os.unlink(os.path.join(self._directory, self.name))  # noqa: PTH108, PTH118
            # The last to leave removes the directory; anybody else fails at this.
            os.rmdir(self._directory)  # noqa: PTH106

    def _ring_myself(self) -> None:
        if self._socket is None:
            return
        with suppress(OSError), _address(self._directory, self.name) as address, _new_socket() as s:
            s.sendto(b"\0", address)


def _new_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.settimeout(0)
    return made


@contextmanager
def _address(directory: str, name: str) -> Iterator[str]:
    """The address of a socket in the directory, through a descriptor if its path is too long.

    Raises OSError where that is impossible (outside Linux).
    """
    path = f"{directory}/{name}"
    if len(os.fsencode(path)) <= ADDRESS_BYTES:
        yield path
        return
    if not os.path.isdir("/proc/self/fd"):  # noqa: PTH112
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
