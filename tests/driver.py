"""What a node does, for tests of the pure core: number the drafts, seal, append, apply.

No clock and no thread: each caller says what time it is.
"""

from __future__ import annotations

from eventq.core.command import NEW, Draft
from eventq.core.commits import AnyBody, Commit, Event, decode_bodies, encode_bodies
from eventq.core.events import Created
from eventq.core.link import logged_key
from eventq.core.moves import fold_history
from eventq.core.projection import Projection
from eventq.core.seal import genesis, seal_commit
from eventq.core.task import Task
from eventq.eventlog.contract import EventLog
from eventq.eventlog.memory import MemoryLog, MemoryStorage


def memory_log(namespace: str = "default") -> MemoryLog:
    """A new, empty log."""
    return MemoryLog(MemoryStorage(), url="memory://", namespace=namespace)


def sealed(
    drafts: list[Draft], *, first: int = 1, at: int = 0, prev: bytes | None = None
) -> Commit:
    """The commit of these drafts at a position; a NEW task takes its event's position."""
    tasks: list[int] = []
    keys: dict[str, int] = {}
    bodies: list[AnyBody] = []
    for seq, (number, body) in enumerate(drafts, first):
        tasks.append(seq if number == NEW else number)
        bodies.append(body)
        if isinstance(body, Created) and (key := logged_key(body)) is not None:
            keys[key] = seq
    return seal_commit(
        commit_id=f"commit-{first}",
        first=first,
        at=at,
        prev=genesis("default") if prev is None else prev,
        tasks=tasks,
        keys=keys,
        bodies=encode_bodies(bodies),
    )


def record(
    log: EventLog, projection: Projection, drafts: list[Draft], *, now: int
) -> list[Task | None]:
    """Appends the drafts as one commit and applies it; gives the task after each event."""
    if not drafts:
        return []
    commit = sealed(drafts, first=projection.seq + 1, at=now, prev=projection.seal)
    log.append(commit)
    return projection.apply(commit)


def append_texts(log: EventLog, tasks: list[int], *texts: str, at: int | None = None) -> Commit:
    """Appends bodies as they are to be stored, right or wrong, as one commit; gives it."""
    head = log.head()
    commit = seal_commit(
        commit_id=f"texts-{head.seq}",
        first=head.seq + 1,
        at=head.at if at is None else at,
        prev=head.seal,
        tasks=tasks,
        keys={},
        bodies=list(texts),
    )
    log.append(commit)
    return commit


def existing_of(log: EventLog, keys: list[str]) -> dict[str, Event]:
    """The ``created`` event of each key that is taken, as deciding about new tasks needs it."""
    found = {}
    for key, number in log.find_keys(keys).items():
        stored = log.history(number)[0]
        [body] = decode_bodies([stored.body])
        found[key] = Event(stored.seq, stored.at, stored.task, body)
    return found


def task_in(log: EventLog, number: int) -> Task:
    """The task as its own history leaves it, final or not."""
    stored = log.history(number)
    bodies = decode_bodies([event.body for event in stored])
    pairs = zip(stored, bodies, strict=True)
    task = fold_history(log.namespace, [(event.seq, event.at, body) for event, body in pairs])
    assert task is not None
    return task
