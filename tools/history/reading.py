"""Commits as logs hold them, read without eventq: a SQLite file, MongoDB, a file of lines.

In a process of its own, please: the standard sqlite3 beside eventq's SQLite can lose its locks.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.history.chain import first_seal
from tools.history.facts import RawCommit

SEQ_BITS = 40
SEQ_MASK = (1 << SEQ_BITS) - 1
TIMEOUT_MS = 10_000

ROWS = """
SELECT place, at, task, key, count, id, seal, body
FROM events
WHERE place BETWEEN ? AND ?
ORDER BY place
"""


class NoHistoryError(Exception):
    """There is no log to read at that place, or its beginning is in an archive."""


def read_log(url: str, namespace: str) -> Iterator[RawCommit]:
    """The commits of a namespace, in order. Raises NoHistoryError."""
    if url.startswith("sqlite:///"):
        return read_sqlite(Path(url.removeprefix("sqlite:///")), namespace)
    if url.startswith("file:///"):
        return read_lines(Path(url.removeprefix("file:///")), namespace)
    if url.startswith(("mongodb://", "mongodb+srv://")):
        return read_mongodb(url, namespace)
    raise NoHistoryError(f"expected sqlite:///, mongodb:// or file:///, got {url}")


def read_sqlite(path: Path, namespace: str) -> Iterator[RawCommit]:
    """The commits in a SQLite file, as they stand when the first one is asked for."""
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise NoHistoryError(f"{path}: {error}") from error
    try:
        found = database.execute("SELECT id FROM namespaces WHERE name = ?", (namespace,))
        row = found.fetchone()
        if row is None:
            return
        begin = row[0] << SEQ_BITS
        rows = database.execute(ROWS, (begin + 1, begin + SEQ_MASK))
        yield from commits_of_rows(rows, namespace)
    except sqlite3.Error as error:
        raise NoHistoryError(f"{path}: {error}") from error
    finally:
        database.close()


def commits_of_rows(rows: Iterable[tuple[Any, ...]], namespace: str) -> Iterator[RawCommit]:
    """The commits of rows of events; a rest without an end comes as a commit without a seal."""
    prev = first_seal(namespace)
    events: list[tuple[Any, ...]] = []
    for row in rows:
        events.append(row)
        if row[6] is not None:
            yield _commit_of(events, prev)
            prev = row[6]
            events = []
    if events:
        yield _commit_of(events, prev)


def read_lines(path: Path, namespace: str) -> Iterator[RawCommit]:
    """The commits in a file of lines."""
    with path.open(encoding="utf-8") as lines:
        header = json.loads(next(lines))
        if header.get("namespace") != namespace:
            raise NoHistoryError(f"{path} holds namespace {header.get('namespace')!r}")
        for line in lines:
            if not line.endswith("\n"):
                # Torn: whoever appended it has not said that it is there.
                return
            found = json.loads(line)
            yield RawCommit(
                found["id"],
                found["first"],
                found["at"],
                bytes.fromhex(found["prev"]),
                bytes.fromhex(found["seal"]),
                found["tasks"],
                found["keys"],
                found["events"],
            )


def read_mongodb(url: str, namespace: str) -> Iterator[RawCommit]:
    """The commits in a MongoDB database, read from the primary with majority concern."""
    # Not before it is needed: a SQLite file can be read without the driver.
    from pymongo import MongoClient  # noqa: PLC0415
    from pymongo.read_concern import ReadConcern  # noqa: PLC0415

    with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=TIMEOUT_MS) as client:
        database = client.get_default_database(
            default="eventq", read_concern=ReadConcern("majority")
        )
        documents = database["commits"].find({"ns": namespace}).sort("first", 1)
        yield from map(commit_of_document, documents)


def commit_of_document(document: Mapping[str, Any]) -> RawCommit:
    """The commit that a document holds."""
    keys = zip(document.get("keys", ()), document.get("key_seqs", ()), strict=True)
    return RawCommit(
        document["_id"],
        int(document["first"]),
        int(document["at"]),
        bytes(document["prev"]),
        bytes(document["seal"]),
        [int(task) for task in document["tasks"]],
        {key: int(seq) for key, seq in keys},
        list(document["events"]),
    )


def _commit_of(events: list[tuple[Any, ...]], prev: bytes) -> RawCommit:
    place, at, *_ = events[0]
    _, last_at, _, _, count, commit_id, seal, _ = events[-1]
    is_whole = count == len(events) and all(row[1] == at for row in events)
    return RawCommit(
        commit_id or "",
        place & SEQ_MASK,
        last_at,
        prev,
        # A count or an instant that does not fit is a seal that does not recompute.
        seal if is_whole and seal is not None else b"",
        [row[2] for row in events],
        {row[3]: row[0] & SEQ_MASK for row in events if row[3] is not None},
        [row[7] for row in events],
    )
