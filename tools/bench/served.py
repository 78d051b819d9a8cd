"""MongoDB: one process against the bare driver that inserts the very same documents."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import pymongo
from pymongo.collection import Collection
from pymongo.write_concern import WriteConcern

from eventq import Queue
from tools.bench.bench import Bench, held_against, in_turns, paced
from tools.bench.listening import Listening
from tools.bench.report import Figure, Floor
from tools.bench.work import fill, no_op, three_tags

COMMITS = "commits"
# Calls before the ones that count: connections are opened.
WARM_UP = 20
# A drain appends as many events to one task: its lease, and its end.
EVENTS_A_TASK = 2

Documents = Collection[dict[str, Any]]


def lone(bench: Bench) -> Iterator[Figure]:
    """``new()`` in one thread: its journeys, and its rate against ``insert_one`` alone."""
    url, tags = bench.url(), three_tags(1)
    seconds, count = bench.pick(100, 10) / 100, bench.pick(1_000, 50)
    with Queue(url) as queue:
        queue.new(tags)
        with _bare(url) as (commits, collection):
            insert = _Insert(collection, commits.find_one({}) or {})
            bare, ours = in_turns(
                lambda: paced(insert, seconds),
                lambda: paced(lambda: queue.new(tags), seconds),
                bench.pick(5, 1),
            )
    rates = [pace.a_second for pace in ours]
    yield Figure("lone new()", median(rates), "tasks/s")
    ratio = held_against([pace.a_second for pace in bare], rates)
    yield Figure("lone new(), rate", ratio, "of bare", Floor(0.85))
    listening = Listening()
    with Queue(url) as queue:
        for _ in range(WARM_UP):
            queue.new(tags)
        before = listening.journeys
        for _ in range(count):
            queue.new(tags)
        journeys = (listening.journeys - before) / count
    yield Figure("lone new(), journeys", journeys, "journeys", Floor(1, at_most=True))


def drain(bench: Bench) -> Iterator[Figure]:
    """One node drains no-op tasks, against the same documents inserted one after the other."""
    url, count = bench.url(), bench.pick(60_000, 2_000)
    with Queue(url) as queue:
        fill(queue, count)
        queue.stats()
        began_s = time.perf_counter()
        report = queue.run(no_op, until="idle")
        took_s = time.perf_counter() - began_s
    assert report.completed == count, "every task is completed once"
    with _bare(url) as (commits, bare):
        made = list(commits.find({"first": {"$gt": count}}))
        began_s = time.perf_counter()
        for document in made:
            bare.insert_one(document)
        bare_s = time.perf_counter() - began_s
    yield Figure("drain of no-op tasks, one node", EVENTS_A_TASK * count / took_s, "events/s")
    yield Figure("drain of no-op tasks, one node", bare_s / took_s, "of bare", Floor(0.4))


class _Insert:
    """Inserts a lone commit's document again and again, each time at the next position."""

    def __init__(self, collection: Documents, model: dict[str, Any]) -> None:
        self._collection = collection
        self._model = model
        self._first = 0
        assert model["tasks"] == [model["first"]], "the model creates one task"

    def __call__(self) -> None:
        """One of them."""
        self._first += 1
        own = {"_id": f"{self._first:032}", "first": self._first, "tasks": [self._first]}
        self._collection.insert_one({**self._model, **own})


@contextmanager
def _bare(url: str) -> Iterator[tuple[Documents, Documents]]:
    """The log's commits, and an empty collection as durable and with the same indexes."""
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        concern = WriteConcern("majority", j=True)
        bare = database.get_collection("bare", write_concern=concern)
        indexes = [
            {name: value for name, value in index.items() if name != "v"}
            for index in database[COMMITS].list_indexes()
        ]
        database.command("createIndexes", bare.name, indexes=indexes)
        yield database[COMMITS], bare
