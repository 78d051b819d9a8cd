"""Calls followers in the thread of the run, each time that nothing else is left to do.

What they do is theirs, and how far they have come stands in the log, as in production.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import Any

from msgspec.structs import replace

from eventq.core.commits import Event
from eventq.handlers.follow import Follow
from eventq.node.node import Node
from eventq.runner.follower import FollowerRun
from eventq.runner.following import Following
from eventq.testing.loop import VirtualLoop


class InlineFollower(FollowerRun):
    """One follower, whose coroutines take virtual time."""

    def __init__(self, follow: Follow, node: Node, loop: VirtualLoop, *, ttl_us: int) -> None:
        # Nothing was before the harness: all that has happened is the test's.
        follow = follow if follow.since is not None else replace(follow, since=0)

        def finish(coroutine: Coroutine[Any, Any, object]) -> object:
            return loop.finish(coroutine, copy_context(), lambda _: None)

        super().__init__(follow, node, ttl_us=ttl_us, finish=finish)

    def _fail(self, event: Event, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            raise error
        super()._fail(event, error)


class InlineFollowing(Following):
    """The followers of one run of a harness. Between calls none of them holds its work."""

    def __init__(
        self, node: Node, follows: Sequence[Follow], loop: VirtualLoop, *, ttl_us: int
    ) -> None:
        super().__init__(node, (), ttl_us=ttl_us)
        self.due_s: float | None = None
        """When one that has failed is called again. Monotonic seconds."""
        self.runs = {each.name: InlineFollower(each, node, loop, ttl_us=ttl_us) for each in follows}
        """By name."""

    def take_over(self, before: Following) -> None:
        """See Following.take_over: they go on with what they know."""
        if isinstance(before, InlineFollowing):
            known = before.runs
            self.runs |= {name: known[name] for name in self.runs.keys() & known.keys()}

    def drain(self, *, stopping: Callable[[], bool]) -> bool:
        """See Following.drain."""
        runs = self.runs.values()
        before = sum(each.calls for each in runs)
        pauses = [pause_s for each in runs if (pause_s := _drained(each, stopping)) is not None]
        self.due_s = self._node.clock.monotonic() + min(pauses) if pauses else None
        return sum(each.calls for each in runs) > before


def _drained(run: InlineFollower, stopping: Callable[[], bool]) -> float | None:
    """Has it do all that there is to do; returns the seconds until there may be more."""
    pause_s: float | None = 0.0
    while pause_s == 0 and not run.is_over:
        pause_s = run.step(stopping)
    run.leave()
    return pause_s
