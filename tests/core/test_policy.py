"""Retry, backoff and expiry rules at their edges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventq.core.durations import LONGEST_US
from eventq.core.policy import Backoff, after_failure, wait_us
from eventq.core.values import Policy
from eventq.errors import ArgumentError

SECOND = 1_000_000


def waits(backoff: Backoff, count: int) -> list[int]:
    """The first waits of a backoff, in seconds."""
    policy = backoff.policy()
    return [wait_us(policy, retry=n, draw=0.0) // SECOND for n in range(1, count + 1)]


def test_linear_waits_n_times_the_step() -> None:
    """The n-th retry comes n times the backoff after the failure."""
    assert waits(Backoff.linear("10s"), 4) == [10, 20, 30, 40]


def test_constant_waits_the_same() -> None:
    """Always the same wait."""
    assert waits(Backoff.constant(7), 3) == [7, 7, 7]


def test_exponential_doubles() -> None:
    """Each wait is twice the one before."""
    assert waits(Backoff.exponential("1s"), 5) == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(
    "backoff, expected",
    [
        (Backoff.linear(10, cap=25), [10, 20, 25, 25]),
        (Backoff.exponential(1, cap="5s"), [1, 2, 4, 5]),
        (Backoff.linear(10, cap=0), [0, 0, 0, 0]),
        (Backoff.exponential(0), [0, 0, 0, 0]),
    ],
)
def test_cap_limits_each_wait(backoff: Backoff, expected: list[int]) -> None:
    """No wait is longer than the cap."""
    assert waits(backoff, 4) == expected


@pytest.mark.parametrize("kind", ["constant", "linear", "exponential"])
def test_endless_retries_never_wait_over_a_century(kind: Any) -> None:  # noqa: ANN401 - a Literal
    """However often a task has failed, the next instant stays within 64 bits."""
    policy = Policy(kind, LONGEST_US)

    assert wait_us(policy, retry=10**9, draw=0.0) == LONGEST_US


@given(
    share=st.floats(0, 1),
    draw=st.floats(0, 1, exclude_max=True),
    base_us=st.integers(0, LONGEST_US),
    retry=st.integers(1, 80),
)
def test_jitter_only_shortens_by_its_share(
    share: float, draw: float, base_us: int, retry: int
) -> None:
    """Chance takes away at most the share, and never adds."""
    policy = Policy("exponential", base_us, jitter=share)
    full = wait_us(Policy("exponential", base_us), retry=retry, draw=0.0)

    wait = wait_us(policy, retry=retry, draw=draw)

    assert full - full * share - 1 <= wait <= full


def test_jitter_is_drawn_from_the_wait() -> None:
    """Half of the wait, half of that drawn: a quarter goes."""
    policy = Backoff.constant(100, jitter=0.5).policy()

    assert wait_us(policy, retry=1, draw=0.5) == 75 * SECOND


@pytest.mark.parametrize("used, again", [(0, True), (2, True), (3, False), (4, False)])
def test_retries_end_at_max_retries(used: int, again: bool) -> None:  # noqa: FBT001 - a table
    """Three retries are allowed, so the fourth failure is the last."""
    following = after_failure(
        Policy("constant", 5, max_retries=3),
        retry_count=used,
        failed_at=100,
        expires_at=None,
        draw=0.0,
    )

    assert following == (105 if again else "max_retries")


def test_no_retries_means_one_attempt() -> None:
    """With max_retries=0 the first failure is final."""
    following = after_failure(
        Policy("linear", 5, max_retries=0), retry_count=0, failed_at=9, expires_at=None, draw=0.0
    )

    assert following == "max_retries"


@pytest.mark.parametrize("expires_at, expected", [(106, 105), (105, "max_age"), (104, "max_age")])
def test_retry_must_come_before_expiry(expires_at: int, expected: int | str) -> None:
    """A retry at the very instant of expiry is too late."""
    following = after_failure(
        Policy("constant", 5), retry_count=0, failed_at=100, expires_at=expires_at, draw=0.0
    )

    assert following == expected


def test_too_many_retries_is_told_before_too_old() -> None:
    """When both would end it, the reason is max_retries."""
    following = after_failure(
        Policy("constant", 5, max_retries=0),
        retry_count=0,
        failed_at=100,
        expires_at=101,
        draw=0.0,
    )

    assert following == "max_retries"


@pytest.mark.parametrize("delay_us, expected", [(0, 100), (3, 103), (50, "max_age")])
def test_delay_of_the_worker_replaces_the_wait(delay_us: int, expected: int | str) -> None:
    """A worker's own delay counts in place of the backoff, expiry still ends it."""
    following = after_failure(
        Policy("exponential", 7, jitter=1.0),
        retry_count=5,
        failed_at=100,
        expires_at=120,
        draw=0.9,
        delay_us=delay_us,
    )

    assert following == expected


def test_policy_keeps_all_options() -> None:
    """What the queue was told stands in the created event."""
    backoff = Backoff.exponential("2s", cap="1m", jitter=0.25)

    policy = backoff.policy(max_retries=4, max_age_us=5, deadline_us=6)

    assert policy == Policy("exponential", 2 * SECOND, 60 * SECOND, 0.25, 4, 5, 6)


@pytest.mark.parametrize("jitter", [-0.1, 1.1, float("nan"), "0.5", True, None, 2])
def test_bad_jitter_is_refused(jitter: Any) -> None:  # noqa: ANN401 - wrong on purpose
    """Jitter is a share from 0 to 1."""
    with pytest.raises(ArgumentError, match="jitter: expected a number from 0 to 1"):
        Backoff.constant(1, jitter=jitter)


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: Backoff.constant("-1s"), "wait"),
        (lambda: Backoff.linear("soon"), "step"),
        (lambda: Backoff.exponential(float("nan")), "first"),
        (lambda: Backoff.linear(1, cap="5"), "cap"),
    ],
)
def test_bad_durations_are_refused_by_name(make: Any, argument: str) -> None:  # noqa: ANN401 - a call
    """Each duration is checked and named."""
    with pytest.raises(ArgumentError) as caught:
        make()

    assert caught.value.argument == argument
