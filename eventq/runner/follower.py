"""One follower of a run: it claims its work, reads on, calls the function, and says how far it is.

At least once, in order: what was done is said after it was done. Nothing lasts here but in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from eventq.core.commits import Event
from eventq.core.durations import SECOND_US
from eventq.core.follow import AdvanceFollower, ClaimFollower
from eventq.core.members import Follower
from eventq.core.values import ErrorInfo
from eventq.errors import LogArchivedError
from eventq.handlers.follow import Follow
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.replay.followers import FollowedEvents, task_after
from eventq.runner.describing import describe

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

logger = SafeLogger("eventq.runner.followers")

# How far it has come is said at most this often.
SAY_EVERY_S = 1.0
# So many events without one to follow are said, too: a restart need not read them again, and an
# archive may take them.
STRIDE = 10_000
# A function that raises is called again after this, then twice that, four times, ... up to a limit.
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
# More doublings would end in a number that nobody waits for.
DOUBLINGS = 10
# While another node does the work, it is looked this often whether that has given it back.
LOOK_EVERY_S = 0.25

FAILED = "follower %(follower)s failed at event %(seq)s, again in %(wait_s)s s: %(error)s"
OTHER_CODE = "follower %(follower)s was of other code until now: %(before)s"
DROPPED = "follower %(follower)s was dropped: it follows no more until the next run"
ARCHIVED = "follower %(follower)s missed events up to %(seq)s, which were archived"


class FollowerRun:
    """What one thread does for one follower, step by step; other threads only look and renew."""

    def __init__(
        self,
        follow: Follow,
        node: Node,
        *,
        ttl_us: int,
        finish: Callable[[Coroutine[Any, Any, object]], object] | None = None,
    ) -> None:
        """``finish`` runs what an ``async def`` returns; None: an event loop of its own does."""
        self.follow = follow
        self.calls = 0
        """How often its function has returned."""
        self.is_over = False
        """It was dropped, and does nothing more."""
        self.is_aside = False
        """Another node does the work, or it waits until its function is called again."""
        self.done = -1
        """Up to here all is dealt with; -1 before it has begun."""
        self._node = node
        self._clock = node.clock
        self._ttl_us = ttl_us
        self._events = FollowedEvents(node.log, follow.kinds, follow.names)
        # What the log says of it, as far as this node has said it: position, and when. Monotonic.
        self._said = 0
        self._said_s = 0.0
        self._is_dirty = False
        self._holds_until_s: float | None = None
        self._held_elsewhere_until_s = 0.0
        self._failures = 0
        self._error: ErrorInfo | None = None
        self._again_s = 0.0
        self._is_calling = False
        self._finish = finish or self._finish_here
        self._loop: AbstractEventLoop | None = None

    def begin(self) -> None:
        """Finds where it stands; one that the log does not know is known from here on."""
        known = self._known()
        if known is None:
            self._claim()
            return
        said = self.follow.said(self._node.name, self._ttl_us)
        before = known.said
        self.done = self._said = before.seq
        self._error, self._failures = before.error, before.failures
        if (before.kinds, before.names, before.code) != (said.kinds, said.names, said.code):
            values = {"follower": self.follow.name, "before": before.code}
            logger.warning(OTHER_CODE, values, extra=values)
            # Else the log would say what it follows no more until there is something that it does.
            self._claim()

    def step(self, stopping: Callable[[], bool]) -> float | None:
        """Deals with some of what there is to do, until ``stopping``.

        Returns for how many seconds there will be nothing: 0 for more at once, None until the log
        grows. Raises LogError.
        """
        self.is_aside = False
        if self.done < 0:
            self.begin()
        now_s = self._clock.monotonic()
        if now_s < self._again_s or self._stands_by(now_s):
            self.is_aside = True
            return self._again_s - now_s if now_s < self._again_s else LOOK_EVERY_S
        try:
            events, end = self._events.read(self.done)
        except LogArchivedError as error:
            return self._skip(error.start)
        if not events:
            was, self.done = self.done, end
            self._say_stride()
            return 0 if end > was else self._until_said()
        if not self._holds():
            before = self.done
            if not self._takes_on():
                self.is_aside = True
                return LOOK_EVERY_S
            if self.done > before:
                # Another node has come further.
                return 0
        return self._deal_with(events, end, stopping)

    def renew(self) -> None:
        """Keeps the work, while its function is called for long; from another thread."""
        due_s = self._said_s + self._ttl_us / SECOND_US / 3
        if self._is_calling and self._clock.monotonic() >= due_s:
            self._say()

    def leave(self) -> None:
        """Gives the work back, and says how far it has come."""
        if self._holds_until_s is not None:
            self._say(ttl_us=0)
            self._holds_until_s = None

    def close(self) -> None:
        """Ends its event loop, if it has one."""
        if self._loop is not None:
            self._loop.close()

    def _known(self) -> Follower | None:
        with self._node.reading() as projection:
            return projection.followers.get(self.follow.name)

    def _deal_with(
        self, events: list[Event], end: int, stopping: Callable[[], bool]
    ) -> float | None:
        for event in events:
            if stopping():
                return None
            if not self._holds() or not self._call(event):
                return 0
            self.done = event.seq
            self._is_dirty = True
            if self._clock.monotonic() - self._said_s >= SAY_EVERY_S and not self._say():
                return 0
        self.done = max(self.done, end)
        return 0

    def _call(self, event: Event) -> bool:
        """Calls the function; returns whether it returned."""
        self._is_calling = True
        try:
            arguments: tuple[object, ...] = (event,)
            if self.follow.takes_task:
                arguments = event, task_after(self._node.log, event)
            found = self.follow.function(*arguments)
            if self.follow.is_async:
                self._finish(found)
        except BaseException as error:  # noqa: BLE001 - it is anybody's code, in a thread of its own
            self._fail(event, error)
            return False
        finally:
            self._is_calling = False
        self.calls += 1
        if self._failures:
            self._failures, self._error = 0, None
        return True

    def _fail(self, event: Event, error: BaseException) -> None:
        self._failures += 1
        self._error = describe(error)
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures - 1, DOUBLINGS))
        values = {
            "follower": self.follow.name,
            "seq": event.seq,
            "wait_s": wait_s,
            "error": f"{self._error.type}: {self._error.message}",
        }
        logger.warning(FAILED, values, extra=values)
        self._again_s = self._clock.monotonic() + wait_s
        self._say()

    def _finish_here(self, coroutine: Coroutine[Any, Any, object]) -> object:
        import asyncio  # noqa: PLC0415 - see RunSlot.run_in_loop

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(coroutine)

    def _holds(self) -> bool:
        return self._holds_until_s is not None and self._clock.monotonic() < self._holds_until_s

    def _takes_on(self) -> bool:
        """Claims the work, unless another node is known to have it, or has done it meanwhile.

        Returns False where another has it.
        """
        known = self._known()
        if (
            known is not None
            and known.said.worker != self._node.name
            and known.said.seq > self.done
        ):
            self.done = known.said.seq
            return True
        return self._claim()

    def _stands_by(self, now_s: float) -> bool:
        """Whether another node is known to have the work, and to be no further: nothing is read."""
        if now_s >= self._held_elsewhere_until_s or self._holds():
            return False
        known = self._known()
        return (
            known is not None
            and known.said.worker != self._node.name
            and known.said.ttl_us > 0
            and known.said.seq <= self.done
        )

    def _claim(self) -> bool:
        """Takes the work on, if no other node has it; goes on from where that came to."""
        now_s = self._clock.monotonic()
        wanted = self.follow.said(self._node.name, self._ttl_us)
        command = ClaimFollower(wanted, self.follow.since, has_begun=self.done >= 0)
        claim = self._node.execute(command).result
        if claim.is_dropped:
            self._end()
            return False
        if claim.left_us:
            self._held_elsewhere_until_s = now_s + claim.left_us / SECOND_US
            self._holds_until_s = None
            self.done = max(self.done, claim.position)
            return False
        self._held_elsewhere_until_s = 0.0
        self._note_said(now_s, claim.position)
        self.done = max(self.done, claim.position)
        return True

    def _say(self, *, ttl_us: int | None = None) -> bool:
        """Says how far it has come; returns whether it still does the work."""
        now_s, done = self._clock.monotonic(), max(self.done, 0)
        command = AdvanceFollower(
            self.follow.name,
            self._node.name,
            self._ttl_us if ttl_us is None else ttl_us,
            done,
            self._error,
            self._failures,
        )
        self._is_dirty = False
        if self._node.execute(command).result:
            self._note_said(now_s, done)
            return True
        self._holds_until_s = None
        if self._known() is None:
            self._end()
        return False

    def _end(self) -> None:
        """It was dropped, and goes on no more."""
        self.is_over = True
        self._holds_until_s = None
        values = {"follower": self.follow.name}
        logger.warning(DROPPED, values, extra=values)

    def _note_said(self, now_s: float, position: int) -> None:
        self._said_s, self._said = now_s, position
        self._holds_until_s = now_s + self._ttl_us / SECOND_US

    def _say_stride(self) -> None:
        """Says that many events had nothing for it."""
        if self.done - self._said >= STRIDE and (self._holds() or self._claim()):
            self._say()

    def _until_said(self) -> float | None:
        """Says how far it has come when it is time; returns the seconds until then."""
        if not self._is_dirty:
            return None
        left_s = self._said_s + SAY_EVERY_S - self._clock.monotonic()
        if left_s > 0:
            return left_s
        self._say()
        return None

    def _skip(self, start: int) -> float:
        """Goes on where the log begins: what comes before was archived without regard to it."""
        values = {"follower": self.follow.name, "seq": start}
        logger.warning(ARCHIVED, values, extra=values)
        self.done = start
        return 0.0
