"""Selectors asked of the catalog: they mean there what they mean of a record, at any position."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventq.audit.finding import group
from eventq.catalog.catalog import Catalog
from eventq.catalog.orders import GroupBy, Order
from eventq.catalog.passing import pass_over, settled_numbers
from eventq.catalog.record import TaskRecord
from eventq.catalog.search import find_tasks
from eventq.catalog.selector import Selector
from eventq.eventlog import EventLog
from eventq.eventlog.memory import MemoryLog
from eventq.replay.points import Point
from tests.catalog.records import naive_records
from tests.driver import memory_log
from tools.generate import generate
from tools.generate.bulk import make_bulk
from tools.simulate.simulation import Simulation
from tools.simulate.world import NAMESPACE

POINTS = 6


class Known:
    """A catalog, and what all tasks looked like at some points of its log."""

    def __init__(self, catalog: Catalog, seed: int) -> None:
        self.catalog = catalog
        chance = random.Random(seed)
        head = catalog.log.head()
        self.points = [Point(head.seq, head.at)]
        for place in range(POINTS - 1):
            seq = chance.randint(1, head.seq)
            at = catalog.log.read(after=seq - 1, limit=1)[0].at
            if place % 2:
                # Also at the very instant in which a task becomes ready.
                records = naive_records(catalog.log, Point(seq, at))
                at = min((r.scheduled_at for r in records if r.scheduled_at > at), default=at)
            self.points.append(Point(seq, at))
        self.records = [naive_records(catalog.log, point) for point in self.points]
        self.instants = sorted({r.last_at for found in self.records for r in found})
        self.all = [record for found in self.records for record in found]


@pytest.fixture(scope="module", params=["generated", "bulk", "simulated"])
def known(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Known]:
    """Logs in which most things happen, with names, lanes and more tags, or of the simulation."""
    log = log_of(request.param)
    catalog = Catalog.open(log, tmp_path_factory.mktemp("known") / "known.catalog")
    catalog.catch_up()
    yield Known(catalog, 1)
    catalog.close()


def log_of(kind: str) -> EventLog:
    """One of the logs that these tests ask about."""
    if kind == "simulated":
        simulation = Simulation(7_004)
        simulation.play(400)
        storage = simulation.world.storage
        return MemoryLog(storage, url="memory://simulated", namespace=NAMESPACE)
    log = memory_log()
    if kind == "bulk":
        make_bulk(log, tasks=700)
    else:
        generate(log, tasks=300, seed=2, live=60, pending=20)
    return log


def test_each_condition_alone_means_the_same(known: Known) -> None:
    """Each state and flag at each point."""
    asked = [Selector(states=(state,)) for state in STATES]
    for value in (True, False):
        asked += [Selector(lapsed=value), Selector(refused=value), Selector(ran_twice=value)]
    asked += [Selector(flow=flow) for flow in {r.flow for r in known.all} if flow is not None]
    asked += [Selector(schedule=name) for name in {r.schedule for r in known.all} if name]
    for selector in asked:
        for point, records in zip(known.points, known.records, strict=True):
            expected = [record for record in records if selector.matches(record)]
            assert known.catalog.find(selector, point) == expected, (selector, point)


@pytest.mark.parametrize("lookup_events", [0, 1_000_000])
def test_a_pass_leaves_out_none_that_is_meant(
    known: Known, lookup_events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether what its first look leaves is looked up by the index, or passed over."""
    monkeypatch.setattr("eventq.catalog.passing.LOOKUP_EVENTS", lookup_events)
    some = known.all[:: len(known.all) // 4]
    asked = [Selector(states=(state,)) for state in STATES]
    asked += [Selector(lapsed=True), Selector(refused=True), Selector(ran_twice=True)]
    asked += [Selector(min_attempts=2), Selector(ran_us=1_000_000), Selector(waited_us=1_000)]
    asked += [Selector(error="*"), Selector(message="e"), Selector(by="*"), Selector(node="*1*")]
    for each in some:
        asked += [
            Selector(since=each.last_at),
            Selector(created_after=each.created_at, node=(*each.nodes, "none")[0]),
            Selector(ended_after=each.last_at, error=each.error_type),
            Selector(keys=(each.key,)),
            Selector(names=(each.name or "none",), lanes=(each.lane,)),
            Selector(tags=dict(list(msgspec.json.decode(each.tags_json).items())[:1])),
        ]
    log = known.catalog.log
    for selector in asked:
        for point, records in zip(known.points[:2], known.records, strict=False):
            expected = [record for record in records if selector.matches(record)]
            assert list(pass_over(log, selector, point)) == expected, (selector, point)
            after = point.seq // 2
            later = [record for record in expected if record.last_seq > after]
            assert list(pass_over(log, selector, point, after=after)) == later, selector


def test_what_one_event_settles_is_found_and_counted(known: Known) -> None:
    """Without a fold of each task, and at any point: the first of them, and how many there are."""
    nodes = {node for record in known.all for node in record.nodes}
    names = {record.name for record in known.all if record.name is not None}
    asked = [Selector(node=node) for node in ("*", *sorted(nodes))]
    asked += [Selector(names=(name,)) for name in ("*", *sorted(names))]
    asked += [Selector(names=("none", *names)), Selector(states=("completed",))]
    log = known.catalog.log
    for selector in asked:
        for point, records in zip(known.points, known.records, strict=True):
            expected = [record for record in records if selector.matches(record)]
            assert settled_numbers(log, selector, point) == [r.number for r in expected]
            found = find_tasks(log, selector, point, limit=3)
            assert (found.tasks, found.count) == (expected[:3], len(expected)), (selector, point)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_selector_means_the_same_in_the_catalog(known: Known, data: st.DataObject) -> None:
    """The tasks found are those whose records the selector matches, in their order and number."""
    selector = Selector(**_drawn(data, known))
    place = data.draw(st.integers(0, POINTS - 1))
    order: Order = data.draw(st.sampled_from(["number", "-number", "-last"]))
    limit = data.draw(st.none() | st.integers(1, 20))
    point, records = known.points[place], known.records[place]
    expected = [record for record in records if selector.matches(record)]

    found = known.catalog.find(selector, point, order=order, limit=limit)

    assert found == _ordered(expected, order)[:limit]
    pairs = [(record.number, record.last_seq) for record in expected]
    assert known.catalog.numbers(selector, point) == pairs
    assert known.catalog.count(selector, point) == len(expected)
    by: GroupBy = data.draw(st.sampled_from(["error", "node", "name", "hour"]))
    counts = known.catalog.grouped(selector, by, point)
    assert {_shown(key): n for key, n in counts.items()} == dict(group(expected, by))
    assert list(pass_over(known.catalog.log, selector, point)) == expected


@pytest.mark.parametrize("order", ["number", "-number", "-last"])
def test_pages_follow_each_other(known: Known, order: Order) -> None:
    """What comes behind the last one of a page makes, page by page, the whole list."""
    selector = Selector(states=("completed", "ready"))
    whole = known.catalog.find(selector, order=order)
    pages: list[TaskRecord] = []

    while page := known.catalog.find(
        selector, order=order, limit=37, after=_after(pages[-1], order) if pages else None
    ):
        pages += page

    assert pages == whole


def _shown(key: str | int) -> str:
    """A key of groups as `group` shows it."""
    if isinstance(key, str):
        return key
    return f"{datetime.fromtimestamp(3_600 * key, UTC):%Y-%m-%dT%H:00Z}"


def _after(record: TaskRecord, order: Order) -> int:
    return record.last_seq if order == "-last" else record.number


def _ordered(records: list[TaskRecord], order: Order) -> list[TaskRecord]:
    if order == "number":
        return records
    return sorted(records, key=lambda r: -_after(r, order))


def _drawn(data: st.DataObject, known: Known) -> dict[str, Any]:
    """Some of the fields of a selector, mostly with values that some task has."""
    sample = data.draw(st.sampled_from(known.all))
    instants = st.sampled_from(known.instants)
    tags = _tags(sample)
    fields: dict[str, st.SearchStrategy[Any]] = {
        "states": st.sets(st.sampled_from(STATES), min_size=1).map(tuple),
        "names": st.sampled_from([(sample.name or "docs.*",), ("docs.*", "mail.send"), ("no",)]),
        "lanes": st.sampled_from([(sample.lane,), ("default", "mail"), ("no",)]),
        "error": st.sampled_from([sample.error_type or "OSError", "*Error", "Error", "no"]),
        "message": st.sampled_from(["10.0.0.1", "NO SPACE", "ex", sample.error_message or "x"]),
        "place": st.sampled_from(["ocr.py", "thumbs.py:12", "no", ":"]),
        "tags": st.sampled_from([tags, dict(list(tags.items())[:1]), {"urgent": False}]),
        "text": st.sampled_from([str(v) for v in tags.values() if str(v).strip()] or ["mail"]),
        "node": st.sampled_from([*sample.nodes, "host1-*", "no"]),
        "keys": st.just((sample.key, "7", "no")),
        "numbers": st.just((sample.number, 3, 10**12)),
        "min_attempts": st.integers(1, 4),
        "created_after": instants,
        "created_before": instants,
        "ended_after": instants,
        "ended_before": instants,
        "since": instants,
        "until": instants,
        "waited_us": st.sampled_from([0, 1, 10**6, 6 * 10**7, sample.waited_us or 5]),
        "ran_us": st.sampled_from([0, 10**6, 7 * 10**7, sample.ran_us or 5]),
        "lapsed": st.booleans(),
        "refused": st.booleans(),
        "ran_twice": st.booleans(),
        "by": st.sampled_from([*sample.by, "a*", "ada@desk", "no"]),
    }
    chosen = data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True))
    return {name: data.draw(fields[name]) for name in chosen}


def _tags(record: TaskRecord) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(record.tags_json)
    return found or {"kind": "mail"}


STATES = ["waiting", "scheduled", "ready", "leased", "failed", "completed", "expired", "cancelled"]
