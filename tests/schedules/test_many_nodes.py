"""Many nodes tick the same schedules: each due once, whoever dies, and however clocks differ.

EVENTQ_LONG=1 plays a virtual day of 100 schedules.
"""

from __future__ import annotations

import os

import pytest

from eventq.verify import verify
from tests.driver import memory_log
from tools.ticks import play

LONG = os.environ.get("EVENTQ_LONG") == "1"


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", [1, 2])
def test_each_due_is_ticked_once(seed: int) -> None:
    """Four nodes, clocks 5 s apart, processes that die and begin anew from snapshots."""
    log = memory_log()

    hours, schedules = (24, 100) if LONG else (1, 60)
    played = play(log, schedules=schedules, nodes=4, hours=hours, seed=seed)

    assert (played.twice, played.lost) == (0, 0)
    assert played.ticked == played.made == played.dues >= 60 * hours * schedules
    assert played.crashes > 2
    assert verify(log, limit=3).findings == ()
