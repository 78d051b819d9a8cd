"""Whose turn it is among nodes that lease from one log, and how long the others wait."""

from __future__ import annotations

import pytest

from eventq.core.holders import Holder
from eventq.core.projection import Projection
from eventq.node.turns import ACTIVE_US, TURN_APPENDS, Turn, turn_of

APPEND_S = 0.010
TURN_US = int(TURN_APPENDS * APPEND_S * 1_000_000)
START = 1_700_000_000_000_000


def leased_by(*names: str, every_us: int = 1_000) -> Projection:
    """A projection in which these nodes have leased, one after the other, the last one just now."""
    projection = Projection("default")
    for seq, name in enumerate(names, 1):
        at = START - (len(names) - seq) * every_us
        projection.holders[name] = Holder(30, seq, at, {seq})
    projection.seq, projection.at, projection.decided_at = len(names), START, START
    return projection


def turn(projection: Projection, name: str, now: int = START) -> Turn | None:
    """The turn of a node."""
    return turn_of(projection, name, now=now, append_s=APPEND_S)


@pytest.mark.parametrize("names", [["a"], ["b", "c"]])
def test_who_is_alone_or_holds_nothing_takes_no_turns(names: list[str]) -> None:
    """There is nobody to wait for, or nothing to go by."""
    assert turn(leased_by(*names), "a") is None


def test_who_leased_longest_ago_goes_first() -> None:
    """Each of the others has as many before it as have leased before it did."""
    projection = leased_by("a", "b", "c")

    turns = [turn(projection, name) for name in "abc"]

    assert [each and each.before_count for each in turns] == [0, 1, 2]
    assert [each is not None and each.pause_s > 0 for each in turns] == [False, True, True]


def test_those_who_stopped_leasing_are_not_waited_for() -> None:
    """A node whose tasks go on for long holds nobody up."""
    assert turn(leased_by("a", "b", every_us=ACTIVE_US + 1), "b") is None


def test_the_wait_ends_when_nobody_appends() -> None:
    """The first in line may have died: those behind it go on in their order."""
    projection = leased_by("a", "b", "c")

    after = [turn(projection, name, START + 2 * TURN_US) for name in "bc"]

    assert [each and each.pause_s for each in after] == [0, pytest.approx(TURN_US / 1e6)]


def test_who_leases_seldom_does_not_wait() -> None:
    """Others may append all the time: after as long as a round takes, the node appends as well."""
    projection = leased_by("a", "b")
    projection.decided_at = START + 2 * TURN_US

    found = turn(projection, "b", START + 2 * TURN_US)

    assert found == Turn(1, 0.0)


def test_a_log_ahead_of_the_clock_is_not_waited_for() -> None:
    """Its instants say nothing of how long to wait."""
    assert turn(leased_by("a", "b"), "b", START - 3_600_000_000) == Turn(1, 0.0)
