"""The catalog against a full fold on logs of the simulation: many hosts, faults, odd clocks."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventq.catalog.catalog import Catalog
from eventq.eventlog.memory import MemoryLog
from tests.catalog.test_catalog_fold import assert_as_counted, assert_as_folded, points_of
from tools.simulate.simulation import Simulation
from tools.simulate.world import NAMESPACE

STEPS = 250
SEEDS = range(7_000, 7_008)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What nodes warn of is what is done to them here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_simulated_log_looks_in_the_catalog_as_it_did(seed: int, tmp_path: Path) -> None:
    """Lapses, late outcomes, clocks that jump, limits, schedules and followers among them."""
    # Of a log that is cut, no fold from its beginning is left to compare with.
    simulation = Simulation(seed, without=["archive"])
    assert simulation.play(STEPS).findings == []
    log = MemoryLog(simulation.world.storage, url="memory://simulated", namespace=NAMESPACE)
    with closing(Catalog.open(log, tmp_path / "simulated.catalog")) as catalog:
        catalog.catch_up()

        for point in points_of(log, random.Random(seed), 3):
            assert_as_folded(catalog, point)
            assert_as_counted(catalog, point)
