"""A small log with every kind and every field, and the hands that change it behind eventq's back.

A change is told as fields of `Commit`s, and written straight into the file or the database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from eventq.core.command import NEW, Draft
from eventq.core.commits import Commit
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Refused,
    Released,
    Reopening,
    Retried,
    Updated,
)
from eventq.core.queue_events import Renewed
from eventq.core.seal import genesis, seal_commit
from eventq.core.values import NODE, ErrorInfo, Policy
from eventq.eventlog import EventLog, open_log
from eventq.eventlog.causes import causes_of
from eventq.eventlog.lines import header, to_line
from eventq.verify import Anchor, Verdict, verify
from tests.driver import sealed
from tests.eventlog.commits import BASE

Path_ = tuple[str, ...]

FULL = Policy("exponential", 10, 80, 0.5, 1, 9_000, 700)
PLAIN = Policy("linear", 10)
ERROR = ErrorInfo("OSError", "no space", "Traceback: line 1")
ALL_OF_2 = Reopening("expired", FULL, 1_000, 2, "order:2", 0, Raw(b'{"n":"2"}'), 10_600, ERROR)
STORY: list[tuple[int, list[Draft]]] = [
    (
        1_000,
        [
            (NEW, Created(FULL, "order:1", 5, Raw(b'{"n":"1"}'), 1_000, 10_000)),
            (NEW, Created(FULL, "order:2", 0, Raw(b'{"n":"2"}'), None, 10_000)),
            (NEW, Created(PLAIN, "order:3", 1, Raw(b'{"n":"3"}'), 5_000)),
        ],
    ),
    (1_000, [(1, Leased(1, "host-a", 300)), (2, Leased(1, "host-a", 300))]),
    (1_100, [(1, Completed(4, Raw(b'{"ok":"yes"}')))]),
    (1_200, [(2, Failed(5, ERROR)), (2, Retried(1_300, by="rule"))]),
    (1_250, [(3, Updated(7, Raw(b'{"n":"33"}'), 1_250, by="ada"))]),
    (1_260, [(3, Leased(1, "host-b", 300)), (NODE, Renewed("host-b", 300))]),
    (1_270, [(3, Released(10, "stopping"))]),
    (1_300, [(3, Leased(1, "host-a", 300)), (2, Leased(2, "host-a", 300))]),
    (
        1_400,
        [
            (3, Completed(13, result_missing="too large")),
            (2, Failed(14, ERROR)),
            (2, Expired("max_retries")),
        ],
    ),
    (1_500, [(2, Refused(5, "host-b", "completed"))]),
    (1_600, [(2, Retried(1_600, ALL_OF_2, by="ada"))]),
    (1_700, [(2, Cancelled(reason="enough", by="ada"))]),
    (
        1_800,
        [
            (NEW, Created(PLAIN, None, 0, Raw(b'{"n":"21"}'), None, 1_900)),
            (NEW, Created(PLAIN, "order:22", 0, Raw(b'{"n":"22"}'))),
        ],
    ),
    (1_950, [(21, Expired("max_age"))]),
    (2_000, [(22, Leased(1, "host-c", 300))]),
]


def story() -> list[Commit]:
    """The commits of the log."""
    commits: list[Commit] = []
    for at, drafts in STORY:
        before = commits[-1] if commits else None
        first, prev = (before.last + 1, before.seal) if before else (1, None)
        commits.append(sealed(drafts, first=first, at=at, prev=prev))
    return commits


COMMITS = story()
LAST = COMMITS[-1].last


def commit_of(seq: int) -> int:
    """The index of the commit that holds a position."""
    return next(index for index, commit in enumerate(COMMITS) if seq <= commit.last)


def body_at(seq: int) -> dict[str, Any]:
    """The body at a position, as JSON has it."""
    commit = COMMITS[commit_of(seq)]
    body: dict[str, Any] = json.loads(commit.bodies[seq - commit.first])
    return body


def leaves(value: object, path: Path_ = ()) -> Iterator[Path_]:
    """The path to each value in a body that holds no other."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path


FIELDS = [(seq, path) for seq in range(1, LAST + 1) for path in leaves(body_at(seq))]
EACH_FIELD = pytest.mark.parametrize(
    "seq, path", FIELDS, ids=[f"{seq}-{'.'.join(path)}" for seq, path in FIELDS]
)


# Other values that mean something too, where any other text would not.
OTHERWISE = {
    "exponential": "linear",
    "linear": "constant",
    "expired": "cancelled",
    "completed": "failed",
    "max_retries": "max_age",
    "max_age": "max_retries",
}


def changed(body: dict[str, Any], path: Path_) -> dict[str, Any]:
    """The body with another value at the path."""
    name, *rest = path
    if rest:
        return {**body, name: changed(body[name], tuple(rest))}
    old = body[name]
    new = (
        OTHERWISE.get(old, f"{old}x")
        if isinstance(old, str)
        else old / 2
        if old == 0.5
        else old + 1
    )
    return {**body, name: new}


def without(body: dict[str, Any], path: Path_) -> dict[str, Any]:
    """The body without what is at the path."""
    name, *rest = path
    if rest:
        return {**body, name: without(body[name], tuple(rest))}
    return {key: value for key, value in body.items() if key != name}


def with_body(commits: list[Commit], seq: int, body: dict[str, Any]) -> list[Commit]:
    """The commits with another body at a position, its seal as it was."""
    index = commit_of(seq)
    commit = commits[index]
    bodies = list(commit.bodies)
    bodies[seq - commit.first] = msgspec.json.encode(body).decode()
    return [*commits[:index], replace(commit, bodies=bodies), *commits[index + 1 :]]


def resealed(commits: list[Commit]) -> list[Commit]:
    """The commits with positions and seals computed anew, as the owner of the file can do."""
    made: list[Commit] = []
    for commit in commits:
        before = made[-1] if made else None
        made.append(
            seal_commit(
                commit_id=commit.id,
                first=before.last + 1 if before else 1,
                at=commit.at,
                prev=before.seal if before else genesis("default"),
                tasks=commit.tasks,
                keys=commit.keys,
                bodies=commit.bodies,
            )
        )
    return made


def unguarded(path: Path) -> apsw.Connection:
    """A connection to a SQLite log without its triggers."""
    connection = apsw.Connection(str(path))
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    ).fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    return connection


def write_sqlite(path: Path, commits: list[Commit]) -> str:
    """Makes a SQLite log of just these commits, right or wrong; gives its URL."""
    url = f"sqlite:///{path}"
    with closing(open_log(url)) as log:
        append_all(log)
    with closing(unguarded(path)) as connection, connection:
        connection.execute("DELETE FROM events")
        for commit in commits:
            owners = {seq: key for key, seq in commit.keys.items()}
            rows = enumerate(zip(commit.tasks, commit.bodies, strict=True), commit.first)
            for seq, (task, body) in rows:
                end = (len(commit.bodies), commit.id, commit.seal)
                ends = end if seq == commit.last else (None, None, None)
                found = owners.get(seq), causes_of([body]).get(0)
                values = (BASE + seq, commit.at, task, *found, *ends, body)
                connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    return url


def write_file(path: Path, commits: list[Commit]) -> str:
    """Makes a file log of just these commits, right or wrong; gives its URL."""
    path.write_bytes(header("default") + b"".join(map(to_line, commits)))
    return f"file:///{path}"


def verdict_of(url: str, *anchors: Anchor) -> Verdict:
    """What the verifier says of the log at the URL."""
    with closing(open_log(url, create=False)) as log:
        return verify(log, anchors=anchors, indexes="full")


def append_all(log: EventLog) -> None:
    """Puts the story into an empty log."""
    for commit in COMMITS:
        log.append(commit)


Writer = Callable[[Path, list[Commit]], str]
WRITERS: dict[str, Writer] = {"sqlite": write_sqlite, "file": write_file}
