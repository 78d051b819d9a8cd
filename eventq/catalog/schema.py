"""The SQL of the catalog: its tables, its indexes, and the statements that fill them.

A task is one row of `tasks`: what never changes, how it looked at first, and how it looks now. How
it looked between these is in `past`, one row a look. Each look holds from one position up to
another, so that any position can be asked about. All instants are microseconds since the first
event. A column that is NULL has its commonest value, which is what keeps the file small.
"""

from __future__ import annotations

from eventq.core.task import TaskState

# "evcq" in ASCII; the log's own is "evtq".
APPLICATION_ID = 0x65766371
# To be raised whenever equal logs make another catalog than before: an older one is made anew.
VERSION = 4

STATES = (
    TaskState.WAITING,
    TaskState.SCHEDULED,
    TaskState.LEASED,
    TaskState.FAILED,
    TaskState.COMPLETED,
    TaskState.EXPIRED,
    TaskState.CANCELLED,
    TaskState.UNKNOWN,
)
CODES = {state: code for code, state in enumerate(STATES)}
WAITING, SCHEDULED, LEASED, FAILED, COMPLETED, EXPIRED, CANCELLED, UNKNOWN = range(8)
FINAL = frozenset({COMPLETED, EXPIRED, CANCELLED})

TABLES = """
-- Whose catalog this is, and how far it has come.
CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Texts that come again and again, by what they are: names, lanes, sets of nodes or of people.
CREATE TABLE words (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, text TEXT NOT NULL);
CREATE UNIQUE INDEX words_by_text ON words (kind, text);

CREATE TABLE errors (
    id INTEGER PRIMARY KEY,
    type INTEGER NOT NULL,
    message TEXT NOT NULL,
    place TEXT NOT NULL
);
CREATE UNIQUE INDEX errors_by_content ON errors (message, type, place);

-- `first_to` is where its first look ended, NULL while it lasts; `since` is where the last began.
-- `lane` is the one that it was made in, `moved` the one that it is in instead; NULL: in the first.
-- `node` is that of its last lease. `fork` is a position inside a look by which it is found: see
-- forks.py. `secret` are the names of tags that are not here.
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY,
    key TEXT,
    name INTEGER,
    lane INTEGER,
    created_at INTEGER NOT NULL,
    flow INTEGER,
    schedule INTEGER,
    first_to INTEGER,
    first_fork INTEGER,
    first_state INTEGER,
    first_priority INTEGER,
    first_scheduled_at INTEGER,
    since INTEGER NOT NULL,
    state INTEGER NOT NULL,
    priority INTEGER,
    attempts INTEGER,
    scheduled_at INTEGER,
    ended_at INTEGER,
    last_seq INTEGER,
    last_at INTEGER NOT NULL,
    error INTEGER,
    nodes INTEGER,
    node INTEGER,
    people INTEGER,
    waited INTEGER,
    ran INTEGER,
    lapses INTEGER,
    refused INTEGER,
    late INTEGER,
    fence INTEGER,
    tags_seq INTEGER,
    newer INTEGER,
    moved INTEGER,
    ready_at INTEGER,
    secret INTEGER
);

-- Rows are in the order of `to_seq`; `became` is the state of the look that came next.
CREATE TABLE past (
    task INTEGER NOT NULL,
    from_seq INTEGER NOT NULL,
    to_seq INTEGER NOT NULL,
    fork INTEGER NOT NULL,
    state INTEGER NOT NULL,
    priority INTEGER,
    attempts INTEGER,
    scheduled_at INTEGER,
    ended_at INTEGER,
    last_seq INTEGER,
    last_at INTEGER NOT NULL,
    error INTEGER,
    nodes INTEGER,
    node INTEGER,
    people INTEGER,
    waited INTEGER,
    ran INTEGER,
    lapses INTEGER,
    refused INTEGER,
    late INTEGER,
    fence INTEGER,
    tags_seq INTEGER,
    newer INTEGER,
    moved INTEGER,
    became INTEGER NOT NULL
);

-- Tags by the position of the event that set them: a task's number, or an `updated` event's.
CREATE TABLE tags (seq INTEGER PRIMARY KEY, json BLOB NOT NULL);
CREATE TABLE tag_edits (seq INTEGER PRIMARY KEY, task INTEGER NOT NULL);

-- What is still waited for, and flows that go on, as the fold needs them to go on.
CREATE TABLE links (number INTEGER PRIMARY KEY, link BLOB NOT NULL);
CREATE TABLE flows (number INTEGER PRIMARY KEY, flow BLOB NOT NULL);

-- What people and programs have asked for.
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    task INTEGER NOT NULL,
    by TEXT,
    reason TEXT NOT NULL,
    via TEXT,
    bulk INTEGER,
    undoes INTEGER
);

-- What happened in each minute, by the name of the task (0: none).
CREATE TABLE minutes (
    minute INTEGER,
    name INTEGER,
    counts BLOB NOT NULL,
    PRIMARY KEY (minute, name)
) WITHOUT ROWID;

-- The last position in each minute.
CREATE TABLE moments (minute INTEGER PRIMARY KEY, seq INTEGER NOT NULL);

-- Both hold no text, only which rows have a word.
CREATE VIRTUAL TABLE tag_words USING fts5(
    words, content='', detail=none, columnsize=0, tokenize=ascii
);
CREATE VIRTUAL TABLE error_words USING fts5(
    message, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1'
);
"""

# Made when a new catalog is filled: sorting once is quicker than inserting in between.
INDEXES = """
CREATE INDEX past_by_fork ON past (state, fork);
CREATE INDEX tasks_by_first_fork ON tasks (first_fork) WHERE first_fork IS NOT NULL;
CREATE INDEX tasks_by_state ON tasks (state, number) WHERE state <> 4;
CREATE INDEX tasks_by_name ON tasks (name, number) WHERE name IS NOT NULL;
CREATE INDEX tasks_by_error ON tasks (error, number) WHERE error IS NOT NULL;
CREATE INDEX tasks_by_flow ON tasks (flow, number) WHERE flow IS NOT NULL;
CREATE INDEX tasks_by_schedule ON tasks (schedule, number) WHERE schedule IS NOT NULL;
CREATE INDEX tasks_by_key ON tasks (key) WHERE key IS NOT NULL;
CREATE INDEX tasks_by_people ON tasks (people, number) WHERE people IS NOT NULL;
CREATE INDEX tasks_by_last ON tasks (coalesce(last_seq, since));
CREATE INDEX tasks_by_lapses ON tasks (lapses) WHERE lapses IS NOT NULL;
CREATE INDEX tasks_by_refused ON tasks (refused) WHERE refused IS NOT NULL;
CREATE INDEX tasks_by_attempts ON tasks (attempts) WHERE attempts > 1;
CREATE INDEX tasks_by_ran ON tasks (ran) WHERE ran >= 60000000;
CREATE INDEX tasks_by_waited ON tasks (waited) WHERE waited >= 60000000;
CREATE INDEX tasks_by_ended ON tasks (number) WHERE ended_at IS NOT NULL;
CREATE INDEX changes_by_bulk ON changes (bulk) WHERE bulk IS NOT NULL;
"""

PUT_ABOUT = "INSERT OR REPLACE INTO about (name, value) VALUES (?, ?)"
GET_ABOUT = "SELECT name, value FROM about"

FIND_WORD = "SELECT id FROM words WHERE kind = ? AND text = ?"
ADD_WORD = "INSERT INTO words (kind, text) VALUES (?, ?)"
GET_WORD = "SELECT text FROM words WHERE id = ?"
GET_ERROR = """
SELECT words.text, errors.message, errors.place
FROM errors JOIN words ON words.id = errors.type
WHERE errors.id = ?
"""
WORDS_OF = "SELECT id, text FROM words WHERE kind = ?"
FIND_ERROR = "SELECT id FROM errors WHERE message = ? AND type = ? AND place = ?"
ADD_ERROR = "INSERT INTO errors (message, type, place) VALUES (?, ?, ?)"
ADD_ERROR_WORDS = "INSERT INTO error_words (rowid, message) VALUES (?, ?)"

LOAD_TASK = """
SELECT key, name, lane, created_at, flow, schedule, first_to, first_state, first_priority,
    first_scheduled_at, since, state, priority, attempts, scheduled_at, ended_at, last_seq,
    last_at, error, nodes, node, people, waited, ran, lapses, refused, late, fence, tags_seq, newer,
    moved, ready_at, secret
FROM tasks
WHERE number = ?
"""
LAST_CREATED = """
SELECT created_at, number FROM tasks WHERE number <= ? ORDER BY number DESC LIMIT 1
"""
FIRST_CREATED = """
SELECT number FROM tasks WHERE number > ? ORDER BY number LIMIT 1
"""
ADD_TASK = """
INSERT INTO tasks (
    number, key, name, lane, created_at, flow, schedule, first_to, first_fork, first_state,
    first_priority, first_scheduled_at, since, state, priority, attempts, scheduled_at, ended_at,
    last_seq, last_at, error, nodes, node, people, waited, ran, lapses, refused, late, fence,
    tags_seq, newer, moved, ready_at, secret
) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?
)
"""
CHANGE_TASK = """
UPDATE tasks
SET (
    first_to, first_fork, since, state, priority, attempts, scheduled_at, ended_at, last_seq,
    last_at, error, nodes, node, people, waited, ran, lapses, refused, late, fence, tags_seq, newer,
    moved, ready_at
)
    = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
WHERE number = ?
"""
ADD_PAST = """
INSERT INTO past (
    task, from_seq, to_seq, fork, state, priority, attempts, scheduled_at, ended_at, last_seq,
    last_at, error, nodes, node, people, waited, ran, lapses, refused, late, fence, tags_seq, newer,
    moved, became
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
ADD_TAGS = "INSERT INTO tags (seq, json) VALUES (?, ?)"
ADD_TAG_EDIT = "INSERT INTO tag_edits (seq, task) VALUES (?, ?)"
ADD_TAG_WORDS = "INSERT INTO tag_words (rowid, words) VALUES (?, ?)"
ADD_CHANGE = """
INSERT INTO changes (seq, at, kind, task, by, reason, via, bulk, undoes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
PUT_LINK = "INSERT OR REPLACE INTO links (number, link) VALUES (?, ?)"
DROP_LINK = "DELETE FROM links WHERE number = ?"
PUT_FLOW = "INSERT OR REPLACE INTO flows (number, flow) VALUES (?, ?)"
DROP_FLOW = "DELETE FROM flows WHERE number = ?"
GET_MINUTE = "SELECT counts FROM minutes WHERE minute = ? AND name = ?"
PUT_MOMENT = "INSERT OR REPLACE INTO moments (minute, seq) VALUES (?, ?)"
PUT_MINUTE = "INSERT OR REPLACE INTO minutes (minute, name, counts) VALUES (?, ?, ?)"
