"""The catalog against a full fold, at any position, however it was built."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from eventq.catalog.catalog import Catalog
from eventq.catalog.selector import Selector
from eventq.eventlog import EventLog
from eventq.replay.points import Point
from tests.catalog.counts import naive_attempts, naive_changes, naive_failures
from tests.catalog.records import naive_records
from tests.driver import memory_log
from tests.stage import random_stage
from tests.test_stateful import QueueMachine
from tools.generate import generate

EVERYTHING = Selector()
EVERY = 1_000_000


def points_of(log: EventLog, chance: random.Random, count: int) -> list[Point]:
    """Some positions of a log, in the middle of commits too, each at its instant or later."""
    head = log.head()
    found = [Point(head.seq, head.at)]
    for _ in range(count):
        seq = chance.randint(1, head.seq)
        at = log.read(after=seq - 1, limit=1)[0].at
        found.append(Point(seq, at + chance.choice([0, 0, 3])))
    return found


def assert_as_folded(catalog: Catalog, point: Point) -> None:
    """Asserts that each task looks as a full fold has it."""
    ours = catalog.find(EVERYTHING, point)
    theirs = naive_records(catalog.log, point)
    assert [record.number for record in ours] == [record.number for record in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert our == their, point
    assert catalog.count(EVERYTHING, point) == len(theirs)
    pairs = [(record.number, record.last_seq) for record in theirs]
    assert catalog.numbers(EVERYTHING, point) == pairs


def assert_as_counted(catalog: Catalog, point: Point) -> None:
    """Asserts that attempts, failures and actions by hand are those of the histories."""
    log = catalog.log
    assert catalog.attempts(point, limit=EVERY) == naive_attempts(log, point)
    failures = {(g.type, g.place): g.failures for g in catalog.errors(point, limit=EVERY)}
    assert failures == naive_failures(log, point)
    assert catalog.changes(limit=EVERY) == naive_changes(log)


class CatalogMachine(QueueMachine):
    """A queue to which anything happens, while a catalog follows it now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "some.catalog"
        self.catalog = Catalog.open(self.log, self.path)

    @rule(anew=st.booleans())
    @precondition(lambda self: self.log.head().seq > 0)
    def catalog_goes_on(self, anew: bool) -> None:  # noqa: FBT001 - a rule
        """The catalog catches up; in another program, which knows only the file, if ``anew``."""
        if anew:
            self.catalog.close()
            self.catalog = Catalog.open(self.log, self.path)
            assert self.catalog.rebuilt is None
        self.catalog.catch_up()

    def teardown(self) -> None:
        """Every position that is asked about looks as it did."""
        self.catalog.catch_up()
        chance = random.Random(self.log.head().seq)
        for point in points_of(self.log, chance, 4):
            assert_as_folded(self.catalog, point)
            assert_as_counted(self.catalog, point)
        self.catalog.close()
        self.folder.cleanup()


@pytest.mark.timeout(3_600)
def test_any_queue_looks_in_the_catalog_as_it_did() -> None:
    """Whatever the commands, the catalog says of each position what a full fold says."""
    tries = settings(QueueMachine.TestCase.settings, max_examples=settings().max_examples)

    run_state_machine_as_test(CatalogMachine, settings=tries)


@pytest.mark.parametrize("seed", range(3))
def test_a_long_log_looks_in_the_catalog_as_it_did(seed: int, tmp_path: Path) -> None:
    """Attempts, lapses, edits and reopenings in numbers, at positions all along."""
    log = memory_log()
    generate(log, tasks=400, seed=seed, live=60, pending=20)
    catalog = Catalog.open(log, tmp_path / "long.catalog")

    catalog.catch_up()

    for point in points_of(log, random.Random(seed), 6):
        assert_as_folded(catalog, point)
    catalog.close()


def test_a_stage_of_ties_looks_in_the_catalog_as_it_did(tmp_path: Path) -> None:
    """So does a queue whose tasks people edit while they wait."""
    log = random_stage(3, rounds=200).log
    catalog = Catalog.open(log, tmp_path / "stage.catalog")

    catalog.catch_up()

    for point in points_of(log, random.Random(1), 8):
        assert_as_folded(catalog, point)
    catalog.close()
