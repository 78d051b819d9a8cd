"""Runs a queue in a thread, so that the main thread is free for signals and a screen.

Signal handlers here only set a flag and ring a bell; the waiting thread does the rest.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from eventq import Queue
from eventq.host.bell import Bell
from eventq.host.signals import on_signals
from eventq.runner.runner import RunReport

# A closing terminal is a request too, unless the program is to outlive it (nohup).
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# The pause between two attempts to stop a run that has not quite begun.
RETRY_S = 0.02


class BackgroundRun:
    """One `Queue.run` in a thread. `ask`, `force` and the attributes may be used from anywhere."""

    def __init__(self, queue: Queue, worker: Callable[..., Any] | None, **options: Any) -> None:  # noqa: ANN401
        self._queue = queue
        self._worker = worker
        self._options = options
        self._bell = Bell()
        # A daemon: an error in the main thread must end the process.
        self._thread = threading.Thread(target=self._run, name="eventq-run", daemon=True)
        self._report: RunReport | None = None
        self._error: BaseException | None = None
        self.done = False
        # Two flags, not a number: each is only ever set, so no request is lost between threads.
        self.asked = False
        self._forced = False
        self._told_count = 0

    def start(self) -> None:
        """Starts the run; call it once."""
        self._thread.start()

    def ask(self) -> None:
        """Asks the run to end gracefully; asking again changes nothing."""
        self.asked = True
        self._bell.ring()

    def force(self) -> None:
        """Makes the run give back what is still running."""
        self.asked = True
        self._forced = True
        self._bell.ring()

    def wait(self, timeout_s: float | None) -> bool:
        """Waits for the end, a request to stop, or the timeout; returns whether the run has ended.

        Requests reach the run only while a thread waits here; one may at a time.
        """
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.done:
            left_s = None if ends_s is None else ends_s - time.monotonic()
            told = self._tell()
            if not told:
                left_s = RETRY_S if left_s is None else min(RETRY_S, left_s)
            if left_s is not None and left_s <= 0:
                break
            rang = self._bell.wait(left_s)
            if rang and told:
                self._tell()
                break
        return self.done

    def result(self) -> RunReport:
        """What the run did, once it has ended. Raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._report is not None
        return self._report

    def _run(self) -> None:
        try:
            self._report = self._queue.run(self._worker, **self._options)
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            self._error = error
        finally:
            self.done = True
            self._bell.ring()

    def _tell(self) -> bool:
        """Passes requests on; returns whether none is left. A run that has not begun takes none."""
        wanted_count = 2 if self._forced else int(self.asked)
        while self._told_count < wanted_count and self._queue.stop():
            self._told_count += 1
        return self._told_count >= wanted_count


def on_asking(asked: Callable[[], None]) -> AbstractContextManager[None]:
    """Calls ``asked`` at each signal that asks to stop, while the block lasts."""
    return on_signals([number for number in ASKING if not _outlives(number)], asked)


def stopping(run: BackgroundRun) -> AbstractContextManager[None]:
    """While the block lasts, the first signal asks the run to end and the second forces it."""

    def asked() -> None:
        if run.asked:
            run.force()
        else:
            run.ask()

    return on_asking(asked)


def _outlives(number: signal.Signals) -> bool:
    return number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
