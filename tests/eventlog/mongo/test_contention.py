"""Pacing where many compete for the next position: who stands back, for how long, until when."""

from __future__ import annotations

import pytest

from eventq.eventlog.mongo.pacing import (
    COMPANY_S,
    HALVED_IN,
    LONGEST,
    POLITE,
    SLOWEST_S,
    Contention,
)
from tests.support import ManualClock

APPEND_S = 0.002


@pytest.fixture
def clock() -> ManualClock:
    """The time."""
    return ManualClock()


@pytest.fixture
def contention(clock: ManualClock) -> Contention:
    """A node that has appended once; its chance is always the middle one."""
    contention = Contention(clock.monotonic, lambda: 0.5)
    contention.appended(APPEND_S)
    return contention


def test_nobody_waits_alone(contention: Contention) -> None:
    """Without conflicts the next append may come at once."""
    assert contention.wait_s() == 0


def test_loser_tries_again_almost_at_once(contention: Contention) -> None:
    """Who lost a position waits less than an append takes, so that it goes before the winner."""
    contention.conflicted(APPEND_S)

    assert 0 < contention.wait_s() < APPEND_S


def test_winner_stands_back_longer_with_each_conflict(contention: Contention) -> None:
    """The more conflicts there were, the longer a node stands back once it has won."""
    waits = []
    for _ in range(3):
        contention.conflicted(APPEND_S)
        contention.appended(APPEND_S)
        waits.append(contention.wait_s())

    assert waits == sorted(waits)
    assert waits[0] > 0


def test_nobody_stands_back_for_long(contention: Contention) -> None:
    """The bound is in appends: a node that were out for long would leave the log to one other."""
    for _ in range(100):
        contention.conflicted(APPEND_S)
    contention.appended(APPEND_S)

    assert contention.wait_s() == pytest.approx(LONGEST * APPEND_S)


def test_standing_back_ends_by_the_clock(contention: Contention, clock: ManualClock) -> None:
    """It halves with time, however seldom a node appends, and is nothing in the end."""
    for _ in range(5):
        contention.conflicted(APPEND_S)
    contention.appended(APPEND_S)
    before_s = contention.wait_s()

    clock.advance(HALVED_IN * APPEND_S)
    contention.appended(APPEND_S)
    after_s = contention.wait_s()
    clock.advance(10 * HALVED_IN * APPEND_S)
    contention.appended(APPEND_S)

    assert after_s == pytest.approx(before_s / 2)
    assert contention.wait_s() == 0


def test_winner_lets_others_in_whom_it_never_met_in_a_conflict(
    contention: Contention, clock: ManualClock
) -> None:
    """Who reads others' commits stands back after its own, also when it always wins."""
    contention.met()
    contention.appended(APPEND_S)
    polite_s = contention.wait_s()

    clock.advance(COMPANY_S)
    contention.appended(APPEND_S)

    assert polite_s == pytest.approx(POLITE * APPEND_S)
    assert contention.wait_s() == 0


def test_standing_back_is_over_when_its_time_has_passed(
    contention: Contention, clock: ManualClock
) -> None:
    """A command that comes late enough waits for nothing."""
    contention.conflicted(APPEND_S)
    contention.appended(APPEND_S)
    clock.advance(LONGEST * APPEND_S)

    assert contention.wait_s() == 0


def test_append_that_sat_out_an_election_is_no_measure(contention: Contention) -> None:
    """Else work would go on only long after there is a new primary."""
    contention.met()
    contention.appended(30.0)

    assert 0 < contention.wait_s() < POLITE * SLOWEST_S
