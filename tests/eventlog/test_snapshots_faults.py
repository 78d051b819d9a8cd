"""Writers of snapshots that die in the middle, many at a time, and databases from before."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from pymongo.errors import AutoReconnect

from eventq import LogCorruptError, LogUnavailableError
from eventq.eventlog import EventLog, file_snapshots
from eventq.eventlog.file import FileLog
from eventq.eventlog.mongo import snapshots as mongo_snapshots
from eventq.eventlog.mongo.log import MongoLog
from eventq.eventlog.sqlite import snapshots as sqlite_snapshots
from eventq.eventlog.sqlite.log import SqliteLog
from eventq.snapshot import newest
from tests.eventlog.commits import (
    WAIT_SECONDS,
    Opener,
    append,
    assert_tiles,
    everything,
    open_sqlite,
)
from tests.eventlog.inside import link_of
from tests.eventlog.test_snapshots_contract import LARGE_BYTES, entry
from tests.servers import new_url
from tools.mongod import ReplicaSet


def test_snapshots_and_appends_go_side_by_side(open_another: Opener) -> None:
    """Threads that write snapshots, read them and append lose nothing and see nothing half."""
    logs = [open_another(), open_another()]
    append(logs[0])
    begin = threading.Barrier(5)

    def put(number: int) -> None:
        begin.wait(WAIT_SECONDS)
        for turn in range(6):
            data = bytes([turn]) * 200_000
            logs[number % 2].snapshots.put(entry(1 + turn % 3, data), data)

    def look(_: int) -> set[int]:
        begin.wait(WAIT_SECONDS)
        seen: set[int] = set()
        for _ in range(40):
            for found in logs[0].snapshots.entries():
                data = logs[1].snapshots.get(found.seq) or b""
                seen |= {len(set(data)) if len(data) in {0, 200_000} else 99}
        return seen

    def work(_: int) -> None:
        begin.wait(WAIT_SECONDS)
        for _ in range(10):
            with logs[0].turn():
                append(logs[0])

    with ThreadPoolExecutor(5) as pool:
        seen = [pool.submit(look, number) for number in range(2)]
        done = [pool.submit(put, number) for number in range(2)] + [pool.submit(work, 0)]
        for each in done:
            each.result(WAIT_SECONDS)

    assert all(each.result() <= {0, 1} for each in seen)
    assert [found.seq for found in logs[1].snapshots.entries()] == [1, 2, 3]
    commits = everything(logs[1])
    assert_tiles(commits)
    assert len(commits) == 11


@pytest.mark.parametrize("fork_in", ["sqlite", "file"])
def test_a_forked_child_has_the_same_snapshots(fork_in: str, tmp_path: Path) -> None:
    """Parent and child go on reading and writing them."""
    log: EventLog = (
        open_sqlite(tmp_path / "log.db")
        if fork_in == "sqlite"
        else FileLog(f"{tmp_path}/log.jsonl", url="file:", namespace="default", create=True)
    )
    with closing(log):
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


def test_a_sqlite_log_for_reading_takes_none(path: Path) -> None:
    """Where the log may not be written, neither may snapshots, but those there are read."""
    with closing(open_sqlite(path)) as log:
        append(log)
        log.snapshots.put(entry(1, b"x"), b"x")
    with closing(open_sqlite(path, create=False)) as log:
        log._writable = False
        with pytest.raises(LogUnavailableError, match="not writable"):
            log.snapshots.put(entry(2, b"y"), b"y")

        assert log.snapshots.get(1) == b"x"


# Files.


@pytest.fixture
def file_log(tmp_path: Path) -> Iterator[FileLog]:
    """A log in a file."""
    path = f"{tmp_path}/log.jsonl"
    with closing(FileLog(path, url="file:", namespace="default", create=True)) as log:
        append(log)
        yield log


def test_a_half_written_file_is_not_there(
    file_log: FileLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that is killed leaves a file without its name; it is no snapshot."""
    monkeypatch.setattr(Path, "rename", lambda *_: os.kill(os.getpid(), 0))
    monkeypatch.setattr(file_snapshots, "ABANDONED_S", 10**9)

    file_log.snapshots.put(entry(1, b"x"), b"x")

    assert len(list((tmp_path / "log.jsonl.snapshots").iterdir())) == 1
    assert file_log.snapshots.entries() == []
    assert file_log.snapshots.get(1) is None


def test_abandoned_files_are_cleared(file_log: FileLog, tmp_path: Path) -> None:
    """What nobody can be writing any more goes with the next snapshot; what is fresh stays."""
    folder = tmp_path / "log.jsonl.snapshots"
    folder.mkdir()
    for name, age_s in (("old", file_snapshots.ABANDONED_S + 60), ("fresh", 1)):
        left = folder / f"{file_snapshots.UNFINISHED}{name}"
        left.write_bytes(b"half")
        os.utime(left, (time.time() - age_s,) * 2)

    file_log.snapshots.put(entry(1, b"x"), b"x")

    names = sorted(path.name for path in folder.iterdir())
    assert names[0] == f"{file_snapshots.UNFINISHED}fresh"
    assert len(names) == 2


def test_other_files_in_the_folder_do_no_harm(file_log: FileLog, tmp_path: Path) -> None:
    """Somebody's notes are no snapshots."""
    file_log.snapshots.put(entry(1, b"x"), b"x")
    (tmp_path / "log.jsonl.snapshots" / "notes.txt").write_text("mine", encoding="utf-8")

    assert [found.seq for found in file_log.snapshots.entries()] == [1]


def test_a_replaced_file_is_gone(file_log: FileLog, tmp_path: Path) -> None:
    """One position, one file, although their names differ."""
    for taken_at in (5, 6):
        file_log.snapshots.put(entry(1, b"x", taken_at=taken_at), b"x")

    assert len(list((tmp_path / "log.jsonl.snapshots").iterdir())) == 1


def test_of_two_files_at_a_position_the_newer_counts(file_log: FileLog, tmp_path: Path) -> None:
    """A writer that is killed before it removes the one it replaces leaves two."""
    file_log.snapshots.put(entry(1, b"old", taken_at=5), b"old")
    folder = tmp_path / "log.jsonl.snapshots"
    [old] = folder.iterdir()
    (folder / old.name.replace("-5-", "-6-")).write_bytes(b"new")

    assert file_log.snapshots.get(1) == b"new"
    assert file_log.snapshots.entries() == [entry(1, b"new", taken_at=6)]
    assert file_log.snapshots.delete(1)
    assert file_log.snapshots.entries() == []


# MongoDB.


@pytest.fixture
def mongo_log(mongod: ReplicaSet) -> Iterator[MongoLog]:
    """A log in MongoDB."""
    with closing(MongoLog(new_url(mongod), namespace="default", create=True)) as log:
        append(log)
        yield log


def pieces(log: MongoLog) -> int:
    """How many pieces the database holds."""
    return link_of(log).database()[mongo_snapshots.PIECES].count_documents({})


def test_half_the_pieces_are_no_snapshot(
    mongo_log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that dies before the last piece leaves what was there; its pieces are cleared."""
    mongo_log.snapshots.put(entry(1, b"old"), b"old")
    split = mongo_snapshots._piece_names
    written: list[object] = []

    def dying(document: dict[str, object]) -> object:
        for name in split(document):
            if len(written) == 2:
                raise AutoReconnect("killed")
            written.append(name)
            yield name

    monkeypatch.setattr(mongo_snapshots, "_piece_names", dying)
    with pytest.raises(LogUnavailableError):
        mongo_log.snapshots.put(entry(1, b"x" * LARGE_BYTES), b"x" * LARGE_BYTES)
    monkeypatch.undo()
    assert mongo_log.snapshots.get(1) == b"old"
    assert mongo_log.snapshots.entries() == [entry(1, b"old")]
    assert pieces(mongo_log) == 3

    link_of(mongo_log).database()[mongo_snapshots.PIECES].update_many(
        {}, {"$set": {"written_at": 0}}
    )
    mongo_log.snapshots.put(entry(2, b"new"), b"new")

    assert pieces(mongo_log) == 2
    assert mongo_log.snapshots.get(1) == b"old"


def test_a_look_for_abandoned_pieces_reads_none(mongo_log: MongoLog) -> None:
    """They are large and many, and it comes with each snapshot; an index answers it."""
    mongo_log.snapshots.put(entry(1, b"x"), b"x")
    database = link_of(mongo_log).database()
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
    link_of(mongo_log).database()[mongo_snapshots.PIECES].delete_one({})

    assert mongo_log.snapshots.get(1) is None


def test_a_foreign_document_is_no_obstacle(
    mongo_log: MongoLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else's collection of the same name is told, and the log is folded without it."""
    link_of(mongo_log).database()["snapshots"].insert_one({"ns": "default", "title": "holidays"})

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
