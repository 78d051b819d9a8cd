"""The catalog against a full fold, at any position, however it was built."""

from __future__ import annotations

import random
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from eventq import Queue
from eventq.catalog.catalog import Catalog
from eventq.catalog.passing import pass_over
from eventq.catalog.search import find_tasks
from eventq.catalog.selector import Selector
from eventq.eventlog import EventLog
from eventq.replay.points import Point
from tests.catalog.counts import naive_attempts, naive_changes, naive_failures
from tests.catalog.many import FAILED
from tests.catalog.records import naive_records
from tests.driver import append_texts, memory_log
from tests.stage import random_stage
from tests.test_stateful import QueueMachine
from tools.generate import generate

EVERYTHING = Selector()
EVERY = 1_000_000
LEASED = '{"kind":"leased","attempt":1,"worker":"w1","ttl_us":1000}'
FAILED_SO = (
    '{"kind":"failed","fence":2,"error":{"type":"LeaseLapsed","message":"no","traceback":""}}'
)
RETRIED = '{"kind":"retried","scheduled_at":15,"by":"ada"}'
FROZEN = '{"kind":"frozen"}'
# What may happen to a task before a newer eventq touches it, and what may stand behind that.
LEGAL = (
    '{"kind":"created","policy":{"backoff":"linear","backoff_us":10},"tags":{"n":1}}',
    LEASED,
    FAILED_SO,
    RETRIED,
    '{"kind":"leased","attempt":2,"worker":"w2","ttl_us":1000}',
)
BEHIND = (
    LEASED,
    FAILED_SO,
    RETRIED,
    FROZEN,
    '{"kind":"released","fence":2,"reason":"stop"}',
    '{"kind":"updated","priority":5,"tags":{"n":2},"by":"bob"}',
    '{"kind":"completed","fence":2}',
    '{"kind":"cancelled","reason":"why","by":"eve"}',
    '{"kind":"expired","reason":"max_age"}',
    '{"kind":"refused","fence":2,"worker":"w1","outcome":"completed"}',
)


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


@pytest.mark.parametrize("seed", range(20))
def test_what_follows_an_event_of_a_newer_eventq_is_doubted(seed: int, tmp_path: Path) -> None:
    """But for an end; the catalog, a pass and a full fold know the same of it, event by event."""
    chance = random.Random(seed)
    texts = [*LEGAL[: chance.randint(1, len(LEGAL))], FROZEN, *chance.choices(BEHIND, k=9)]
    log = memory_log()
    for place, text in enumerate(texts, 1):
        append_texts(log, [1], text, at=10 * place)
    with closing(Catalog.open(log, tmp_path / "newer.catalog")) as catalog:
        catalog.catch_up()

        for seq in range(1, len(texts) + 1):
            point = Point(seq, 10 * seq)
            assert_as_folded(catalog, point)
            expected = naive_records(log, point)
            assert list(pass_over(log, EVERYTHING, point)) == expected, texts
            for selector in (Selector(node="*"), Selector(states=("completed",))):
                count = find_tasks(log, selector, point, limit=0).count
                assert count == sum(map(selector.matches, expected)), texts


def test_who_undoes_is_known(queue: Queue, tmp_path: Path) -> None:
    """That a task ends again as it had is an action by hand, and has a reason of its own."""
    done = queue.select(**FAILED).retry().apply(by="ada")
    queue.undo(done.id).apply(by="bob", reason="too early")
    head = queue.log.head()
    with closing(Catalog.open(queue.log, tmp_path / "undone.catalog")) as catalog:
        catalog.catch_up()
        [last] = catalog.changes(task=1, limit=1)

        assert (last.kind, last.by, last.reason) == ("expired", "bob", "too early")
        assert [record.number for record in catalog.find(Selector(by="bob"))] == [1, 3, 5]
        assert_as_folded(catalog, Point(head.seq, head.at))
        assert_as_counted(catalog, Point(head.seq, head.at))


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
