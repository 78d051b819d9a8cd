"""What came from outside between two positions of a log, whatever its nodes made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from eventq.core.cascade import UNNEEDED
from eventq.core.commits import KIND_OF, OF_RULES, AnyBody, Commit, Unknown, decode_at
from eventq.core.events import Cancelled, Expired
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import commits_of, stored_kind

ARRIVING = frozenset({"created", "updated", "cancelled", "expired", "retried"})
# About the whole queue: who may run when.
GOVERNING = frozenset(KIND_OF[body] for body in OF_RULES)

Progress = Callable[[int], None]


class Arrival(Struct, frozen=True, gc=False):
    """What came from outside: a task created, edited, called off or reopened, or a rule said."""

    at: int
    task: int
    body: AnyBody | Unknown


def read_arrivals(
    log: EventLog, *, after: int, until: int, progress: Progress
) -> Iterator[Arrival]:
    """What came from outside between two positions, in order; what nodes did is left out.

    What was said of limits, pauses and turns is among it.
    """
    for commit in commits_of(log, after=after, until=until):
        progress(commit.last)
        before = ""
        for number, text, kind in zip(commit.tasks, commit.bodies, kinds_of(commit), strict=True):
            # Behind a failure these are what the node decided about it.
            is_own = kind in ARRIVING and number > after
            if kind in GOVERNING or (is_own and (kind == "created" or before != "failed")):
                [body] = decode_at(commit.first, [text])
                if not _is_of_node(body):
                    yield Arrival(commit.at, number, body)
            before = kind


def _is_of_node(body: AnyBody | Unknown) -> bool:
    """Whether a node has ended the task: too old, or since another ended, or its flow closed."""
    if not isinstance(body, (Cancelled, Expired)) or body.restores is not None:
        # An end with this is one that a person has brought back.
        return False
    return isinstance(body, Expired) or body.cause is not None or body == Cancelled(reason=UNNEEDED)


def kinds_of(commit: Commit) -> list[str]:
    """The kinds of a commit's bodies. Raises LogCorruptError."""
    return [stored_kind(text) or decode_at(commit.first, [text])[0].kind for text in commit.bodies]
