"""Changes to many tasks: selected, seen before they are made, made exactly as seen, and finished.

What is decided about each task is decided in `core.bulk`; what a change is about stands in the log
before the first task is changed, so that any node can finish it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from eventq.catalog.record import Source, TaskRecord
from eventq.catalog.selector import Selector
from eventq.core.asking import check_asking
from eventq.core.bulk import (
    BeginBulk,
    ChangePortion,
    EndBulk,
    MovedOn,
    Pair,
    digest_of,
)
from eventq.core.durations import Duration
from eventq.core.manage import UpdateTask, make_update
from eventq.core.queue_events import Bulk
from eventq.core.rule_options import parse_rate
from eventq.core.task import PENDING, REOPENABLE, TaskState
from eventq.core.validation import check_count
from eventq.core.values import COMMIT_EVENTS, BulkAction, Via
from eventq.errors import ArgumentError, LogArchivedError, LogCorruptError
from eventq.eventlog.contract import EventLog
from eventq.node.node import Node
from eventq.replay.bulks import bulk_since
from eventq.replay.points import Point

# How many records a plan shows at the most.
SAMPLE = 100
# So many tasks at most are looked at for one commit.
PORTION = COMMIT_EVENTS
TO_RUN = PENDING | {TaskState.READY}
# In which states a task has something to gain from each action. A retry does nothing for one that
# is ready; one that waits is left out, since what it waits for may be retried with it.
ACTED_ON: dict[str, frozenset[TaskState]] = {
    "retry": REOPENABLE | {TaskState.SCHEDULED},
    "cancel": TO_RUN | {TaskState.LEASED},
    "update": TO_RUN,
}
SELECTOR_EXPECTED = (
    "at least one condition on the tasks that are meant, such as state=, name= or tags="
)

Progress = Callable[[int, int], None]


class MeantTasks(Struct, frozen=True):
    """The tasks that a selector means, in some states, as they stood at a point."""

    pairs: list[Pair]
    """Their numbers with their last events, by number."""
    sample: list[TaskRecord]
    """The first of them."""
    left_out: int
    """Those that are meant and in none of the states."""
    source: Source
    """What says so."""


class Search(Protocol):
    """Finds what a selector means."""

    def __call__(
        self, selector: Selector, states: frozenset[TaskState], point: Point, /
    ) -> MeantTasks:
        """Exactly what a pass over the log up to the point would find."""


class Applied(Struct, frozen=True):
    """What became of a change to many tasks."""

    id: int
    """Its number, the position of its `bulk` event: what `Queue.undo` takes."""
    changed: int
    """Tasks that were changed."""
    moved_on: list[MovedOn]
    """Tasks that were left as they were, and why."""


class Plan:
    """A change to many tasks that has not been made: how many they are, and some of them.

    What it is about is fixed: only these tasks are changed, as far as each still looks as it did.
    """

    def __init__(
        self,
        node: Node,
        wanted: Bulk,
        found: MeantTasks,
        *,
        delay_us: int | None = None,
        moved_on: Iterable[MovedOn] = (),
    ) -> None:
        self.action: BulkAction = wanted.action
        self.position = wanted.position
        """The position behind which the tasks were looked at."""
        self.count = wanted.count
        self.left_out = found.left_out
        """Tasks that the selector means, and to which the action does nothing."""
        self.moved_on = list(moved_on)
        """Of an undo: tasks that have moved on already, and why."""
        self.source = found.source
        """What says so: the ``catalog``, or else the ``log``."""
        self.id: int | None = None
        """The number of the change, once it is applied."""
        self._node = node
        self._wanted = wanted
        self._found = found
        self._delay_us = delay_us

    def sample(self, n: int = 5) -> list[TaskRecord]:
        """The first of the tasks, at most a hundred, as they were looked at."""
        return self._found.sample[: check_count(n, "n", least=0)]

    def apply(
        self,
        *,
        by: str | None = None,
        reason: str = "",
        via: Via = "code",
        progress: Progress | None = None,
    ) -> Applied:
        """Makes the change; applied again, it changes nothing more.

        In commits of up to 1,000 tasks. What breaks off in between is finished by applying it
        again, or with `Queue.finish_bulk`. ``progress`` is told how many of how many are done.
        Raises LogError, LogTooNewError and ArgumentError.
        """
        asking = check_asking(by, reason, via)
        if self.id is None:
            marks = {**asking.marks, "undoes": self._wanted.undoes}
            wanted = replace(self._wanted, **marks)
            begun = self._node.execute(BeginBulk(wanted, self._delay_us))
            self.id, self._wanted = begun.first, begun.result
        return apply_bulk(self._node, self.id, self._wanted, self._found.pairs, progress)

    def __repr__(self) -> str:
        """What it would do."""
        return f"<Plan: {self.action} {self.count} tasks as of position {self.position}>"


class Selection:
    """The tasks that fit a selector now, and what can be done to all of them."""

    def __init__(self, node: Node, selector: Selector, search: Search) -> None:
        self.selector = selector
        self._node = node
        self._search = search

    def retry(self, *, rate: str | None = None) -> Plan:
        """A plan that makes scheduled ones ready, and reopens expired and cancelled ones.

        ``rate`` ("100/1m"): no more of them become ready in any such time. Raises ArgumentError.
        """
        wanted = {}
        if rate is not None:
            count, window_us = parse_rate(rate)
            wanted = {"interval_us": max(1, window_us // count)}
        return self._plan("retry", **wanted)

    def cancel(self) -> Plan:
        """A plan that calls all open ones off; running attempts learn of it."""
        return self._plan("cancel")

    def update(
        self,
        *,
        priority: int | None = None,
        tags: Mapping[str, Any] | None = None,
        scheduled_at: datetime | None = None,
        delay: Duration | None = None,
        lane: str | None = None,
    ) -> Plan:
        """A plan that edits those that wait to run, as `Queue.update`. Raises ArgumentError."""
        edit = make_update(
            priority=priority, tags=tags, scheduled_at=scheduled_at, delay=delay, lane=lane
        )
        if edit == UpdateTask():
            raise ArgumentError("update", None, "something to change")
        return self._plan(
            "update",
            delay_us=edit.delay_us,
            priority=edit.priority,
            tags=UNSET if edit.tags_json is None else Raw(edit.tags_json),
            scheduled_at=edit.scheduled_at,
            lane=edit.lane,
        )

    def _plan(
        self,
        action: Literal["retry", "cancel", "update"],
        *,
        delay_us: int | None = None,
        **said: Any,  # noqa: ANN401 - fields of Bulk
    ) -> Plan:
        if self.selector.is_empty:
            raise ArgumentError("selector", "nothing", SELECTOR_EXPECTED)
        # Not the projection's: a preview by the catalog need not wait for a fold of the log.
        head = self._node.head()
        point = Point(head.seq, self._node.now(at_least=head.at))
        found = self._search(self.selector, ACTED_ON[action], point)
        wanted = Bulk(
            action,
            point.seq,
            point.at,
            len(found.pairs),
            digest_of(found.pairs),
            Raw(self.selector.to_json()),
            **said,
        )
        return Plan(self._node, wanted, found, delay_us=delay_us)


def apply_bulk(
    node: Node, number: int, said: Bulk, pairs: list[Pair], progress: Progress | None = None
) -> Applied:
    """Changes what is left to change of a change that has begun, and says that it is done.

    Others may do the same meanwhile: what they have changed counts, and once one says that all is
    done, nothing more is changed. Raises LogArchivedError.
    """
    # Before the first commit, in which others would wait for it.
    since = bulk_since(node.log, number, after=number, until=node.log.head().seq)
    begin, looked_seq, is_over, changed = 0, since.seq, since.is_over, since.changed
    moved_on: list[MovedOn] = []
    while begin < len(pairs):
        portion = tuple(pairs[begin : begin + PORTION])
        command = ChangePortion(number, said, portion, begin, looked_seq, is_over)
        done = node.execute(command).result
        assert done.taken > 0, "one always finds room"
        begin += done.taken
        moved_on += done.moved_on
        looked_seq, is_over = done.since.seq, is_over or done.since.is_over
        changed |= done.since.changed
        if progress is not None:
            progress(begin, len(pairs))
    last_seqs = dict(pairs)
    left = tuple((e.number, last_seqs[e.number]) for e in moved_on if e.number not in changed)
    if not is_over:
        left = node.execute(EndBulk(number, said, left, looked_seq)).result
    numbers = {each for each, _ in left}
    moved_on = [each for each in moved_on if each.number in numbers]
    return Applied(number, len(pairs) - len(moved_on), moved_on)


def check_found(log: EventLog, number: int, said: Bulk, pairs: list[Pair]) -> list[Pair]:
    """The pairs that a change is about, found again.

    Raises LogArchivedError for others where some may have been archived, else LogCorruptError.
    """
    if digest_of(pairs) != said.digest:
        if start := log.start().seq:
            raise LogArchivedError(start, start)
        problem = f"bulk {number} is about other tasks than can be found behind {said.position}"
        raise LogCorruptError(number, problem)
    return pairs
