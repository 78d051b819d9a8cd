"""What tests of runs share: one node, on a log in memory that others may join."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import Queue
from tests.checker import check_log
from tests.support import HookedLog, ManualClock, queue_on


@pytest.fixture
def queue(log: HookedLog, clock: ManualClock) -> Iterator[Queue]:
    """The first node; what it leaves must be a good log."""
    with queue_on(log, clock=clock, workers=1) as queue:
        yield queue
    check_log(HookedLog(log.storage))
