"""A queue with tasks that have failed for good, for tests of changes to many."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from eventq import Queue
from tests.catalog.many import queue_with
from tests.checker import check_log
from tests.support import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def queue(clock: ManualClock) -> Iterator[Queue]:
    """Tasks 1, 3 and 5 have expired; one is scheduled, and one ready. The log must be right."""
    with queue_with(clock, uuid.uuid4().hex) as queue:
        yield queue
        check_log(queue.log)
