"""The followers of one run: a thread for each, woken by the log, and one that renews.

They stand beside the attempts: nothing that a follower does or fails to do holds a task up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eventq.core.durations import SECOND_US
from eventq.errors import EventqError, LogUnavailableError
from eventq.handlers.follow import Follow
from eventq.host.bell import Bell
from eventq.host.clock import MovedClock
from eventq.host.interrupts import raise_interrupt
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.runner.follower import FollowerRun

if TYPE_CHECKING:
    from eventq.eventlog import Watch

logger = SafeLogger("eventq.runner.followers")

# Pause after the log could not be reached.
UNAVAILABLE_S = 0.5
BROKEN = "follower %(follower)s has ended: %(error)s"
STUCK = "followers have not ended: %(followers)s"
HELD_BACK = "follower %(follower)s of an earlier run has not ended, so it is not started again"


class Following:
    """The followers of one run. `start`, then `drain` where the run is idle, then `stop`."""

    def __init__(self, node: Node, follows: Sequence[Follow], *, ttl_us: int) -> None:
        self._node = node
        self._ttl_us = ttl_us
        self._threads = [_FollowerThread(node, follow, ttl_us, self._note) for follow in follows]
        self._watch: Watch | None = None
        # Notified whenever a thread has come to rest.
        self._rested = threading.Condition()
        self._pulse = Bell()
        self._pulse_thread: threading.Thread | None = None
        self._is_stopping = self._is_over = False

    def take_over(self, before: Following) -> None:
        """Does not start what an earlier run's thread still does; before `start`."""
        alive = {each.name: each for each in before._threads if each.thread.is_alive()}
        for each in list(self._threads):
            if each.name in alive:
                self._threads.remove(each)
                values = {"follower": each.name}
                logger.warning(HELD_BACK, values, extra=values)

    def start(self) -> None:
        """Starts the threads. A follower that the log does not know begins here."""
        if not self._threads:
            return
        for each in self._threads:
            each.begin()
        self._watch = self._node.log.watch(self._ring)
        self._node.on_append(self._ring)
        if isinstance(self._node.clock, MovedClock):
            self._node.clock.on_move(self._wake)
        self._pulse_thread = threading.Thread(
            target=self._renew, name="eventq-follow-renewal", daemon=True
        )
        for thread in (self._pulse_thread, *(each.thread for each in self._threads)):
            thread.start()

    def drain(self, *, stopping: Callable[[], bool]) -> bool:
        """Waits until each has dealt with all that the log holds, or stands aside.

        Returns whether any function was called since the last time, and so may have made tasks.
        """
        if not self._threads:
            return False
        end = self._node.log.head().seq
        self._ring()
        with self._rested:
            while not stopping() and not all(each.rests(end) for each in self._threads):
                self._rested.wait(UNAVAILABLE_S)
        called = [each.take_calls() for each in self._threads]
        return any(called)

    def stop(self, *, within_s: float) -> None:
        """Ends the threads, each after the call that it is in; may come twice, or before `start`.

        One whose function does not return in time is left behind: it changes nothing any more.
        """
        if self._pulse_thread is None or self._is_stopping:
            return
        self._is_stopping = True
        for each in self._threads:
            each.ask_to_stop()
        ends_s = self._node.clock.monotonic() + within_s
        try:
            for each in self._threads:
                each.thread.join(max(0.0, ends_s - self._node.clock.monotonic()))
        finally:
            self._is_over = True
            self._pulse.ring()
        self._pulse_thread.join()
        self._node.off_append(self._ring)
        if isinstance(self._node.clock, MovedClock):
            self._node.clock.off_move(self._wake)
        if self._watch is not None:
            self._watch.close()
        if stuck := [each.name for each in self._threads if each.thread.is_alive()]:
            values = {"followers": stuck}
            logger.warning(STUCK, values, extra=values)

    def _ring(self) -> None:
        for each in self._threads:
            each.bell.ring()

    def _wake(self) -> None:
        """Time has moved: what waits for an instant looks at it, too."""
        for each in self._threads:
            each.wake()

    def _note(self) -> None:
        with self._rested:
            self._rested.notify_all()

    def _renew(self) -> None:
        """Keeps the work of those whose function takes long, also while their end is waited for."""
        while True:
            self._pulse.wait(self._ttl_us / SECOND_US / 6)
            if self._is_over:
                return
            for each in self._threads:
                each.renew()


class _FollowerThread:
    """One follower's thread."""

    def __init__(self, node: Node, follow: Follow, ttl_us: int, rested: Callable[[], None]) -> None:
        self.name = follow.name
        self.bell = Bell()
        """Rung whenever the log grows; one that stands aside does not hear it."""
        self._aside = Bell()
        self.thread = threading.Thread(
            target=self._work, name=f"eventq-follow-{follow.name}", daemon=True
        )
        self._run = FollowerRun(follow, node, ttl_us=ttl_us)
        self._rested = rested
        self._is_stopping = False
        self._is_resting = False
        self._calls_taken = 0

    def begin(self) -> None:
        """Finds where the follower stands; where the log is away, its thread does so later."""
        try:
            self._run.begin()
        except LogUnavailableError as error:
            raise_interrupt(error)

    def rests(self, end: int) -> bool:
        """Whether it has nothing to do up to a position, or nothing that it could do now."""
        if not self.thread.is_alive() or self._run.is_over:
            return True
        return self._is_resting and (self._run.is_aside or self._run.done >= end)

    def take_calls(self) -> int:
        """How many calls have returned since the last time."""
        calls, before = self._run.calls, self._calls_taken
        self._calls_taken = calls
        return calls - before

    def ask_to_stop(self) -> None:
        """Has it end after the call that it is in."""
        self._is_stopping = True
        self.wake()

    def wake(self) -> None:
        """Has it look what there is to do, also if it stands aside."""
        self.bell.ring()
        self._aside.ring()

    def renew(self) -> None:
        """Keeps the work if its function takes long."""
        try:
            self._run.renew()
        except EventqError as error:
            raise_interrupt(error)

    def _work(self) -> None:
        try:
            while not self._is_stopping and not self._run.is_over:
                self._step()
            self._run.leave()
        except EventqError as error:
            values = {"follower": self.name, "error": str(error)}
            logger.warning(BROKEN, values, extra=values)
        finally:
            self._run.close()
            self._rested()

    def _step(self) -> None:
        try:
            pause_s = self._run.step(lambda: self._is_stopping)
        except LogUnavailableError:
            self._run.is_aside = True
            pause_s = UNAVAILABLE_S
        if pause_s != 0:
            self._is_resting = True
            self._rested()
            # Who stands aside would only look in vain at every append.
            (self._aside if self._run.is_aside else self.bell).wait(pause_s)
            self._is_resting = False
