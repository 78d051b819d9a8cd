"""The one fold from a log to a projection; it appends nothing and never trusts a seal unseen."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from msgspec.structs import replace

from eventq.core.commits import Commit, Event, decode_at, events_of
from eventq.core.events import Created, Retried
from eventq.core.moves import fold_events, fold_history, reopen
from eventq.core.projection import Projection
from eventq.core.seal import check_seal
from eventq.core.task import Task
from eventq.core.values import NODE
from eventq.errors import LogArchivedError
from eventq.eventlog.contract import READ_EVENTS, EventLog, Head, StoredEvent
from eventq.replay.tombstones import decode_kept

# From this many events on, sorting the indexes once is cheaper than inserting into them; but only
# where they are more than twice the tasks that would have to be sorted.
BULK_EVENTS = 5_000
# How many events a read from the end begins with; each further piece is twice as long.
BACK_EVENTS = 500
# How a stored body begins, so that most need no decoding to be passed over.
KIND_FIRST = '{"kind":"'


def replay(log: EventLog, *, until: int | None = None) -> Projection:
    """A new projection of the log, up to a position, inclusive.

    Raises LogCorruptError where a seal, an order or a move is wrong.
    """
    projection = Projection(log.namespace)
    catch_up(projection, log, until=until)
    return projection


def catch_up(
    projection: Projection,
    log: EventLog,
    *,
    until: int | None = None,
    briefly: bool = False,
) -> None:
    """Folds what the log holds beyond the projection. Raises LogCorruptError, see `replay`.

    ``briefly``, it ends with a read that gave less than it might have: what has come since, if
    anything, is left.

    It may have ended inside a commit before, and goes on there. What lies behind ``until`` is not
    looked at, and may be damaged.
    """
    commits = _read(log, projection.seq, until)
    if not commits:
        return
    bulk = commits[-1].last - projection.seq > max(BULK_EVENTS, 2 * len(projection.tasks))
    if bulk:
        projection.suspend_indexes()
    try:
        while commits:
            for commit in commits:
                part = _part(projection, commit, until)
                if part is not None:
                    projection.apply(part, collect=False)
            if briefly and commits[-1].last - commits[0].first < READ_EVENTS - 1:
                return
            commits = _read(log, projection.seq, until)
    finally:
        if bulk:
            projection.rebuild_indexes()


def steps(
    projection: Projection, log: EventLog, *, until: int | None = None
) -> Iterator[tuple[Event, Task | None]]:
    """Folds as `catch_up` does, one event after the other: each when it is asked for.

    Yields the event and the task after it (None for events of a node and for late outcomes of
    final tasks). The indexes are kept all the time. Raises LogCorruptError, see `replay`.
    """
    for commit in commits_of(log, after=projection.seq, until=until):
        part = _part(projection, commit, until)
        for event in [] if part is None else events_of(part):
            yield event, apply_one(projection, commit, event)


def apply_one(projection: Projection, commit: Commit, event: Event) -> Task | None:
    """Folds one event of a commit alone, with the seal of the whole; returns its task after it."""
    text = commit.bodies[event.seq - commit.first]
    alone = replace(commit, first=event.seq, tasks=[event.task], bodies=[text])
    [task] = projection.apply(alone, bodies=[event.body])
    return task


def folded(
    projection: Projection, log: EventLog, *, until: int
) -> Iterator[tuple[Commit, list[Task | None]]]:
    """Folds as `catch_up` does, one commit after the other, the last one up to ``until``.

    Yields it and the task after each of its events. Raises LogCorruptError, see `replay`.
    """
    for commit in commits_of(log, after=projection.seq, until=until):
        part = _part(projection, commit, until)
        if part is not None:
            yield part, projection.apply(part)


def commits_of(log: EventLog, *, after: int, until: int | None = None) -> Iterator[Commit]:
    """The commits that hold the positions behind one, up to another or to the present end."""
    while commits := _read(log, after, until):
        yield from commits
        after = commits[-1].last


def commits_back(log: EventLog, *, until: int, after: int = 0) -> Iterator[Commit]:
    """The commits that hold the positions up to one, newest first, down to behind ``after``.

    Raises LogArchivedError where the log begins later.
    """
    start = log.start().seq
    size = BACK_EVENTS
    while until > max(start, after):
        low = max(start, after, until - size)
        piece = list(commits_of(log, after=low, until=until))
        yield from reversed(piece)
        # A failover may have taken back what was there.
        until = piece[0].first - 1 if piece else low
        size = min(2 * size, READ_EVENTS)
    if start > after:
        raise LogArchivedError(start, start)


def read_all(log: EventLog, *, after: int) -> Iterator[tuple[Commit, list[Event]]]:
    """All commits behind a position up to the present end, with their events decoded.

    Raises LogCorruptError for a body that cannot be understood.
    """
    return ((commit, events_of(commit)) for commit in commits_of(log, after=after))


def read_sealed(log: EventLog, *, after: Head, until: int) -> Iterator[Commit]:
    """The commits behind a known end of one, each seal checked, as far as they end by ``until``.

    Raises LogCorruptError for a wrong seal. It ends early where the log holds no more.
    """
    seal = after.seal
    for commit in commits_of(log, after=after.seq, until=until):
        if commit.last <= until:
            check_seal(commit, prev=seal)
            yield commit
            seal = commit.seal


def stored_of(commit: Commit) -> Iterator[StoredEvent]:
    """The events of a commit as they are stored."""
    for seq, (task, body) in enumerate(zip(commit.tasks, commit.bodies, strict=True), commit.first):
        yield StoredEvent(seq, commit.at, task, body)


def stored_kind(text: str) -> str:
    """The kind of a body as eventq has stored it, with its kind first; nothing for another."""
    end = text.find('"', len(KIND_FIRST))
    return text[len(KIND_FIRST) : end] if text.startswith(KIND_FIRST) and end > 0 else ""


def task_history(log: EventLog, number: int) -> list[Event]:
    """All events of one task; empty when there is no such task. By index, not by a fold.

    Raises LogCorruptError for a body that cannot be understood, and LogArchivedError unless the
    log holds them all.
    """
    events = decode_events(log.history(number))
    if not _is_whole(events):
        _check_held(log, number)
    return events


def task_of(log: EventLog, number: int, *, until: int | None = None) -> Task | None:
    """The task as its history leaves it, whole or up to a position; None when there is none.

    When events of it are archived, then from what is kept of it. Raises LogArchivedError when
    nothing is, as of a final task without a key.
    """
    return created_and_task(log, number, until=until)[1]


def created_and_task(
    log: EventLog, number: int, *, until: int | None = None
) -> tuple[Event | None, Task | None]:
    """The task as in `task_of`, and its created event, as far as one is kept of it."""
    events = decode_events(log.history(number))
    if until is not None:
        events = [event for event in events if event.seq <= until]
    if _is_whole(events):
        return events[0], fold_events(log.namespace, events)
    row = log.find_kept([number]).get(number)
    if row is not None:
        kept = decode_kept(row)
        # The oldest of these may still stand in the log, while a cut deletes them.
        later = [(event.seq, event.at, event.body) for event in events if event.seq > kept.seq]
        return kept.created, fold_history(log.namespace, later, kept.task)
    if events and type(events[0].body) is Retried and events[0].body.reopens is not None:
        # Final where the log begins, it has been brought back since, with all that it was.
        first, *rest = [(event.seq, event.at, event.body) for event in events]
        task = reopen(log.namespace, number, first[0], events[0].decided_at, events[0].body)
        return None, fold_history(log.namespace, rest, task)
    if number != NODE:
        _check_held(log, number)
    return None, None


def decode_events(stored: list[StoredEvent]) -> list[Event]:
    """Events with their bodies decoded. Raises LogCorruptError for a damaged body."""
    bodies = decode_at(stored[0].seq if stored else 0, [event.body for event in stored])
    return [
        Event(event.seq, event.at, event.task, body)
        for event, body in zip(stored, bodies, strict=True)
    ]


def decode_histories(stored: dict[int, list[StoredEvent]]) -> dict[int, list[Event]]:
    """The same for the events of many tasks, decoded at once, which is faster."""
    decoded = iter(decode_events([event for events in stored.values() for event in events]))
    return {task: list(islice(decoded, len(events))) for task, events in stored.items()}


def check_follows(projection: Projection, commit: Commit) -> None:
    """Raises LogCorruptError for a commit that is not the next one, or whose seal is wrong.

    A projection that ended inside a commit has that commit's seal, and goes on with it.
    """
    begun = projection.seq >= commit.first
    follows = projection.seal == (commit.seal if begun else commit.prev)
    # No seal is empty.
    check_seal(commit, prev=commit.prev if follows else b"")


def _read(log: EventLog, after: int, until: int | None) -> list[Commit]:
    if until is None:
        return log.read(after=after)
    left = until - after
    return log.read(after=after, limit=min(READ_EVENTS, left)) if left > 0 else []


def _is_whole(events: list[Event]) -> bool:
    return bool(events) and type(events[0].body) is Created


def _check_held(log: EventLog, position: int) -> None:
    start = log.start().seq
    if start and position <= start:
        raise LogArchivedError(position, start)


def _part(projection: Projection, commit: Commit, until: int | None) -> Commit | None:
    """What is left to fold of a commit, up to ``until``; None for nothing."""
    check_follows(projection, commit)
    # An earlier fold may have ended inside this commit.
    begin = projection.seq + 1 - commit.first
    count = len(commit.bodies)
    end = count if until is None else min(count, until + 1 - commit.first)
    if not begin and end == count:
        return commit
    if begin >= end:
        return None
    return replace(
        commit,
        first=commit.first + begin,
        tasks=commit.tasks[begin:end],
        bodies=commit.bodies[begin:end],
    )
