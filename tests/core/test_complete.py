"""Completing one attempt by itself: with the lease that is live, or not at all."""

from __future__ import annotations

import pytest

import eventq
from eventq.core.complete import CompleteAttempt
from eventq.core.settle import Outcome
from tests.commands import leasing


def test_only_the_live_lease_completes() -> None:
    """Another fence raises, and appends nothing: a later attempt may be running."""
    with eventq.Queue("memory://") as queue:
        number = queue.new().number
        [leased] = queue._node.execute(leasing(queue._node)).tasks
        assert leased is not None
        late = Outcome(number, leased.fence - 1, "completed")

        with pytest.raises(eventq.AttemptCancelledError):
            queue._node.execute(CompleteAttempt(late))

        live = Outcome(number, leased.fence, "completed")
        queue._node.execute(CompleteAttempt(live))
        assert queue.stats().completed == 1
