"""The generator of long logs: what it makes is legal, repeatable and as mixed as promised."""

from __future__ import annotations

import pytest

from eventq.core.commits import KINDS
from eventq.errors import ArgumentError
from tests.checker import check_log
from tests.driver import memory_log
from tools.generate import generate


def test_a_made_log_is_legal_and_mixed() -> None:
    """The checker finds nothing wrong, every kind occurs, and as many tasks wait as asked for."""
    log = memory_log()

    made = generate(log, tasks=2_000, seed=3, pending=100, live=300)

    report = check_log(log)
    assert (report.events, report.commits, len(report.tasks)) == (made.events, made.commits, 2_000)
    assert report.states["pending"] == made.pending == 100
    # What only runs of handlers, their attempts, followers, flows and schedules say is in no made
    # log, and nobody limits, pauses or changes many tasks there.
    said = {"joined", "left", "progressed", "saved", "noted", "followed", "unfollowed"}
    said |= {"planned", "unplanned", "ticked", "revived"}
    said |= {"limited", "shared", "paused", "resumed", "bulk", "bulk_ended"}
    assert set(report.kinds) == KINDS - said
    assert 3.0 < made.events / made.tasks < 3.8


def test_the_seed_says_it_all() -> None:
    """The same seed makes the same log, byte for byte, and another seed another one."""
    first, second, other = memory_log(), memory_log(), memory_log()

    generate(first, tasks=200, seed=5)
    generate(second, tasks=200, seed=5)
    generate(other, tasks=200, seed=6)

    assert first.head() == second.head()
    assert first.head().seal != other.head().seal


def test_a_log_that_holds_something_is_left_alone() -> None:
    """Nothing is added to a log of somebody's."""
    log = memory_log()
    generate(log, tasks=1)

    with pytest.raises(ArgumentError, match="empty"):
        generate(log, tasks=1)
