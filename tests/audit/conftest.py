"""Fixtures of the tests of questions to a log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import Queue
from eventq.testing import ManualClock
from tests.stage import Stage


@pytest.fixture
def stage() -> Stage:
    """An empty queue."""
    return Stage()


@pytest.fixture
def queue() -> Iterator[Queue]:
    """A queue of one worker, and a clock that only a run that waits moves."""
    with Queue("memory://", workers=1, clock=ManualClock()) as queue:
        yield queue
