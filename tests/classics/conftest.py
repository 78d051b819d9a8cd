"""What the classics share: a log in memory, and two nodes on it, each with a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import Queue
from eventq.verify import verify
from tests.support import HookedLog, ManualClock, queue_on


@pytest.fixture
def log() -> HookedLog:
    """The log that all nodes share; it must be a good one in the end."""
    return HookedLog()


@pytest.fixture
def clock() -> ManualClock:
    """The first node's clock."""
    return ManualClock()


@pytest.fixture
def queue(log: HookedLog, clock: ManualClock) -> Iterator[Queue]:
    """The first node."""
    with queue_on(log, clock=clock, workers=1, backoff="1s") as queue:
        yield queue
    assert verify(HookedLog(log.storage)).findings == ()


@pytest.fixture
def judges_clock() -> ManualClock:
    """The second node's clock."""
    return ManualClock()


@pytest.fixture
def judge(log: HookedLog, judges_clock: ManualClock) -> Iterator[Queue]:
    """The second node, which takes over what the first one leaves."""
    with queue_on(HookedLog(log.storage), clock=judges_clock, workers=1) as judge:
        yield judge
