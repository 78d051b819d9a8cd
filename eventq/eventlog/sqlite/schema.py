"""The SQL of the SQLite log: its tables, and the statements on events. Its views are in `views`."""

from __future__ import annotations

from functools import cache

from eventq.core.commits import Commit

# "evtq" in ASCII; `file jobs.db` and other tools show it.
APPLICATION_ID = 0x65767471
SCHEMA_VERSION = 3

# How many rows one INSERT carries. Fewer rows cost more statements, each of which gives up the
# GIL; at 1,000 rows a statement SQLite is slower by a factor of four.
INSERT_ROWS = 250
# Remainders are inserted in one statement of a multiple of this many rows and one of fewer, so
# that a few dozen prepared texts serve every size of commit.
INSERT_STEP = 16
# How many keys one lookup asks for.
LOOKUP_KEYS = 250

# An event's place holds its position in the last 40 bits, and the namespace's number above them.
LAST_POSITION = 1099511627775

TABLES = """
CREATE TABLE namespaces (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- One row an event. `place` is the namespace's id, shifted by 40 bits, and the event's position:
-- one number, so that a new event goes to the end of the table's last page. `task` is the position
-- of the task's `created` event, 0 for a node; `key` is the caller's own key, on `created` events
-- only. `cause` is the task whose end caused a `cancelled` event. The last event of a commit has
-- the number of the commit's events, its random id, and the seal that chains it to the commit
-- before. The kind stands in the body, and as a column in the
-- view `history`: here, even a virtual one costs a quarter of the insert rate.
CREATE TABLE events (
    place INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    task INTEGER NOT NULL,
    key TEXT,
    cause INTEGER,
    count INTEGER,
    id TEXT,
    seal BLOB,
    body TEXT NOT NULL
) STRICT;

-- A task's `created` event is found by its own position.
CREATE INDEX events_by_task ON events (task) WHERE task <> (place & 1099511627775);
CREATE UNIQUE INDEX events_by_key ON events (place >> 40, key) WHERE key IS NOT NULL;
CREATE INDEX events_by_cause ON events (cause) WHERE cause IS NOT NULL;
"""

# INSERT OR REPLACE removes rows without firing DELETE triggers. Refusing it costs a look-up a row,
# a quarter of the insert rate, so a replaced event is left for the seals to show.
DELETE_GUARD = """
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only: an event is never deleted'); END;
"""
# Only a cut of archived events drops it, and only inside its transaction, which also puts back a
# guard that was dropped by hand.
DROP_DELETE_GUARD = "DROP TRIGGER IF EXISTS events_no_delete"

GUARDS = """
CREATE TRIGGER namespaces_no_update BEFORE UPDATE ON namespaces
BEGIN SELECT RAISE(ABORT, 'the log is append-only: a namespace is never changed'); END;

CREATE TRIGGER namespaces_no_delete BEFORE DELETE ON namespaces
BEGIN SELECT RAISE(ABORT, 'the log is append-only: a namespace is never deleted'); END;

CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only: an event is never changed'); END;
"""

MARKS = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

# Writes page 1 as it is: a transaction that changes nothing and is on the disk all the same.
REWRITE_SCHEMA_VERSION = f"PRAGMA user_version = {SCHEMA_VERSION}"

ROLLBACK = "ROLLBACK"

FIND_NAMESPACE = "SELECT id FROM namespaces WHERE name = ?1"

INSERT_NAMESPACE = "INSERT INTO namespaces (name) VALUES (?1) RETURNING id"

LIST_NAMESPACES = "SELECT name FROM namespaces"

# In all of these ?1 is the namespace; without one, nothing is found.
# Rows without a seal behind the last commit are strays.
HEAD = """
SELECT place - (?1 << 40), at, seal
FROM events
WHERE place > (?1 << 40) AND place < ((?1 + 1) << 40) AND seal IS NOT NULL
ORDER BY place DESC
LIMIT 1
"""

# ?2 a position: the last commit that ends there or before it.
FIND_END = """
SELECT place - (?1 << 40), seal
FROM events
WHERE place > (?1 << 40) AND place <= (?1 << 40) + ?2 AND seal IS NOT NULL
ORDER BY place DESC
LIMIT 1
"""

# ?1 namespace's name, ?2 a position.
FIND_COMMIT_ID = """
SELECT events.id
FROM namespaces JOIN events ON events.place = (namespaces.id << 40) + ?2
WHERE namespaces.name = ?1
"""

# The statements below return one row each, however much they read: each row would give up the
# GIL, and next to busy threads it can take 5 ms to get it back.

# ?2 the end of the commit before, ?3 how many events to read until a commit ends. The last column
# counts rows that were changed by hand: a commit's columns are set together, and an id is one line.
READ_ENDS = """
SELECT
    group_concat(place - (?1 << 40)) FILTER (WHERE seal IS NOT NULL),
    group_concat(count),
    group_concat(id, char(10)),
    group_concat(hex(seal), ''),
    count(*) FILTER (
        WHERE seal IS NULL OR count IS NULL OR id IS NULL OR instr(id, char(10))
    )
FROM (
    SELECT place, count, id, seal
    FROM events
    WHERE place > (?1 << 40) + ?2
        AND place <= coalesce(
            (
                SELECT place
                FROM events
                WHERE place >= (?1 << 40) + ?2 + ?3
                    AND place < ((?1 + 1) << 40)
                    AND seal IS NOT NULL
                ORDER BY place
                LIMIT 1
            ),
            (
                SELECT place
                FROM events
                WHERE place > (?1 << 40) AND place < ((?1 + 1) << 40) AND seal IS NOT NULL
                ORDER BY place DESC
                LIMIT 1
            )
        )
        AND coalesce(seal, count, id) IS NOT NULL
    ORDER BY place
)
"""

# ?2 the end of the commit before, ?3 where to end.
READ_EVENTS = """
SELECT
    count(*),
    group_concat(at),
    group_concat(task),
    group_concat(body, char(10)),
    json_group_array(json_array(key, place - (?1 << 40))) FILTER (WHERE key IS NOT NULL)
FROM (
    SELECT place, at, task, key, body
    FROM events
    WHERE place > (?1 << 40) + ?2 AND place <= (?1 << 40) + ?3
    ORDER BY place
)
"""

# ?2 the end of the commit before, ?3 where to end. Whether a commit ends, and with how many.
FIND_DAMAGE = """
SELECT place - (?1 << 40), at, seal IS NOT NULL, count
FROM events
WHERE place > (?1 << 40) + ?2 AND place <= (?1 << 40) + ?3
ORDER BY place
"""

# ?2 the task.
HISTORY = """
SELECT count(*), group_concat(place - (?1 << 40)), group_concat(at), group_concat(body, char(10))
FROM (
    SELECT place, at, body
    FROM events
    WHERE place = (?1 << 40) + ?2 AND task = ?2
    UNION ALL
    SELECT place, at, body
    FROM events INDEXED BY events_by_task
    WHERE task = ?2
        AND place > (?1 << 40)
        AND place < ((?1 + 1) << 40)
        AND task <> (place & 1099511627775)
    ORDER BY place
)
"""

# The same for many tasks, named by the text of a JSON array.
HISTORIES = """
SELECT place - (?1 << 40), at, task, body
FROM (
    SELECT place, at, task, body
    FROM json_each(?2) AS wanted
    CROSS JOIN events
    WHERE place = (?1 << 40) + wanted.value AND task = wanted.value
    UNION ALL
    SELECT place, at, task, body
    FROM json_each(?2) AS wanted
    CROSS JOIN events INDEXED BY events_by_task
    WHERE task = wanted.value
        AND place > (?1 << 40)
        AND place < ((?1 + 1) << 40)
        AND task <> (place & 1099511627775)
    ORDER BY place
)
"""

# ?2 the task.
CAUSED_BY = """
SELECT DISTINCT cause, task
FROM json_each(?2) AS wanted
CROSS JOIN events INDEXED BY events_by_cause
WHERE cause = wanted.value AND place > (?1 << 40) AND place < ((?1 + 1) << 40)
"""


def statement_rows(left: int) -> int:
    """How many of the rows left the next INSERT takes: see INSERT_ROWS and INSERT_STEP."""
    if left >= INSERT_ROWS:
        return INSERT_ROWS
    return left - left % INSERT_STEP or left


@cache
def insert_events(rows: int, *, found: bool, ends: bool) -> str:
    """An INSERT of this many events, which with ``ends`` are the last of their commit.

    Parameters: namespace, position of the first row, instant; then all tasks, all bodies and, if
    some can be ``found`` by key or cause, all keys and all causes; and, if ``ends``, the commit's
    count, id and seal. What the rows share is bound once, since binding costs too.
    """
    parts = 4 if found else 2
    end = 4 + parts * rows
    values = ",\n".join(
        f"((?1 << 40) + ?2 + {row}, ?3, ?{4 + row}, ?{4 + rows + row}, "
        + (f"?{4 + 2 * rows + row}, ?{4 + 3 * rows + row}, " if found else "NULL, NULL, ")
        + (f"?{end}, ?{end + 1}, ?{end + 2})" if ends and row == rows - 1 else "NULL, NULL, NULL)")
        for row in range(rows)
    )
    return (
        f"INSERT INTO events (place, at, task, body, key, cause, count, id, seal)\nVALUES\n{values}"
    )


@cache
def find_keys(count: int) -> str:
    """A lookup of this many keys; parameters: namespace, then the keys."""
    names = ", ".join(f"?{2 + index}" for index in range(count))
    return (
        "SELECT json_group_array(json_array(key, place - (?1 << 40)))\n"
        "FROM events\n"
        f"WHERE place >> 40 = ?1 AND key IS NOT NULL AND key IN ({names})"
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
