"""A caller's block inside a commit: where its thread meets the one that commits.

The block ends in time whatever it does: the thread that holds the log is never the caller's. It
decides nothing; what the block wants decided is a command.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from eventq.core.command import Command
from eventq.errors import TransactionError, TransactionTimeoutError

if TYPE_CHECKING:
    from eventq.eventlog.contract import Guest

R = TypeVar("R")

# A statement that is broken off is told so this often, in seconds: one that was about to begin was
# not there to hear it.
INTERRUPT_EVERY_S = 0.01
OVER = "it is over"
ROLLED_BACK = "it was rolled back: the log has changed, or failed, under it"

# What this thread, or asyncio task, is inside of.
visiting: ContextVar[Visit | None] = ContextVar("eventq_visiting", default=None)

# The blocks that are open in this process: as long as there is none, no call looks for its own.
under_way: set[Visit] = set()
os.register_at_fork(after_in_child=under_way.clear)


class Visit:
    """One block, from its begin to the end of its commit."""

    def __init__(self, lead: Callable[[Visit], object], *, place: object, timeout_s: float) -> None:
        """``lead`` makes the commit, in a thread of its own; ``place`` is where it is made."""
        self.place = place
        self._lead = lead
        self._timeout_s = timeout_s
        self._process = os.getpid()
        # Held by whoever uses the guest.
        self._lock = threading.Lock()
        self._guest: Guest | None = None
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._done = threading.Event()
        self._command: Command[Any] | None = None
        self._result: object = None
        self._error: BaseException | None = None
        self._outer: Visit | None = None

    # For the caller's thread.

    def begin(self) -> None:
        """Waits until the block may run. Raises what keeps the log from being written to."""
        outer = visiting.get()
        if outer is not None and outer.place == self.place:
            raise TransactionError("it would be inside another one on the same file")
        _watch_forks()
        # In a context of its own: it is inside of nothing.
        threading.Thread(
            target=Context().run, args=(self._host,), name="eventq-transaction", daemon=True
        ).start()
        try:
            self._begun.wait()
        except BaseException:
            self.give_up()
            raise
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        """Has it end, if it still begins, without waiting for that."""
        self._ended.set()

    def break_off(self, error: TransactionError) -> None:
        """Rolls it back, for this reason, and waits until that is done."""
        self._error = self._error or error
        self._ended.set()
        self._done.wait()

    def mark(self) -> None:
        """From here on this thread, or asyncio task, is inside of it."""
        self._outer = visiting.get()
        visiting.set(self)
        under_way.add(self)

    def unmark(self) -> None:
        """Ends `mark`."""
        visiting.set(self._outer)
        under_way.discard(self)

    def run(self, step: Callable[[Guest], R]) -> R:
        """Has the guest do something. Raises TransactionError where there is none any more."""
        if os.getpid() != self._process:
            raise TransactionError("it is of the process that this one was forked from")
        with self._lock:
            if self._guest is None:
                raise self._error or TransactionError(OVER)
            try:
                return step(self._guest)
            except TransactionError as error:
                # Where it was broken off: what for.
                raise self._error or error from error

    def end(self, command: Command[Any] | None) -> Any:  # noqa: ANN401 - what `lead` returns
        """Ends the block, and commits what it did together with the command; None: rolls back.

        Returns what was committed. Raises what kept it from being so.
        """
        if os.getpid() != self._process:
            raise TransactionError("it is of the process that this one was forked from")
        self._command = command
        self._ended.set()
        self._done.wait()
        if command is None:
            return None
        if self._error is not None:
            raise self._error
        return self._result

    # For the thread that commits.

    def stay(self, guest: Guest) -> Command[Any]:
        """Lets the block run; returns what is to be decided then. Raises why nothing is to be."""
        if self._begun.is_set() or self._ended.is_set():
            raise TransactionError(ROLLED_BACK)
        self._guest = guest
        self._begun.set()
        if not self._ended.wait(self._timeout_s):
            self._error = TransactionTimeoutError(self._timeout_s)
        while not self._lock.acquire(timeout=INTERRUPT_EVERY_S):
            guest.interrupt()
        self._guest = None
        self._lock.release()
        if self._error is not None:
            raise self._error
        if self._command is None:
            raise TransactionError(OVER)
        guest.check()
        return self._command

    def _host(self) -> None:
        try:
            self._result = self._lead(self)
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            self._error = self._error or error
        finally:
            self._begun.set()
            self._done.set()


@cache
def _watch_forks() -> None:
    """Has a fork inside a block end it: the fork would wait for the log, and so for the block.

    Not before a log is open: the hook that was registered last is called first.
    """
    os.register_at_fork(before=_before_fork)


def _before_fork() -> None:
    visit = visiting.get()
    if visit is not None:
        visit.break_off(TransactionError("the process was forked in its block"))
