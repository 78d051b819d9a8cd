"""Cutting the beginning off a log in MongoDB, once it is archived; nothing else deletes a commit.

The start is written first: from then on everything at or before it counts as archived. What is kept
of archived tasks stands in a collection of its own.
"""

from __future__ import annotations

import time

from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateOne

from eventq.core.commits import Commit
from eventq.core.durations import SECOND_US
from eventq.core.seal import genesis
from eventq.errors import LogArchivedError, LogCorruptError, LogError
from eventq.eventlog.contract import Head, Kept, check_cut
from eventq.eventlog.mongo.connection import MongoConnection
from eventq.eventlog.mongo.documents import MARKS, Document, to_commit

KEPT = "kept"
# How many commits one call deletes, and how many tasks one call keeps.
CUT_COMMITS = 500
KEEP_ROWS = 1_000

# A deleted commit no longer keeps another one from its position. So only commits that are this much
# older than the primary's clock are deleted, and a log that appends behind a head it has known for
# longer than TRUSTED_S checks afterwards whether that place had been cut. The difference is for
# clocks that err.
SETTLED_S = 120.0
TRUSTED_S = 20.0

# The names are part of the stored format.
INDEXES = [
    IndexModel(
        [("ns", ASCENDING), ("key", ASCENDING)],
        name="key",
        partialFilterExpression={"key": {"$exists": True}},
    ),
]


class MongoRetention:
    """What a MongoLog knows of its archived part, keeps of it, and cuts."""

    def __init__(self, connection: MongoConnection, namespace: str) -> None:
        self._connection = connection
        self._namespace = namespace

    def start(self) -> Head:
        """See EventLog.start."""
        with self._connection.translating():
            return find_start(self._connection, self._namespace)

    def find_stray(self) -> int | None:
        """See EventLog.find_stray."""
        query = {"ns": self._namespace, "first": {"$lt": 1}}
        with self._connection.translating():
            found = self._connection.commits().find_one(query, {"first": 1})
        return None if found is None else int(found["first"])

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:
        """See EventLog.find_kept."""
        query = {"_id": {"$in": [self._kept_id(task) for task in tasks]}}
        with self._connection.translating():
            rows = [
                _to_kept(document) for document in self._connection.collection(KEPT).find(query)
            ]
        return {row.task: row for row in rows}

    def keep(self, rows: list[Kept]) -> None:
        """See EventLog.keep."""
        with self._connection.translating():
            collection = self._connection.collection(KEPT)
            if rows:
                collection.create_indexes(INDEXES)
            for start in range(0, len(rows), KEEP_ROWS):
                documents = map(self._to_document, rows[start : start + KEEP_ROWS])
                writes = [
                    UpdateOne({"_id": document["_id"]}, _unless_later(document), upsert=True)
                    for document in documents
                ]
                collection.bulk_write(writes, ordered=False)
            self._forget(find_start(self._connection, self._namespace).seq)

    def cut(self, until: Head) -> None:
        """See EventLog.cut; the commits of the last minutes are deleted by the next call."""
        known = self.start()
        with self._connection.translating():
            if known.seq < until.seq:
                self.check_end(until)
                name = {"_id": _start_id(self._namespace)}
                start = {**name, "seq": until.seq, "at": until.at, "seal": until.seal}
                self._connection.collection(MARKS).update_one(
                    name, _unless_later(start), upsert=True
                )
                known = until
            self._forget(known.seq)
            while self._cut_some(known.seq):
                pass

    def _forget(self, start: int) -> None:
        """Deletes what is of use only as of an earlier start."""
        old = {"ns": self._namespace, "key": {"$exists": False}, "seq": {"$lt": start}}
        self._connection.collection(KEPT).delete_many(old)

    def check_end(self, until: Head) -> None:
        """Raises LogForeignError unless a commit ends there."""
        found = self._connection.commits().find_one(
            {"ns": self._namespace, "first": {"$lte": until.seq}}, sort=[("first", DESCENDING)]
        )
        last = 0 if found is None else int(found["first"] + found["n"] - 1)
        check_cut(until, last, b"" if found is None else bytes(found["seal"]), self._connection.url)

    def _cut_some(self, last: int) -> bool:
        """Deletes the oldest commits up to ``last``; returns whether there were any."""
        now_us = time.time_ns() // 1_000 + self._connection.clock_offset_us()
        settled_at = now_us - int(SETTLED_S * SECOND_US)
        query = {"ns": self._namespace, "first": {"$lte": last}, "at": {"$lte": settled_at}}
        oldest = self._connection.commits().find(
            query, {"first": 1}, sort=[("first", ASCENDING)], limit=CUT_COMMITS
        )
        firsts = [int(document["first"]) for document in oldest]
        if firsts:
            # In order of position, so that what is left is always the end of the log, without gaps.
            some = {"ns": self._namespace, "first": {"$lte": firsts[-1]}}
            self._connection.commits().delete_many(some, hint="position")
        return bool(firsts)

    def find_holding(self, position: int) -> list[Commit]:
        """The commit that holds the position, or none. Lets the driver's errors through."""
        document = self._connection.commits().find_one(
            {"ns": self._namespace, "first": {"$lte": position}}, sort=[("first", DESCENDING)]
        )
        if document is None:
            return []
        commit = to_commit(document)
        return [commit] if commit.last >= position else []

    def cut_namespaces(self) -> list[str]:
        """The namespaces that were ever cut. Lets the driver's errors through."""
        found = self._connection.collection(MARKS).find(
            {"_id.start": {"$exists": True}}, {"_id": 1}
        )
        return [document["_id"]["start"] for document in found]

    def find_kept_keys(self, keys: set[str]) -> dict[str, int]:
        """The archived tasks that have one of the keys. Lets the driver's errors through."""
        query = {"ns": self._namespace, "key": {"$in": sorted(keys)}}
        found = self._connection.collection(KEPT).find(query, {"key": 1, "task": 1})
        return {document["key"]: int(document["task"]) for document in found}

    def missing(self, position: int) -> LogError:
        """What to raise where no commit holds the position."""
        start = self.start()
        if position <= start.seq:
            return LogArchivedError(position, start.seq)
        return LogCorruptError(position, "no commit holds this position")

    def _kept_id(self, task: int) -> Document:
        return {"ns": self._namespace, "task": task}

    def _to_document(self, row: Kept) -> Document:
        document: Document = {"_id": self._kept_id(row.task), "ns": self._namespace}
        document |= {"task": row.task, "seq": row.seq, "state": row.state}
        return document if row.key is None else {**document, "key": row.key}


def boot_s() -> float:
    """Seconds by a clock that never jumps, and goes on while the host sleeps where it has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def find_start(connection: MongoConnection, namespace: str) -> Head:
    """What stands before the first commit. Lets the driver's errors through."""
    found = connection.collection(MARKS).find_one({"_id": _start_id(namespace)})
    if found is None:
        return Head(0, 0, genesis(namespace))
    return Head(int(found["seq"]), int(found["at"]), bytes(found["seal"]))


def _start_id(namespace: str) -> Document:
    return {"start": namespace}


def _unless_later(document: Document) -> list[Document]:
    """An update to this document, unless what is there holds as of a later position.

    Another host may be archiving more at the same time, into another folder.
    """
    is_later = {"$gt": ["$seq", document["seq"]]}
    return [{"$replaceWith": {"$cond": [is_later, "$$ROOT", {"$literal": document}]}}]


def _to_kept(document: Document) -> Kept:
    return Kept(int(document["task"]), int(document["seq"]), document.get("key"), document["state"])
