"""The SQL of the SQLite log: its tables, its views for people, and every statement it runs."""

from __future__ import annotations

from functools import cache

from eventq.core.events import Commit

# "evtq" in ASCII; `file jobs.db` and other tools show it.
APPLICATION_ID = 0x65767471
SCHEMA_VERSION = 1

# How many rows one INSERT carries. Fewer rows cost more statements, each of which gives up the
# GIL; at 1,000 rows a statement SQLite is slower by a factor of four.
INSERT_ROWS = 250
# Remainders are inserted in one statement of a multiple of this many rows and one of fewer, so
# that a few dozen prepared texts serve every size of commit.
INSERT_STEP = 16
# How many keys one lookup asks for.
LOOKUP_KEYS = 250

TABLES = """
CREATE TABLE namespaces (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- One row a commit: the events it appended (positions first to first + count - 1), when
-- (microseconds since 1970, UTC), its random id, and the seal that chains it to the one before.
CREATE TABLE commits (
    ns INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    at INTEGER NOT NULL,
    id TEXT NOT NULL,
    seal BLOB NOT NULL,
    PRIMARY KEY (ns, first)
) STRICT, WITHOUT ROWID;

-- One row an event. `task` is the position of the task's `created` event, 0 for a node;
-- `key` is the caller's own key, on `created` events only. The kind stands in the body, and as a
-- column in the view `history`: here, even a virtual one costs a quarter of the insert rate.
CREATE TABLE events (
    ns INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    task INTEGER NOT NULL,
    key TEXT,
    body TEXT NOT NULL,
    PRIMARY KEY (ns, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX events_by_task ON events (ns, task);
CREATE UNIQUE INDEX events_by_key ON events (ns, key) WHERE key IS NOT NULL;
"""

# INSERT OR REPLACE removes rows without firing DELETE triggers. Refusing it costs a look-up a
# row, which a commit bears but its events do not (a quarter of the insert rate), so a replaced
# event is left for the seals to show.
DELETE_GUARDS = """
CREATE TRIGGER commits_no_delete BEFORE DELETE ON commits
BEGIN SELECT RAISE(ABORT, 'the log is append-only: a commit is never deleted'); END;

CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only: an event is never deleted'); END;
"""
# Only a cut of archived events drops them, and only inside its transaction, which also puts back a
# guard that was dropped by hand.
DROP_DELETE_GUARDS = """
DROP TRIGGER IF EXISTS commits_no_delete;
DROP TRIGGER IF EXISTS events_no_delete;
"""

GUARDS = """
CREATE TRIGGER namespaces_no_update BEFORE UPDATE ON namespaces
BEGIN SELECT RAISE(ABORT, 'the log is append-only: a namespace is never changed'); END;

CREATE TRIGGER namespaces_no_delete BEFORE DELETE ON namespaces
BEGIN SELECT RAISE(ABORT, 'the log is append-only: a namespace is never deleted'); END;

CREATE TRIGGER commits_no_update BEFORE UPDATE ON commits
BEGIN SELECT RAISE(ABORT, 'the log is append-only: a commit is never changed'); END;

CREATE TRIGGER commits_no_replace BEFORE INSERT ON commits
WHEN EXISTS (SELECT 1 FROM commits WHERE ns = NEW.ns AND first = NEW.first)
BEGIN SELECT RAISE(ABORT, 'the log is append-only: a commit is never replaced'); END;

CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only: an event is never changed'); END;
"""

VIEWS = """
-- Every event, readable: when it happened in UTC, what happened, to which task.
CREATE VIEW history AS
SELECT
    namespaces.name AS namespace,
    events.seq AS seq,
    strftime('%Y-%m-%dT%H:%M:%S', events.at / 1000000, 'unixepoch')
        || printf('.%06dZ', events.at % 1000000) AS time,
    events.body ->> '$.kind' AS kind,
    events.task AS task,
    events.key AS key,
    events.body AS body
FROM events JOIN namespaces ON namespaces.id = events.ns;

-- Every task as its events leave it. A scheduled task is ready once its time has come. Without
-- statistics the planner would walk the whole log for each task, hence INDEXED BY.
CREATE VIEW task_states AS
SELECT
    namespaces.name AS namespace,
    created.task AS task,
    coalesce(created.key, CAST(created.task AS TEXT)) AS key,
    strftime('%Y-%m-%dT%H:%M:%S', created.at / 1000000, 'unixepoch')
        || printf('.%06dZ', created.at % 1000000) AS created,
    (
        SELECT CASE body ->> '$.kind'
            WHEN 'created' THEN 'scheduled'
            WHEN 'retried' THEN 'scheduled'
            WHEN 'released' THEN 'scheduled'
            ELSE body ->> '$.kind'
        END
        FROM events INDEXED BY events_by_task
        WHERE ns = created.ns
            AND task = created.task
            AND body ->> '$.kind' NOT IN ('updated', 'refused')
        ORDER BY seq DESC
        LIMIT 1
    ) AS state,
    (
        SELECT
            count(*) FILTER (WHERE body ->> '$.kind' = 'leased')
            - count(*) FILTER (WHERE body ->> '$.kind' = 'released')
        FROM events INDEXED BY events_by_task
        WHERE ns = created.ns AND task = created.task
    ) AS attempts,
    (
        SELECT (body ->> '$.error.type') || coalesce(': ' || (body ->> '$.error.message'), '')
        FROM events INDEXED BY events_by_task
        WHERE ns = created.ns AND task = created.task AND body ->> '$.kind' = 'failed'
        ORDER BY seq DESC
        LIMIT 1
    ) AS last_error
FROM events AS created JOIN namespaces ON namespaces.id = created.ns
WHERE created.seq = created.task;
"""

MARKS = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

# Writes page 1 as it is: a transaction that changes nothing and is on the disk all the same.
REWRITE_SCHEMA_VERSION = f"PRAGMA user_version = {SCHEMA_VERSION}"

BEGIN = "BEGIN IMMEDIATE"
COMMIT = "COMMIT"
ROLLBACK = "ROLLBACK"

FIND_NAMESPACE = "SELECT id FROM namespaces WHERE name = ?1"

INSERT_NAMESPACE = "INSERT INTO namespaces (name) VALUES (?1) RETURNING id"

LIST_NAMESPACES = "SELECT name FROM namespaces"

HEAD = """
SELECT first + count - 1, at, seal
FROM commits
WHERE ns = ?1
ORDER BY first DESC
LIMIT 1
"""

INSERT_COMMIT = """
INSERT INTO commits (ns, first, count, at, id, seal)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
"""

FIND_COMMIT_ID = """
SELECT commits.id
FROM commits JOIN namespaces ON namespaces.id = commits.ns
WHERE namespaces.name = ?1 AND commits.first = ?2
"""

# The statements below return one row each, however much they read: each row would give up the
# GIL, and next to busy threads it can take 5 ms to get it back.

# ?1 namespace, ?2 the position after which to read. The last commit that can hold the position
# asked for, the one before it (whose seal is its `prev`), and where the next begins, if any does:
# asked in one statement, since a commit may come in between two.
FIND_START = """
SELECT first, count, seal, (SELECT min(first) FROM commits WHERE ns = ?1 AND first > ?2)
FROM commits
WHERE ns = ?1 AND first <= ?2 + 1
ORDER BY first DESC
LIMIT 2
"""

# ?1 namespace, ?2 and ?3 where to begin and end.
READ_COMMITS = """
SELECT
    group_concat(first),
    group_concat(count),
    group_concat(at),
    group_concat(id, char(10)),
    group_concat(hex(seal), '')
FROM (
    SELECT first, count, at, id, seal
    FROM commits
    WHERE ns = ?1 AND first >= ?2 AND first < ?3
    ORDER BY first
)
"""

# ?1 namespace, ?2 and ?3 where to begin and end.
READ_EVENTS = """
SELECT
    count(*),
    group_concat(at),
    group_concat(task),
    group_concat(body, char(10)),
    json_group_array(json_array(key, seq)) FILTER (WHERE key IS NOT NULL)
FROM (
    SELECT seq, at, task, key, body
    FROM events
    WHERE ns = ?1 AND seq >= ?2 AND seq < ?3
    ORDER BY seq
)
"""

# Where a range is damaged: the first position that is missing or whose instant is not its
# commit's.
FIND_DAMAGE = """
WITH RECURSIVE positions (seq) AS (
    SELECT ?2
    UNION ALL
    SELECT seq + 1 FROM positions WHERE seq < ?3
)
SELECT positions.seq, events.seq IS NULL
FROM positions LEFT JOIN events ON events.ns = ?1 AND events.seq = positions.seq
WHERE events.at IS NOT (
    SELECT at
    FROM commits
    WHERE ns = ?1 AND first <= positions.seq
    ORDER BY first DESC
    LIMIT 1
)
ORDER BY positions.seq
LIMIT 1
"""

HISTORY = """
SELECT count(*), group_concat(seq), group_concat(at), group_concat(body, char(10))
FROM (
    SELECT seq, at, body
    FROM events INDEXED BY events_by_task
    WHERE ns = ?1 AND task = ?2
    ORDER BY seq
)
"""


def statement_rows(left: int) -> int:
    """How many of the rows left the next INSERT takes: see INSERT_ROWS and INSERT_STEP."""
    if left >= INSERT_ROWS:
        return INSERT_ROWS
    return left - left % INSERT_STEP or left


@cache
def insert_events(rows: int, *, keyed: bool) -> str:
    """An INSERT of this many events.

    Parameters: namespace, position of the first row, instant; then all tasks, all bodies and,
    if ``keyed``, all keys. What the rows share is bound once, since binding costs too.
    """
    values = ",\n".join(
        f"(?1, ?2 + {row}, ?3, ?{4 + row}, ?{4 + rows + row}, "
        f"{f'?{4 + 2 * rows + row}' if keyed else 'NULL'})"
        for row in range(rows)
    )
    return f"INSERT INTO events (ns, seq, at, task, body, key)\nVALUES\n{values}"


@cache
def find_keys(count: int) -> str:
    """A lookup of this many keys; parameters: namespace, then the keys."""
    names = ", ".join(f"?{2 + index}" for index in range(count))
    return (
        "SELECT json_group_array(json_array(key, seq))\n"
        "FROM events\n"
        f"WHERE ns = ?1 AND key IS NOT NULL AND key IN ({names})"
    )


def key_column(commit: Commit) -> list[str | None]:
    """The key of each event of the commit."""
    column: list[str | None] = [None] * len(commit.bodies)
    last = commit.first - 1
    for key, seq in commit.keys.items():
        # They are read back in this order, and the order is sealed.
        assert seq > last, "keys stand in the order of their positions, one an event"
        column[seq - commit.first] = key
        last = seq
    return column
