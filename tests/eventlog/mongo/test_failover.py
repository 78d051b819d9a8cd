"""A replica set of three under load loses its primary; ``tools.torture_mongo`` does more rounds."""

from __future__ import annotations

from contextlib import closing

import pytest

from eventq.eventlog import open_log
from tests.servers import new_url
from tools.mongod import ReplicaSet
from tools.torture_mongo import FAULTS, Load, torture

# By itself: nobody does anything but what any program does, which is trying again.
GOES_ON_WITHIN_S = 30.0


@pytest.mark.parametrize("fault", FAULTS)
def test_work_survives_the_loss_of_a_primary(three_mongods: ReplicaSet, fault: str) -> None:
    """Nothing acknowledged is lost, nothing is done twice, no lease lapses, and work goes on."""
    url = new_url(three_mongods)

    with closing(open_log(url)) as log, Load(url) as load:
        verdict = torture(three_mongods, log, load, [FAULTS[fault]])

    assert verdict.tasks > 0
    assert max(verdict.delays_s) < GOES_ON_WITHIN_S
