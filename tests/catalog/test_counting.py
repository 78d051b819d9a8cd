"""What the catalog counts, against the same counted from whole histories."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventq.catalog.catalog import Catalog
from eventq.catalog.counts import SpanCounts
from eventq.catalog.passing import pass_over
from eventq.catalog.selector import Selector
from eventq.core.command import Draft
from eventq.core.events import Expired, Failed, Refused, Retried
from eventq.core.projection import Projection
from eventq.core.task import TaskState
from eventq.eventlog import EventLog
from eventq.replay.points import Point
from tests.catalog.counts import (
    COUNTED,
    MINUTE_US,
    naive_attempts,
    naive_changes,
    naive_failures,
    naive_minutes,
)
from tests.catalog.records import naive_records
from tests.driver import memory_log, record
from tests.recipes import LAPSE, WEB1, WEB2, at, leased, new
from tests.stage import random_stage
from tools.generate import generate
from tools.generate.bulk import make_bulk

ALL = 1_000_000
EVER = 2**62


def log_of(kind: str) -> EventLog:
    """A log in which most things happen, one with names and lanes, or one of many edits."""
    if kind == "stage":
        return random_stage(5, rounds=150).log
    log = memory_log()
    if kind == "bulk":
        make_bulk(log, tasks=600)
    else:
        generate(log, tasks=400, seed=4, live=60, pending=20)
    return log


@pytest.fixture(scope="module", params=["generated", "bulk", "stage"])
def catalog(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalog]:
    """A catalog that holds all of its log."""
    path = tmp_path_factory.mktemp("counted") / "counted.catalog"
    with closing(Catalog.open(log_of(request.param), path)) as found:
        found.catch_up()
        yield found


@pytest.fixture(scope="module")
def points(catalog: Catalog) -> list[Point]:
    """The end of the log and some positions before it."""
    chance, head = random.Random(3), catalog.log.head()
    seqs = [chance.randint(1, head.seq) for _ in range(4)]
    return [
        Point(head.seq, head.at),
        *(Point(seq, catalog.log.read(after=seq - 1, limit=1)[0].at) for seq in seqs),
    ]


def test_attempts_are_those_of_the_histories(catalog: Catalog, points: list[Point]) -> None:
    """Each that was over; an outcome that came late neither ends one nor begins one."""
    for point in points:
        assert catalog.attempts(point, limit=ALL) == naive_attempts(catalog.log, point)


def test_attempts_are_narrowed(catalog: Catalog, points: list[Point]) -> None:
    """By node and by what became of the task; the limit keeps the last ones."""
    everything = naive_attempts(catalog.log, points[0])
    node = everything[0].node
    of_node = [each for each in everything if each.node == node]
    failed = [each for each in everything if each.became is TaskState.FAILED]

    assert catalog.attempts(node=node, limit=ALL) == of_node
    assert catalog.attempts(became=TaskState.FAILED, limit=ALL) == failed
    assert catalog.attempts(limit=3) == everything[:3]


def test_errors_are_those_of_the_histories(catalog: Catalog, points: list[Point]) -> None:
    """So many failures of each type and place, the most frequent first."""
    for point in points:
        found = catalog.errors(point, limit=ALL)
        assert Counter({(g.type, g.place): g.failures for g in found}) == naive_failures(
            catalog.log, point
        )
        assert [g.failures for g in found] == sorted((g.failures for g in found), reverse=True)


@pytest.mark.parametrize("by, width", [("minute", 1), ("hour", 60)])
def test_minutes_are_those_of_the_histories(catalog: Catalog, by: str, width: int) -> None:
    """So many events of each kind, minute by minute, and hour by hour."""
    expected: dict[int, Counter[str]] = {}
    for minute, counts in naive_minutes(catalog.log).items():
        expected.setdefault(minute // width * width, Counter()).update(counts)

    found = catalog.minutes(0, EVER, by=by)  # type: ignore[arg-type] # of the parameters

    assert [int(span.at.timestamp()) // 60 for span in found] == sorted(expected)
    assert [counts_in(span) for span in found] == [expected[minute] for minute in sorted(expected)]


def test_the_oldest_ready_task_is_that_of_the_histories(catalog: Catalog) -> None:
    """At the end of a minute, by the tasks that a full fold calls ready then."""
    spans = catalog.minutes(0, EVER)
    for span in random.Random(2).sample(spans, min(5, len(spans))):
        end = int(span.at.timestamp()) * 1_000_000 + MINUTE_US
        seq = max(c.last for c in catalog.log.read(after=0, limit=ALL) if c.at < end)
        records = naive_records(catalog.log, Point(seq, end))
        ready = [r.scheduled_at for r in records if r.state is TaskState.READY]
        expected = end - min(ready) if ready else None

        assert span.oldest_ready_us == expected


def test_changes_are_those_of_the_histories(catalog: Catalog) -> None:
    """What somebody has asked for, and nothing that the queue did by itself."""
    everything = naive_changes(catalog.log)
    assert catalog.changes(limit=ALL) == everything
    for person in {each.by for each in everything if each.by is not None}:
        of_person = [each for each in everything if each.by == person]
        assert catalog.changes(by=person, limit=ALL) == of_person


def counts_in(span: SpanCounts) -> Counter[str]:
    """How many events of each kind there were, without those of which there was none."""
    return +Counter({kind: getattr(span, kind) for kind in COUNTED.values()})


@pytest.mark.parametrize("late", [(2, 5), (5, 2), (5,), (2,)])
def test_work_ran_twice_by_the_earliest_late_one(late: tuple[int, ...], tmp_path: Path) -> None:
    """That of the last lease, which nobody took up, says nothing; in whatever order they come."""
    log = memory_log()
    projection = Projection(log.namespace)
    story: list[tuple[int, list[Draft]]] = [
        (0, [new("film")]),
        (1, [(1, leased(1, WEB2))]),
        (40, [(1, Failed(2, LAPSE)), (1, Retried(at(40)))]),
        (41, [(1, leased(2, WEB1))]),
        (80, [(1, Failed(5, LAPSE)), (1, Expired("max_retries"))]),
    ]
    for seconds, drafts in story:
        record(log, projection, drafts, now=at(seconds))
    for fence in late:
        record(log, projection, [(1, Refused(fence, WEB1, "completed"))], now=at(90))
    head = log.head()
    with closing(Catalog.open(log, tmp_path / "late.catalog")) as catalog:
        catalog.catch_up()
        [found] = catalog.find(Selector())

    assert found.ran_twice == (2 in late)
    assert [found] == naive_records(log, Point(head.seq, head.at))
    assert [found] == list(pass_over(log, Selector(), Point(head.seq, head.at)))
