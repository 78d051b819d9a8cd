"""How a task looks while the catalog's fold goes by: what it keeps of each task, and as rows.

A number or a flag has its commonest value where the row has NULL. Nothing here decides what an
event means.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from eventq.catalog.forks import fork_of
from eventq.catalog.schema import FINAL, SCHEDULED

Row = tuple[Any, ...]


class Life(Struct, gc=False):
    """One task as it looks now. Instants are microseconds since the first event."""

    number: int
    key: str | None
    name: int | None
    lane: int | None
    """The one that it was made in."""
    created_at: int
    flow: int | None
    schedule: int | None
    first_to: int | None
    """Where its first look ended; None while that lasts."""
    first_state: int
    first_priority: int
    first_scheduled_at: int
    since: int
    state: int
    priority: int
    attempts: int
    scheduled_at: int
    ended_at: int | None
    last_seq: int
    last_at: int
    error: int | None = None
    nodes: int | None = None
    node: int | None = None
    """That of its last lease; of ``nodes``, it is one."""
    people: int | None = None
    waited: int | None = None
    ran: int | None = None
    lapses: int = 0
    refused: int = 0
    late: int | None = None
    """The fence of its earliest attempt that came too late."""
    fence: int = 0
    """Of its last lease, live or not."""
    tags_seq: int | None = None
    """The event that set its tags, where that is not the first."""
    newer: int | None = None
    """The event of a newer eventq by which it became unknown."""
    moved: int | None = None
    """The lane that it is in instead of its first."""
    ready_at: int | None = None
    """When it was given back, or made to run at an instant before that; None: as scheduled."""
    secret: int | None = None
    """The names of its tags that are secret, where some are."""
    is_stored: bool = False
    """Whether the catalog has a row of it."""
    is_dirty: bool = False
    """Whether that row, or none, is not how it looks now."""

    def look(self) -> Row:
        """The columns that change."""
        return (
            self.state,
            self.priority or None,
            self.attempts or None,
            None if self.scheduled_at == self.created_at else self.scheduled_at,
            None if self.ended_at == self.last_at else self.ended_at,
            None if self.last_seq == self.since else self.last_seq,
            self.last_at,
            self.error,
            self.nodes,
            self.node,
            self.people,
            self.waited,
            self.ran,
            self.lapses or None,
            self.refused or None,
            self.late,
            self.fence or None,
            self.tags_seq,
            self.newer,
            self.moved,
        )

    def past_row(self, seq: int, became: int) -> Row:
        """The look that a position ends, as a row of `past`; a state comes next."""
        since = self.since
        return (self.number, since, seq, fork_of(since, seq - 1), *self.look(), became)

    def new_row(self) -> Row:
        """The task as a row of `tasks` that is not there yet."""
        first_to, number = self.first_to, self.number
        return (
            number,
            self.key,
            self.name,
            self.lane,
            self.created_at,
            self.flow,
            self.schedule,
            first_to,
            self._first_fork(),
            None if self.first_state == SCHEDULED else self.first_state,
            self.first_priority or None,
            None if self.first_scheduled_at == self.created_at else self.first_scheduled_at,
            self.since,
            *self.look(),
            self.ready_at,
            self.secret,
        )

    def changed_row(self) -> Row:
        """What has changed, and the number of the row that is there."""
        first_fork, look = self._first_fork(), self.look()
        return (self.first_to, first_fork, self.since, *look, self.ready_at, self.number)

    def _first_fork(self) -> int | None:
        first_to = self.first_to
        if first_to is None or first_to <= self.number:
            return None
        return fork_of(self.number, first_to - 1)


def life_of(number: int, row: Row) -> Life:
    """The task of a row of `tasks`, its columns in the order of `schema.LOAD_TASK`."""
    (key, name, lane, created_at, flow, schedule, first_to, first_state) = row[:8]
    (first_priority, first_scheduled_at, since, state, priority, attempts) = row[8:14]
    (scheduled_at, ended_at, last_seq, last_at) = row[14:18]
    (error, nodes, node, people, waited, ran, lapses, refused, late, fence) = row[18:28]
    (tags_seq, newer, moved, ready_at, secret) = row[28:]
    if ended_at is None and state in FINAL:
        ended_at = last_at
    return Life(
        number,
        key,
        name,
        lane,
        created_at,
        flow,
        schedule,
        first_to,
        SCHEDULED if first_state is None else first_state,
        first_priority or 0,
        created_at if first_scheduled_at is None else first_scheduled_at,
        since,
        state,
        priority or 0,
        attempts or 0,
        created_at if scheduled_at is None else scheduled_at,
        ended_at,
        since if last_seq is None else last_seq,
        last_at,
        error,
        nodes,
        node,
        people,
        waited,
        ran,
        lapses or 0,
        refused or 0,
        late,
        fence or 0,
        tags_seq,
        newer,
        moved,
        ready_at,
        secret,
        is_stored=True,
    )
