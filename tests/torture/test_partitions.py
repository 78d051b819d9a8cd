"""MongoDB: a primary that is cut off, and connections cut under work; by hand there is more."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing

import pytest

from eventq.eventlog import open_log
from tests.servers import new_url
from tools.mongod import Network, ReplicaSet
from tools.torture_mongo import PARTITIONS, Load, cut_wire, torture
from tools.torture_mongo.judging import judge


@pytest.fixture(scope="module")
def apart() -> Iterator[ReplicaSet]:
    """A set of three, each in a network namespace; where none can be made, the test is skipped."""
    if not Network.is_possible():
        is_missing = os.geteuid() == 0 and shutil.which("ip") is None
        assert not is_missing or os.environ.get("CI") != "true", "install Debian's package iproute2"
        pytest.skip("network namespaces need root and the program ip")
    with Network(3) as network, ReplicaSet(3, network=network) as three:
        yield three


@pytest.mark.parametrize("fault", PARTITIONS)
def test_work_survives_a_primary_that_is_cut_off(apart: ReplicaSet, fault: str) -> None:
    """Nothing acknowledged is lost, nothing is done twice, and the history checker is content."""
    url = new_url(apart)

    with closing(open_log(url)) as log, Load(url) as load:
        verdict = torture(apart, log, load, [PARTITIONS[fault]])

        assert verdict.tasks > 0
        assert len(verdict.delays_s) == 1
        # It would see one that is missing.
        with pytest.raises(AssertionError, match="what producers were told"):
            judge(log, {"lost": 1}, [])


def test_work_survives_connections_that_are_cut_under_it(mongod: ReplicaSet) -> None:
    """Whether the server had taken an append or not, its caller ends with the right answer."""
    verdict = cut_wire(mongod, f"wire-{secrets.token_hex(4)}", 1)

    assert verdict.tasks > 0
