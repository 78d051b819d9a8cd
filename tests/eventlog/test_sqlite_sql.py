"""The SQLite log under SQL: what a person in the shell can see, and what nobody can change."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from eventq.core.commits import KINDS, AnyBody, encode_bodies
from eventq.core.events import (
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Noted,
    Progressed,
    Released,
    Retried,
    Saved,
    Updated,
)
from eventq.core.values import ErrorInfo, Policy
from eventq.errors import LogConflictError
from eventq.eventlog import open_log
from eventq.eventlog.contract import Head, Kept
from eventq.eventlog.sqlite import schema
from eventq.eventlog.sqlite.log import SqliteLog
from eventq.eventlog.sqlite.views import VIEWS
from eventq.verify import verify
from tests.driver import append_texts, task_in
from tests.eventlog.commits import AT, append, commit_after

# Runs one statement with the standard library's SQLite: another process, since two SQLite
# libraries in one process drop each other's locks.
SHELL = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
try:
    rows = connection.execute(sys.argv[2]).fetchall()
    connection.commit()
except sqlite3.Error as error:
    rows = str(error)
print(json.dumps(rows))
"""


def shell(path: Path, statement: str) -> Any:  # noqa: ANN401 - what SQLite gives
    """Runs a statement as a person would; gives its rows, or its error as text."""
    command = [sys.executable, "-c", SHELL, str(path), statement]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(ran.stdout)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET body = '{}' WHERE place = 1099511627778",
        "UPDATE events SET seal = NULL",
        "UPDATE namespaces SET name = 'other'",
        "DELETE FROM events WHERE place = 1099511627778",
        "DELETE FROM namespaces",
        "INSERT INTO events SELECT * FROM events WHERE 1 ON CONFLICT DO UPDATE SET at = 0",
    ],
)
def test_shell_cannot_change_the_log(sqlite_log: SqliteLog, path: Path, statement: str) -> None:
    """Plain SQL that would change or remove what is stored is told that the log is append-only."""
    commit = append(sqlite_log, 3)

    said = shell(path, statement)

    assert "the log is append-only" in said
    assert sqlite_log.read(after=0) == [commit]


def test_a_commit_whose_end_was_replaced_is_found(sqlite_log: SqliteLog, path: Path) -> None:
    """No trigger refuses it, which would cost each insert a look-up, but its seal does not fit."""
    append(sqlite_log, 3)

    shell(
        path,
        "REPLACE INTO events SELECT place, at, task, key, cause, count, 'other', seal, body "
        "FROM events WHERE seal IS NOT NULL",
    )

    [finding] = verify(sqlite_log, indexes="none").findings[:1]
    assert (finding.seq, finding.rule) == (1, "seal")


def test_table_refuses_a_wrong_type(sqlite_log: SqliteLog, path: Path) -> None:
    """The tables are strict: text is no instant."""
    append(sqlite_log)

    said = shell(path, "INSERT INTO events (place, at, task, body) VALUES (2, 'x', 2, '{}')")

    assert said == "cannot store TEXT value in INTEGER column events.at"


def test_database_says_whose_it_is(sqlite_log: SqliteLog, path: Path) -> None:
    """The file is marked as eventq's with the version of its schema, and is in WAL mode."""
    append(sqlite_log)

    marks = [shell(path, f"PRAGMA {name}") for name in ("application_id", "user_version")]

    assert marks == [[[schema.APPLICATION_ID]], [[schema.SCHEMA_VERSION]]]
    assert shell(path, "PRAGMA journal_mode") == [["wal"]]
    assert shell(path, "PRAGMA integrity_check") == [["ok"]]


POLICY = Policy(backoff="linear", backoff_us=0)


def tell(log: SqliteLog, *told: tuple[int, AnyBody], key: str | None = None, at: int = AT) -> None:
    """Appends events as a node would, in one commit."""
    bodies = encode_bodies([body for _, body in told])
    tasks = [task for task, _ in told]
    keys = {key: 0} if key else None
    log.append(commit_after(log.head(), tasks=tasks, bodies=bodies, keys=keys, at=at))


@pytest.fixture
def told(sqlite_log: SqliteLog) -> SqliteLog:
    """A log in which one task retried after an error and another expired."""
    failed = Failed(fence=2, error=ErrorInfo(type="OSError", message="disk on fire"))
    tell(sqlite_log, (1, Created(POLICY, key="first")), key="first")
    tell(sqlite_log, (1, Leased(1, "node", 5)), at=AT + 1)
    tell(sqlite_log, (1, failed), (1, Retried(scheduled_at=AT + 9)), at=AT + 1_000_002)
    tell(sqlite_log, (5, Created(POLICY)), (5, Leased(1, "node", 5)), at=AT + 1_000_002)
    tell(sqlite_log, (5, Released(6)), (5, Leased(1, "node", 5)), at=AT + 1_000_002)
    bare = Failed(fence=8, error=ErrorInfo(type="ValueError"))
    tell(sqlite_log, (5, bare), (5, Expired("max_retries")), at=AT + 1_000_002)
    tell(sqlite_log, (5, Updated(priority=3)), at=AT + 1_000_002)
    return sqlite_log


@pytest.mark.usefixtures("told")
def test_history_view_is_readable(path: Path) -> None:
    """The view `history` shows each event with its namespace, UTC time, kind, task and key."""
    rows = shell(path, "SELECT * FROM history WHERE task = 1 ORDER BY seq")

    assert [row[:6] for row in rows] == [
        ["default", 1, "2023-11-14T22:13:20.000000Z", "created", 1, "first"],
        ["default", 2, "2023-11-14T22:13:20.000001Z", "leased", 1, None],
        ["default", 3, "2023-11-14T22:13:21.000002Z", "failed", 1, None],
        ["default", 4, "2023-11-14T22:13:21.000002Z", "retried", 1, None],
    ]
    assert json.loads(rows[1][6]) == {"kind": "leased", "attempt": 1, "worker": "node", "ttl_us": 5}


@pytest.mark.usefixtures("told")
def test_task_states_view_tells_how_tasks_stand(path: Path) -> None:
    """The view `task_states` has one row a task: key, creation, state, attempts, last error."""
    rows = shell(path, "SELECT * FROM task_states ORDER BY task")

    first, second = "2023-11-14T22:13:20.000000Z", "2023-11-14T22:13:21.000002Z"
    error = "OSError: disk on fire"
    # Its tags; no schedule with its due, flow, predecessors, limits, share, trace.
    plain = ["{}", *[None] * 7]
    assert rows == [
        ["default", 1, "first", first, None, "default", "scheduled", 1, error, None, *plain],
        ["default", 5, "5", second, None, "default", "expired", 1, "ValueError", None, *plain],
    ]


def test_task_states_view_tells_how_far_an_attempt_has_come(
    sqlite_log: SqliteLog, path: Path
) -> None:
    """By its last word; what it tells changes no state, and its completion ends it."""
    half, note = Progressed(2, done=1, total=2, note="pages"), Noted(2)
    tell(sqlite_log, (1, Created(POLICY)), (1, Leased(1, "node", 5)))
    seen = []
    for body in (Progressed(2, done=3), half, Saved(2), note, Completed(2)):
        tell(sqlite_log, (1, body), at=AT + 1)
        seen += shell(path, "SELECT state, progress FROM task_states")

    assert seen == [
        ["leased", "3"],
        *[["leased", "1 of 2 pages"]] * 3,
        ["completed", None],
    ]


EDITED = '{"kind":"updated","priority":2}'


def test_task_states_view_knows_names_snoozes_and_newer_kinds(
    sqlite_log: SqliteLog, path: Path
) -> None:
    """It says what a fold says: a known end is believed, what may be skipped changes nothing."""
    created = '{"kind":"created","policy":{"backoff":"linear","backoff_us":1}'
    leased, failed = (
        '{"kind":"leased","attempt":1,"worker":"n","ttl_us":9}',
        '"error":{"type":"E"}}',
    )
    frozen, told = '{"kind":"frozen"}', '{"kind":"told","skip":true}'
    stories = {
        1: [created + ',"name":"a","lane":"b"}'],
        2: [created + "}", leased, '{"kind":"released","fence":3,"scheduled_at":9}'],
        5: [created + "}", leased, frozen, '{"kind":"failed","fence":6,' + failed],
        9: [created + "}", frozen, '{"kind":"expired","reason":"fatal"}', told],
        13: [created + "}", '{"kind":"cancelled"}', frozen],
        16: [created + "}", leased, told],
        19: [created + "}", '{"kind":"cancelled"}', frozen, leased],
        23: [created + "}", frozen],
        25: [created + ',"lane":"b"}', '{"kind":"updated","lane":"c"}', EDITED],
        28: [created + "}", '{"kind":"updated","lane":"c"}', '{"kind":"updated","lane":"default"}'],
    }
    for number, texts in stories.items():
        append_texts(sqlite_log, [number] * len(texts), *texts)

    rows = shell(path, "SELECT task, name, lane, state FROM task_states ORDER BY task")

    states = {row[0]: row[3] for row in rows}
    assert rows[0] == [1, "a", "b", "scheduled"]
    assert states == {
        1: "scheduled",
        2: "scheduled",
        5: "unknown",
        9: "expired",
        13: "cancelled",
        16: "leased",
        19: "unknown",
        23: "unknown",
        25: "scheduled",
        28: "scheduled",
    }
    assert [row[2] for row in rows[-2:]] == ["c", "default"]
    for number, state in states.items():
        assert task_in(sqlite_log, number).recorded_state == state


def test_task_states_view_knows_every_kind_about_a_task() -> None:
    """A kind that is not in its list would make tasks unknown."""
    listed = re.findall(r"'(\w+)'", VIEWS.split("body ->> '$.kind' IN (")[1].split(")")[0])

    beside = {"renewed", "joined", "left", "followed", "unfollowed"}
    beside |= {"planned", "unplanned", "ticked", "limited", "shared", "paused", "resumed"}
    beside |= {"bulk", "bulk_ended"}
    assert {*listed, "created", *beside} == KINDS


@pytest.mark.parametrize(
    "statement, index",
    [
        (schema.HEAD, "PRIMARY KEY (rowid>? AND rowid<?)"),
        (schema.FIND_END, "PRIMARY KEY (rowid>? AND rowid<?)"),
        (schema.FIND_COMMIT_ID, "PRIMARY KEY (rowid=?)"),
        (schema.READ_ENDS, "PRIMARY KEY (rowid>? AND rowid<?)"),
        (schema.READ_EVENTS, "PRIMARY KEY (rowid>? AND rowid<?)"),
        (schema.HISTORY, "INDEX events_by_task (task=? AND rowid>? AND rowid<?)"),
        (schema.find_keys(1), "INDEX events_by_key (<expr>=? AND key=?)"),
        (schema.find_keys(250), "INDEX events_by_key (<expr>=? AND key=?)"),
        ("SELECT * FROM task_states", "INDEX events_by_task (task=?)"),
    ],
)
def test_statement_goes_by_index(sqlite_log: SqliteLog, statement: str, index: str) -> None:
    """Each statement finds its rows by an index and never sorts or scans the events."""
    append(sqlite_log)
    values = [1] * max(map(int, re.findall(r"\?(\d+)", statement)), default=0)

    def explain(reader: apsw.Connection, _: int | None) -> list[str]:
        return [row[3] for row in reader.execute(f"EXPLAIN QUERY PLAN {statement}", values)]

    plan = sqlite_log.connection.ask(explain)

    assert any(step.endswith(index) for step in plan)
    assert not any("TEMP B-TREE" in step for step in plan)
    assert [step for step in plan if step.startswith("SCAN events")] == []


def test_reading_pins_no_wal(sqlite_log: SqliteLog, path: Path) -> None:
    """Checkpoints keep the WAL short while a log is read and written without end."""
    for _ in range(60):
        append(sqlite_log, 1_000)
        sqlite_log.read(after=0, limit=5_000)
        sqlite_log.history(1)

    wal_bytes = path.with_name("log.db-wal").stat().st_size

    assert wal_bytes < 6 * 1024 * 1024


def test_commits_are_synced(sqlite_log: SqliteLog) -> None:
    """The writer syncs at each commit: less has lost acknowledged commits in power cuts."""
    append(sqlite_log)

    level = sqlite_log.connection.change(lambda writer, _: writer.pragma("synchronous"))

    assert level == 2


def test_the_head_is_remembered_while_nobody_else_has_written(
    sqlite_log: SqliteLog, path: Path
) -> None:
    """Any other change to the file, and any of this log's that is no append, has it asked anew."""

    def remembered() -> int | None:
        head = sqlite_log.connection.change(
            lambda writer, _: sqlite_log.connection.head_left(writer)
        )
        return None if head is None else head.seq

    assert remembered() is None
    append(sqlite_log, 2)
    assert remembered() == 2
    append(sqlite_log, 3)
    # What is refused changes nothing.
    with pytest.raises(LogConflictError):
        sqlite_log.append(commit_after(Head(1, AT, b"")))
    assert remembered() == 5
    with closing(open_log(f"sqlite:///{path}", namespace="other", create=False)) as other:
        append(other)
    assert remembered() is None
    append(sqlite_log)
    sqlite_log.keep([Kept(1, 2, "key", "{}")])
    assert remembered() is None


def test_a_head_is_not_remembered_by_a_new_connection(sqlite_log: SqliteLog, path: Path) -> None:
    """Its count of changes begins anew, and would meet the old one's by chance."""
    append(sqlite_log)
    sqlite_log.connection.before_fork()
    sqlite_log.connection.after_fork_in_parent()
    with closing(open_log(f"sqlite:///{path}", namespace="default", create=False)) as other:
        append(other)
    # The first change by the new connection, as the append was by the old one.
    sqlite_log.keep([Kept(1, 1, "key", "{}")])

    append(sqlite_log)

    assert sqlite_log.head().seq == 3
