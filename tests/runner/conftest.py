"""What tests of runs share: one node, on a log in memory that others may join."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import Queue
from eventq.runner.lookout import Lookout
from tests.checker import check_log
from tests.support import HookedLog, ManualClock, queue_on


@pytest.fixture
def queue(log: HookedLog, clock: ManualClock) -> Iterator[Queue]:
    """The first node; what it leaves must be a good log."""
    with queue_on(log, clock=clock, workers=1) as queue:
        yield queue
    check_log(HookedLog(log.storage))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """For how many seconds runs wait after each of their looks; None: they are over."""
    found: list[float | None] = []
    look = Lookout.look

    def noted(lookout: Lookout) -> float | None:
        found.append(look(lookout))
        return found[-1]

    monkeypatch.setattr(Lookout, "look", noted)
    return found
