"""Commits for tests of logs: real seals around bodies that say little."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from eventq.core.commits import Commit
from eventq.core.seal import genesis, is_sealed, seal_commit
from eventq.eventlog import EventLog, Head
from eventq.eventlog.sqlite.log import SqliteLog

AT = 1_700_000_000_000_000
EMPTY = Head(0, 0, genesis("default"))
# Longer than any wait takes on a busy machine.
WAIT_S = 60.0

# Opens one more log on the store of the test; takes a namespace.
Opener = Callable[..., EventLog]


def open_sqlite(path: Path, *, create: bool = True) -> SqliteLog:
    """The log in this file."""
    return SqliteLog(str(path), url=f"sqlite:///{path}", namespace="default", create=create)


def commit_after(
    head: Head,
    count: int = 1,
    *,
    keys: dict[str, int] | None = None,
    tasks: list[int] | None = None,
    bodies: Iterable[str] | None = None,
    at: int | None = None,
) -> Commit:
    """A sealed commit that fits the head; ``keys`` counts from the commit's first event, 0."""
    first = head.seq + 1
    texts = list(bodies) if bodies else [f'{{"kind":"test","n":{n}}}' for n in range(count)]
    return seal_commit(
        commit_id=secrets.token_hex(16),
        first=first,
        at=at if at is not None else max(AT, head.at + 1),
        prev=head.seal,
        tasks=tasks or [first + n for n in range(len(texts))],
        keys={key: first + n for key, n in (keys or {}).items()},
        bodies=texts,
    )


def head_after(commit: Commit) -> Head:
    """The head of a log that ends with the commit."""
    return Head(commit.last, commit.at, commit.seal)


# The place before the first event of the first namespace of a SQLite file.
BASE = 1 << 40


def by_place(statements: str) -> str:
    """SQL on the first namespace's events that calls their positions ``seq``."""
    placed = re.sub(r"\bSET seq = ", f"SET place = {BASE} + ", statements)
    return re.sub(r"(?<![.\w])seq\b", f"(place - {BASE})", placed)


def append(log: EventLog, count: int = 1, *, keys: dict[str, int] | None = None) -> Commit:
    """Appends one commit at the log's end."""
    commit = commit_after(log.head(), count, keys=keys)
    log.append(commit)
    return commit


def append_in_slot(log: EventLog, count: int = 1) -> Commit:
    """Appends one commit, made once it is its turn."""
    commit = log.append_next(lambda head: commit_after(head, count))
    assert commit is not None
    return commit


@contextmanager
def writer_slot(log: EventLog) -> Iterator[Head]:
    """Holds the log's writer slot in another thread while the block lasts; gives the head."""
    heads: SimpleQueue[Head] = SimpleQueue()
    leave = threading.Event()

    def decide(head: Head) -> None:
        heads.put(head)
        assert leave.wait(WAIT_S)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(log.append_next, decide)
        try:
            yield heads.get(timeout=WAIT_S)
        finally:
            leave.set()
        assert held.result(WAIT_S) is None


def append_each(log: EventLog, counts: Iterable[int]) -> list[Commit]:
    """Appends one commit of each of these sizes."""
    head, commits = log.head(), []
    for count in counts:
        commit = commit_after(head, count)
        log.append(commit)
        commits.append(commit)
        head = head_after(commit)
    return commits


def everything(log: EventLog) -> list[Commit]:
    """All commits, read in pieces as a node does."""
    found: list[Commit] = []
    while piece := log.read(after=found[-1].last if found else 0, limit=700):
        found += piece
    return found


def assert_tiles(commits: list[Commit], namespace: str = "default") -> None:
    """Positions have no gap, each seal chains to the one before, and each one holds."""
    end = Head(0, 0, genesis(namespace))
    for commit in commits:
        assert (commit.first, commit.prev) == (end.seq + 1, end.seal)
        assert is_sealed(commit)
        end = head_after(commit)
