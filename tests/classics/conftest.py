"""What the classics share: two nodes on one log in memory, each with a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import Queue
from tests.checker import check_log
from tests.support import HookedLog, ManualClock, queue_on


@pytest.fixture
def queue(log: HookedLog, clock: ManualClock) -> Iterator[Queue]:
    """The first node; what it leaves must be a good log."""
    with queue_on(log, clock=clock, workers=1, backoff="1s") as queue:
        yield queue
    check_log(HookedLog(log.storage))


@pytest.fixture
def judges_clock() -> ManualClock:
    """The second node's clock."""
    return ManualClock()


@pytest.fixture
def judge(log: HookedLog, judges_clock: ManualClock) -> Iterator[Queue]:
    """The second node, which takes over what the first one leaves."""
    with queue_on(HookedLog(log.storage), clock=judges_clock, workers=1) as judge:
        yield judge
