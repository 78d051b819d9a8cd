"""Reading the log for a follower: the events that it follows, and how far it is behind."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from eventq.core.audience import matches
from eventq.core.commits import OF_FOLLOWERS, Event, decode_at
from eventq.core.events import Created, Retried
from eventq.core.members import Follower
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.core.values import NODE, ErrorInfo
from eventq.errors import LogArchivedError
from eventq.eventlog.contract import EventLog, StoredEvent
from eventq.replay.fold import stored_kind, task_of

# Events that are looked at together.
READ_EVENTS = 1_000
# Tasks of which the name is remembered, about 100 bytes each.
NAMES_KEPT = 100_000


class FollowerState(Struct, frozen=True):
    """A follower as it stands: how far it has come, how far it is behind, and who does its work."""

    name: str
    position: int
    """Up to here, all is dealt with."""
    worker: str | None
    """The node that has it now; None where none does, as while there is nothing to do."""
    kinds: tuple[str, ...] | None
    names: tuple[str, ...] | None
    code: str
    lag_events: int
    """Events that it follows and has not been called for."""
    lag_us: int
    """How long the first of them has waited; 0 for none."""
    seen_at: int
    """When it was last heard of. Microseconds since 1970."""
    failures: int
    """Calls in a row that have failed for the same event."""
    error: ErrorInfo | None
    """Why the last one did."""


class FollowedEvents:
    """The events of a log that are of some kinds, and about tasks of some names (None: all)."""

    def __init__(
        self, log: EventLog, kinds: Sequence[str] | None, names: Sequence[str] | None
    ) -> None:
        self._log = log
        self._kinds = None if kinds is None else frozenset(kinds)
        self._names = names
        self._chosen: dict[int, bool] = {}

    def read(self, after: int) -> tuple[list[Event], int]:
        """The next of them behind a position, and the position up to which was looked.

        That is ``after`` where the log ends there. Raises LogArchivedError for one before the
        log's start.
        """
        stored: list[StoredEvent] = []
        end = after
        for commit in self._log.read(after=after, limit=READ_EVENTS):
            found = zip(commit.tasks, commit.bodies, strict=True)
            for seq, (task, text) in enumerate(found, commit.first):
                if seq > after and self._is_of_kind(text):
                    stored.append(StoredEvent(seq, commit.at, task, text))
            end = commit.last
        if not stored:
            return [], end
        bodies = decode_at(stored[0].seq, [each.body for each in stored])
        pairs = zip(stored, bodies, strict=True)
        events = [Event(each.seq, each.at, each.task, body) for each, body in pairs]
        return events if self._names is None else list(filter(self._is_named, events)), end

    def _is_of_kind(self, text: str) -> bool:
        kind = stored_kind(text)
        return kind in self._kinds if self._kinds is not None else kind not in OF_FOLLOWERS

    def _is_named(self, event: Event) -> bool:
        number = event.task
        if number == NODE:
            return False
        known = self._chosen.get(number)
        if known is None:
            if len(self._chosen) >= NAMES_KEPT:
                self._chosen.clear()
            known = self._chosen[number] = self._fits(self._name_of(event))
        return known

    def _fits(self, name: str | None) -> bool:
        return name is not None and any(matches(name, each) for each in self._names or ())

    def _name_of(self, event: Event) -> str | None:
        """The name of the event's task, which never changes; by index, where the event lacks it."""
        if type(event.body) is Created:
            return event.body.name
        if type(event.body) is Retried and event.body.reopens is not None:
            return event.body.reopens.name
        try:
            task = task_of(self._log, event.task)
        except LogArchivedError:
            return None
        return None if task is None else task.name


def task_after(log: EventLog, event: Event) -> Task | None:
    """The event's task right after it; None for an event about a node, or what is not kept."""
    if event.task == NODE:
        return None
    try:
        return task_of(log, event.task, until=event.seq)
    except LogArchivedError:
        return None


def follower_states(
    log: EventLog, followers: dict[str, Follower], *, now: int
) -> list[FollowerState]:
    """How all followers stand, by name. Reads the log from the slowest position on."""
    return [_state(log, each, now) for _, each in sorted(followers.items())]


def slowest(projection: Projection) -> Follower | None:
    """The follower that has come least far; None without any."""
    return min(
        projection.followers.values(), key=lambda each: (each.said.seq, each.seq), default=None
    )


def _state(log: EventLog, follower: Follower, now: int) -> FollowerState:
    said = follower.said
    events = FollowedEvents(log, said.kinds, said.names)
    count, first_at = 0, now
    after = max(said.seq, log.start().seq)
    while (page := events.read(after))[1] > after:
        if page[0] and not count:
            first_at = page[0][0].at
        count += len(page[0])
        after = page[1]
    return FollowerState(
        name=said.follower,
        position=said.seq,
        worker=said.worker if follower.left_us(now) else None,
        kinds=said.kinds,
        names=said.names,
        code=said.code,
        lag_events=count,
        lag_us=max(0, now - first_at),
        seen_at=follower.at,
        failures=said.failures,
        error=said.error,
    )
