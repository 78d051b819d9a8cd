"""Writers of snapshots that die in the middle, many at a time, and databases from before."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from pymongo.errors import AutoReconnect

from eventq import LogCorruptError, LogUnavailableError
from eventq.eventlog.mongo import snapshots as mongo_snapshots
from eventq.eventlog.mongo.log import MongoLog
from eventq.eventlog.sqlite import files as sqlite_files
from eventq.eventlog.sqlite import snapshots as sqlite_snapshots
from eventq.eventlog.sqlite.log import SqliteLog
from eventq.snapshot import newest
from tests.eventlog.commits import (
    WAIT_S,
    Opener,
    append,
    append_in_slot,
    assert_tiles,
    everything,
    open_sqlite,
)
from tests.eventlog.test_snapshots_contract import LARGE_BYTES, entry
from tests.servers import new_url
from tools.mongod import ReplicaSet


@pytest.mark.usefixtures("_working")
def test_snapshots_and_appends_go_side_by_side(open_another: Opener) -> None:
    """Threads that write snapshots, read them and append lose nothing and see nothing half."""
    logs = [open_another(), open_another()]
    append(logs[0])
    begin = threading.Barrier(5)

    def put(number: int) -> None:
        begin.wait(WAIT_S)
        for turn in range(6):
            data = bytes([turn]) * 200_000
            logs[number % 2].snapshots.put(entry(1 + turn % 3, data), data)

    def look(_: int) -> set[int]:
        begin.wait(WAIT_S)
        seen: set[int] = set()
        for _ in range(40):
            for found in logs[0].snapshots.entries():
                data = logs[1].snapshots.get(found.seq) or b""
                seen |= {len(set(data)) if len(data) in {0, 200_000} else 99}
        return seen

    def work(_: int) -> None:
        begin.wait(WAIT_S)
        for _ in range(10):
            append_in_slot(logs[0])

    with ThreadPoolExecutor(5) as pool:
        seen = [pool.submit(look, number) for number in range(2)]
        done = [pool.submit(put, number) for number in range(2)] + [pool.submit(work, 0)]
        for each in done:
            each.result(WAIT_S)

    assert all(each.result() <= {0, 1} for each in seen)
    assert [found.seq for found in logs[1].snapshots.entries()] == [1, 2, 3]
    commits = everything(logs[1])
    assert_tiles(commits)
    assert len(commits) == 11


def test_a_forked_child_has_the_same_snapshots(tmp_path: Path) -> None:
    """Parent and child go on reading and writing them."""
    with closing(open_sqlite(tmp_path / "log.db")) as log:
        append(log)
        log.snapshots.put(entry(1, b"one"), b"one")
        child = os.fork()
        if child == 0:
            # Nothing of the test may run twice, whatever happens here.
            code = 1
            try:
                log.after_fork()
                log.snapshots.put(entry(2, b"two"), b"two")
                code = 0 if log.snapshots.get(1) == b"one" else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        log.snapshots.put(entry(3, b"three"), b"three")

        assert os.waitstatus_to_exitcode(status) == 0
        assert [found.seq for found in log.snapshots.entries()] == [1, 2, 3]
        assert log.snapshots.get(2) == b"two"


# SQLite.


def test_a_sqlite_database_gets_its_table_with_the_first(sqlite_log: SqliteLog, path: Path) -> None:
    """Looking makes no table, so that older databases stay as they are; putting makes it."""

    def tables() -> set[object]:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            return {name for (name,) in rows}

    append(sqlite_log)
    before = tables()
    sqlite_log.snapshots.entries()
    sqlite_log.snapshots.get(1)
    sqlite_log.snapshots.delete(1)
    assert tables() == before

    sqlite_log.snapshots.put(entry(1, b"x"), b"x")

    assert tables() == before | {"snapshots"}


def test_a_sqlite_snapshot_is_whole_or_not_there(
    sqlite_log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What breaks in the middle is rolled back, and appends go on."""
    append(sqlite_log)
    sqlite_log.snapshots.put(entry(1, b"old"), b"old")
    broken = f"{sqlite_snapshots.PUT.rstrip()} RETURNING no_such_column"
    monkeypatch.setattr(sqlite_snapshots, "PUT", broken)

    with pytest.raises(Exception, match="no_such_column"):
        sqlite_log.snapshots.put(entry(1, b"new"), b"new")

    assert sqlite_log.snapshots.get(1) == b"old"
    assert append(sqlite_log).first == 2


def test_a_sqlite_log_for_reading_takes_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the log may not be written, neither may snapshots, but those there are read."""
    with closing(open_sqlite(path)) as log:
        append(log)
        log.snapshots.put(entry(1, b"x"), b"x")
    monkeypatch.setattr(sqlite_files, "prepare", lambda *_, **__: False)
    with closing(open_sqlite(path, create=False)) as log:
        with pytest.raises(LogUnavailableError, match="not writable"):
            log.snapshots.put(entry(2, b"y"), b"y")

        assert log.snapshots.get(1) == b"x"


# MongoDB.


@pytest.fixture
def mongo_log(mongod: ReplicaSet) -> Iterator[MongoLog]:
    """A log in MongoDB."""
    with closing(MongoLog(new_url(mongod), namespace="default", create=True)) as log:
        append(log)
        yield log


def pieces(log: MongoLog) -> int:
    """How many pieces the database holds."""
    return log.connection.collection(mongo_snapshots.PIECES).count_documents({})


def test_half_the_pieces_are_no_snapshot(
    mongo_log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that dies before the last piece leaves what was there; its pieces are cleared."""
    mongo_log.snapshots.put(entry(1, b"old"), b"old")
    split = mongo_snapshots.piece_names
    written: list[object] = []

    def dying(document: dict[str, object]) -> object:
        for name in split(document):
            if len(written) == 2:
                raise AutoReconnect("killed")
            written.append(name)
            yield name

    monkeypatch.setattr(mongo_snapshots, "piece_names", dying)
    with pytest.raises(LogUnavailableError):
        mongo_log.snapshots.put(entry(1, b"x" * LARGE_BYTES), b"x" * LARGE_BYTES)
    monkeypatch.undo()
    assert mongo_log.snapshots.get(1) == b"old"
    assert mongo_log.snapshots.entries() == [entry(1, b"old")]
    assert pieces(mongo_log) == 3

    old = {"$set": {"written_at": 0}}
    mongo_log.connection.collection(mongo_snapshots.PIECES).update_many({}, old)
    mongo_log.snapshots.put(entry(2, b"new"), b"new")

    assert pieces(mongo_log) == 2
    assert mongo_log.snapshots.get(1) == b"old"


def test_a_look_for_abandoned_pieces_reads_none(mongo_log: MongoLog) -> None:
    """They are large and many, and it comes with each snapshot; an index answers it."""
    mongo_log.snapshots.put(entry(1, b"x"), b"x")
    database = mongo_log.connection.database()
    asked = {
        "distinct": mongo_snapshots.PIECES,
        "key": "token",
        "query": {"written_at": {"$lt": 1}},
    }

    plan = database.command("explain", asked, verbosity="queryPlanner")["queryPlanner"]

    assert "COLLSCAN" not in str(plan["winningPlan"])


def test_a_missing_piece_is_no_snapshot(mongo_log: MongoLog) -> None:
    """Bytes that are not all there are not given at all."""
    mongo_log.snapshots.put(entry(1, b"x" * LARGE_BYTES), b"x" * LARGE_BYTES)
    mongo_log.connection.collection(mongo_snapshots.PIECES).delete_one({})

    assert mongo_log.snapshots.get(1) is None


def test_a_foreign_document_is_no_obstacle(
    mongo_log: MongoLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else's collection of the same name is told, and the log is folded without it."""
    mongo_log.connection.collection("snapshots").insert_one({"ns": "default", "title": "holidays"})

    assert newest(mongo_log) is None
    assert [record.getMessage() for record in caplog.records] == ["snapshots cannot be read"]
    with pytest.raises(LogCorruptError, match="snapshot's document"):
        mongo_log.snapshots.entries()


def test_replaced_and_deleted_pieces_are_gone(mongo_log: MongoLog) -> None:
    """The database keeps no bytes that no snapshot has."""
    mongo_log.snapshots.put(entry(1, b"x" * LARGE_BYTES), b"x" * LARGE_BYTES)
    before = pieces(mongo_log)
    mongo_log.snapshots.put(entry(1, b"x"), b"x")
    replaced = pieces(mongo_log)
    mongo_log.snapshots.delete(1)

    assert (before, replaced, pieces(mongo_log)) == (4, 1, 0)
