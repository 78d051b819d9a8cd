"""One pass over a log that finds the tasks which a selector means; it needs no catalog.

It holds no more than the tasks that can still be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from eventq.catalog.record import TaskRecord, has_run_twice, place_of
from eventq.catalog.selector import Selector
from eventq.core.commits import AnyBody, Commit, Unknown, time_of
from eventq.core.events import ByHand, Created, Failed, Leased, Refused
from eventq.core.moves import DOUBTED, ENDS_LEASE, advance, changes
from eventq.core.projection import Projection
from eventq.core.task import DEFAULT_LANE, FINAL, Task, TaskState, state_as_of
from eventq.core.values import LAPSED
from eventq.errors import LogArchivedError
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import decode_histories, folded_bodies, task_of
from eventq.replay.points import Point
from eventq.snapshot.starting import projection_at_start

# The progress is told once in so many commits.
TOLD_COMMITS = 256

Progress = Callable[[int, int], None]
"""Told how many events are done, and of how many."""


def pass_over(
    log: EventLog, selector: Selector, until: Point, *, progress: Progress | None = None
) -> Iterator[TaskRecord]:
    """The tasks that are meant as they stood at a point, by number.

    Of a task whose events are archived, only what the log still holds counts: name the archive's
    folder to have all. Raises LogArchivedError for a point before the log begins, LogCorruptError.
    """
    start = log.start().seq
    if until.seq < start:
        raise LogArchivedError(until.seq, start)
    projection = projection_at_start(log, until=until.seq) if start else Projection(log.namespace)
    projection.suspend_indexes()
    traces: dict[int, TaskTrace] = {}
    for commit, bodies, after in folded_told(projection, log, until.seq, progress):
        for seq, (number, body, task) in enumerate(
            zip(commit.tasks, bodies, after, strict=True), commit.first
        ):
            trace = traces.get(number)
            if trace is None:
                if not number or not may_be_meant(selector, number, commit.at, body):
                    continue
                trace = traces[number] = TaskTrace()
            trace.take(seq, time_of(commit.at, body), body, task)
            if trace.is_done and selector.states and TaskState.COMPLETED not in selector.states:
                # It never comes back.
                del traces[number]
    for number in sorted(traces):
        found = traces[number]
        # The wait of an open task may have ended without an event of its own.
        last = projection.tasks.get(number) or found.task
        if last is not None and found.last_seq:
            record = found.record(last, until.at)
            if selector.matches(record):
                yield record


def folded_told(
    projection: Projection, log: EventLog, until: int, progress: Progress | None
) -> Iterator[tuple[Commit, list[AnyBody | Unknown], list[Task | None]]]:
    """As `folded_bodies`, and tells how far it has come."""
    start = projection.seq
    for turn, folded in enumerate(folded_bodies(projection, log, until=until)):
        if progress is not None and not turn % TOLD_COMMITS:
            progress(folded[0].last - start, until - start)
        yield folded


def records_of(
    log: EventLog, tasks: Mapping[int, Task | None], until: Point
) -> Iterator[TaskRecord]:
    """What tasks looked like at a point, by index; of open ones, as a projection has them."""
    histories = decode_histories(log.histories(list(tasks)))
    for number, known in tasks.items():
        trace, task = TaskTrace(), None
        for event in histories.get(number, ()):
            if event.seq > until.seq:
                break
            if task is not None or type(event.body) is Created:
                task = advance(log.namespace, task, event.seq, event.at, event.body)
            trace.take(event.seq, event.decided_at, event.body, task)
        task = known or task or task_of(log, number, until=until.seq)
        if task is not None:
            yield trace.record(task, until.at)


def may_be_meant(selector: Selector, number: int, at: int, body: AnyBody | Unknown) -> bool:
    """Whether a task that begins with this event may be meant, by what never changes."""
    if type(body) is not Created:
        # The log begins later than it. All that can be said of it is said in the end.
        return True
    key = str(number) if body.key is None else body.key
    return (
        (not selector.numbers or number in selector.numbers)
        and (not selector.keys or key in selector.keys)
        and (not selector.lanes or (body.lane or DEFAULT_LANE) in selector.lanes)
        and (selector.schedule is None or body.schedule == selector.schedule)
        and (selector.created_before is None or time_of(at, body) < selector.created_before)
        and (selector.created_after is None or time_of(at, body) >= selector.created_after)
    )


class TaskTrace(Struct):
    """What a pass has seen of one task; what the fold keeps of it is not kept here."""

    task: Task | None = None
    last_seq: int = 0
    last_at: int = 0
    leased_at: int = 0
    """When the live lease began; 0 without one."""
    fence: int = 0
    """Of the last lease."""
    late: int | None = None
    """The fence of its earliest attempt that came too late."""
    waited_us: int | None = None
    ran_us: int | None = None
    lapses: int = 0
    refused: int = 0
    nodes: tuple[str, ...] = ()
    by: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether it has completed."""
        return self.task is not None and self.task.recorded_state is TaskState.COMPLETED

    @property
    def is_of_newer(self) -> bool:
        """Whether an event of a newer eventq has touched it."""
        return self.task is not None and self.task.newer is not None

    def take(self, seq: int, at: int, body: AnyBody | Unknown, after: Task | None) -> None:
        """One more event of it; ``after`` is the task behind it, as far as the fold knows."""
        if after is not None:
            self.task = after
        elif self.is_of_newer and self.task is not None:
            # A projection forgets it once it has ended.
            self.task = advance(self.task.namespace, self.task, seq, at, body)
        if changes(body):
            self.last_seq, self.last_at = seq, at
        if isinstance(body, ByHand) and body.by is not None and body.by not in self.by:
            self.by = (*self.by, body.by)
        if not (self.is_of_newer and type(body) in DOUBTED):
            self._take_attempt(seq, at, body)

    def _take_attempt(self, seq: int, at: int, body: AnyBody | Unknown) -> None:
        """What an event says of the task's attempts."""
        if type(body) is Leased:
            scheduled_at = at if self.task is None else self.task.scheduled_at_us
            self.waited_us = max(0, at - scheduled_at)
            self.leased_at, self.fence = at, seq
            if body.worker not in self.nodes:
                self.nodes = (*self.nodes, body.worker)
        elif self.leased_at and body.kind in ENDS_LEASE:
            self.ran_us, self.leased_at = at - self.leased_at, 0
        elif self.is_of_newer:
            self.leased_at = 0
        if type(body) is Failed:
            self.lapses += body.error.type == LAPSED
        elif type(body) is Refused:
            self.refused += 1
            self.late = body.fence if self.late is None else min(self.late, body.fence)

    def record(self, task: Task, at: int) -> TaskRecord:
        """What the task looks like at an instant."""
        error = task.last_error
        return TaskRecord(
            number=task.number,
            key=task.key,
            name=task.name,
            lane=task.lane,
            state=state_as_of(task, at),
            priority=task.priority,
            tags_json=task.tags_json,
            attempts=task.attempt,
            created_at=task.created_at_us,
            scheduled_at=task.scheduled_at_us,
            ended_at=task.finished_at_us if task.recorded_state in FINAL else None,
            last_seq=self.last_seq,
            last_at=self.last_at,
            error_type=None if error is None else error.type,
            error_message="" if error is None else error.message,
            error_place="" if error is None else place_of(error.traceback),
            nodes=self.nodes,
            waited_us=self.waited_us,
            ran_us=self.ran_us,
            flow=task.flow,
            schedule=task.schedule,
            by=self.by,
            lapses=self.lapses,
            refused=self.refused,
            ran_twice=has_run_twice(self.late, self.fence),
        )
