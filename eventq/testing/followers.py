"""The followers of a harness: called in its own thread, before any time passes.

Where each stands is in the log, as ever; nothing here runs beside anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import Any

from msgspec.structs import replace

from eventq.core.durations import SECOND_US
from eventq.handlers.follow import Follow
from eventq.node.node import Node
from eventq.runner.follower import FollowerRun
from eventq.runner.runner import Runner, RunReport
from eventq.testing.clock import ManualClock
from eventq.testing.loop import VirtualLoop

# Later than any test goes on.
NEVER_US = 2**62


class InlineFollowers:
    """The followers of one node of a harness: `begin`, `work` before time passes, then `end`."""

    def __init__(self, node: Node, loop: VirtualLoop, *, ttl_us: int) -> None:
        self.is_calling = False
        """One of the functions is called now."""
        self._node = node
        self._loop = loop
        self._clock: ManualClock = loop.clock
        self._ttl_us = ttl_us
        self._runs: dict[str, FollowerRun] = {}
        self._ring: Callable[[], None] | None = None

    def begin(self, follows: Sequence[Follow], ring: Callable[[], None]) -> None:
        """Finds where each stands, and has the clock ring when it moves."""
        self._ring = ring
        self._clock.on_move(self._wake)
        for follow in follows:
            if follow.name not in self._runs:
                self._runs[follow.name] = run = self._run_of(follow)
                run.begin()

    def work(self) -> None:
        """Has each deal with all that the log holds, and the clock stop where one goes on."""
        ends = [at for at in map(self._work_off, self._runs.values()) if at is not None]
        self._clock.rest(self._wake, min(ends, default=NEVER_US), moves=False)

    def leave(self) -> None:
        """Gives the work back, and says how far each has come."""
        for run in self._runs.values():
            run.leave()

    def end(self) -> None:
        """Has the clock ring no more."""
        self._clock.off_move(self._wake)

    def _wake(self) -> None:
        if self._ring is not None:
            self._ring()

    def _run_of(self, follow: Follow) -> FollowerRun:
        def finish(coroutine: Coroutine[Any, Any, object]) -> object:
            return self._loop.finish(coroutine, copy_context(), lambda _: None)

        if follow.since is None:
            # A test makes tasks before its first run, as if one had been there all the while.
            follow = replace(follow, since=0)
        return FollowerRun(follow, self._node, ttl_us=self._ttl_us, finish=finish)

    def _work_off(self, run: FollowerRun) -> int | None:
        """When there may be more to do for one, once it has done what it could."""
        pause_s: float | None = 0
        self.is_calling = True
        try:
            while pause_s == 0 and not run.is_over:
                pause_s = run.step(lambda: False)
        finally:
            self.is_calling = False
        if run.is_over or pause_s is None:
            return None
        return self._clock.now_us() + max(1, round(pause_s * SECOND_US))


class HarnessRunner(Runner):
    """A run that calls followers before any time passes."""

    followers: InlineFollowers
    follows: Sequence[Follow]

    def run(self) -> RunReport:
        """See Runner.run."""
        try:
            self.followers.begin(self.follows, self.bell.ring)
            report = super().run()
            self.followers.leave()
        finally:
            self.followers.end()
        return report

    def _look_around(self) -> float | None:
        # What they do takes no time, and what they make may be due at once.
        self.lookout.resting.end()
        self.followers.work()
        return super()._look_around()
