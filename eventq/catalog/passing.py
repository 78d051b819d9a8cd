"""One pass over a log that finds the tasks which a selector means; it needs no catalog.

A quick look at the texts leaves out most tasks; what is left is folded task by task. It holds no
more than the tasks that can still be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from eventq.catalog.record import TaskRecord, has_run_twice, place_of
from eventq.catalog.selector import Selector
from eventq.catalog.sieve import named_tasks, settling_sieve, sieve_of
from eventq.core.commits import AnyBody, Commit, Unknown, decode_at, time_of
from eventq.core.events import (
    ByHand,
    Created,
    Failed,
    Leased,
    Refused,
    Released,
    Retried,
    Updated,
)
from eventq.core.moves import DOUBTED, ENDS_LEASE, advance, changes, reopen
from eventq.core.seal import check_seal
from eventq.core.secret_tags import open_tags
from eventq.core.task import FINAL, Task, TaskState, state_as_of
from eventq.core.values import LAPSED
from eventq.errors import LogArchivedError
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import commits_of, decode_histories, task_of
from eventq.replay.points import Point, position_at
from eventq.snapshot.starting import projection_at, projection_at_start

# The progress is told once in so many commits.
TOLD_COMMITS = 256
# To look up one task by the index takes as long as to read so many events in a row.
LOOKUP_EVENTS = 20
# So many tasks are looked up at a time.
LOOKUPS = 500

Progress = Callable[[int, int], None]
"""Told how many events are done, and of how many."""


class Passing:
    """A pass over a log up to a point, that looks for what a selector means.

    Only events behind the position ``after`` can make a task one that is meant. Raises
    LogArchivedError for a point before the log begins, LogCorruptError.
    """

    def __init__(
        self,
        log: EventLog,
        selector: Selector,
        until: Point,
        *,
        after: int = 0,
        numbers: Iterable[int] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._log = log
        self._selector = selector
        self._until = until
        self._start = start = log.start().seq
        if until.seq < start:
            raise LogArchivedError(until.seq, start)
        self._progress = progress
        self._known = projection_at_start(log, until=until.seq).tasks if start else {}
        """The tasks that were open where the log begins."""
        self._numbers = self._sift(max(after, start)) if numbers is None else set(numbers)
        """The tasks that may be meant; None: any."""

    def events(self) -> Iterator[tuple[int, int, int, AnyBody | Unknown]]:
        """The events of the tasks that may be meant: task, position, instant, body.

        Those of one task are in their order.
        """
        numbers = self._numbers
        if numbers is None or is_much(len(numbers), self._log, self._until):
            for commit in self._commits(self._start):
                yield from _events_in(commit, numbers)
            return
        left = iter(sorted(numbers))
        while batch := list(islice(left, LOOKUPS)):
            for number, history in decode_histories(self._log.histories(batch)).items():
                for event in history:
                    if self._start < event.seq <= self._until.seq:
                        yield number, event.seq, event.decided_at, event.body

    def trace_of(self, number: int, at: int, body: AnyBody | Unknown) -> TaskTrace | None:
        """For a task of which this is the first event that is looked at; None: it is not meant."""
        if type(body) is Created:
            return TaskTrace() if may_be_meant(self._selector, number, at, body) else None
        if number in self._known:
            return TaskTrace(self._known[number])
        return TaskTrace() if type(body) is Retried and body.reopens is not None else None

    def _sift(self, after: int) -> set[int] | None:
        """The tasks that may be meant, by the quickest look that there is."""
        named = named_tasks(self._log, self._selector)
        if named is not None:
            return named
        begin = self._first_look(after)
        if (self._until.seq - begin) * 2 < self._until.seq - self._start:
            return {n for commit in self._commits(begin) for n in commit.tasks if n}
        sieve = sieve_of(self._selector)
        if sieve is None:
            return None
        for commit in self._commits(self._start):
            sieve.take(commit)
        return (sieve.found - {0}).union(self._known)

    def _first_look(self, after: int) -> int:
        """The position behind which each task that is meant has an event."""
        wanted = self._selector
        instants = (wanted.since, wanted.ended_after, wanted.created_after)
        least = max((at for at in instants if at is not None), default=None)
        if least is None:
            return after
        return min(self._until.seq, max(after, position_at(self._log, least - 1)))

    def _commits(self, after: int) -> Iterator[Commit]:
        return sealed_commits(self._log, after=after, until=self._until.seq, told=self._progress)


def is_much(count: int, log: EventLog, until: Point) -> bool:
    """Whether to look up so many tasks takes longer than to read the log."""
    return count * LOOKUP_EVENTS > until.seq - log.start().seq


def settled_numbers(
    log: EventLog, selector: Selector, until: Point, *, progress: Progress | None = None
) -> list[int] | None:
    """The tasks that are meant at a point, in order, where no task need be folded to say so.

    None where that takes more. It is as for `pass_over`, and takes a fifth of the time where most
    tasks are meant.
    """
    sieve = settling_sieve(selector)
    if sieve is None or log.start().seq:
        return None
    for commit in sealed_commits(log, after=0, until=until.seq, told=progress):
        sieve.take(commit)
    return None if sieve.is_strange else sorted(sieve.found - {0})


def pass_over(
    log: EventLog,
    selector: Selector,
    until: Point,
    *,
    after: int = 0,
    numbers: Iterable[int] | None = None,
    progress: Progress | None = None,
) -> Iterator[TaskRecord]:
    """The tasks that are meant as they stood at a point, by number.

    Only those that have changed behind the position ``after``, and, where it is known which may be
    meant, of these ``numbers``. Of a task whose events are archived, only what the log still holds
    counts: name the archive's folder to have all. Raises LogArchivedError for a point before the
    log begins, LogCorruptError.
    """
    passing = Passing(log, selector, until, after=after, numbers=numbers, progress=progress)
    traces: dict[int, TaskTrace] = {}
    drops = bool(selector.states) and TaskState.COMPLETED not in selector.states
    for number, seq, at, body in passing.events():
        trace = traces.get(number)
        if trace is None:
            trace = passing.trace_of(number, at, body)
            if trace is None:
                continue
            traces[number] = trace
        trace.take(log.namespace, number, seq, at, body)
        if drops and trace.is_done:
            # It never comes back.
            del traces[number]
    linked = [trace.task for trace in traces.values() if trace.is_linked]
    # The wait of an open task may have ended without an event of its own.
    open_tasks = projection_at(log, until).tasks if linked else {}
    for number in sorted(traces):
        found = traces[number]
        last = open_tasks.get(number) or found.task
        if last is not None and found.last_seq > after:
            record = found.record(last, until.at)
            if selector.matches(record):
                yield record


def sealed_commits(
    log: EventLog, *, after: int, until: int, told: Progress | None = None
) -> Iterator[Commit]:
    """What commits hold behind a position, up to another; tells how far it has come.

    Raises LogCorruptError for a wrong seal.
    """
    begin = log.start()
    prev = begin.seal if after == begin.seq else b""
    for turn, commit in enumerate(commits_of(log, after=after, until=until)):
        check_seal(commit, prev=prev or commit.prev)
        if told is not None and not turn % TOLD_COMMITS:
            told(min(commit.last, until) - after, until - after)
        prev = commit.seal
        is_whole = after < commit.first and commit.last <= until
        yield commit if is_whole else _part(commit, after, until)


def records_of(
    log: EventLog, tasks: Mapping[int, Task | None], until: Point
) -> Iterator[TaskRecord]:
    """What tasks looked like at a point, by index; of open ones, as a projection has them."""
    histories = decode_histories(log.histories(list(tasks)))
    for number, known in tasks.items():
        trace = TaskTrace()
        for event in histories.get(number, ()):
            if event.seq > until.seq:
                break
            trace.take(log.namespace, number, event.seq, event.decided_at, event.body)
        task = known or trace.task or task_of(log, number, until=until.seq)
        if task is not None:
            yield trace.record(task, until.at)


def may_be_meant(selector: Selector, number: int, at: int, body: Created) -> bool:
    """Whether a task that begins with this event may be meant, by what never changes."""
    key = str(number) if body.key is None else body.key
    return (
        (not selector.numbers or number in selector.numbers)
        and (not selector.keys or key in selector.keys)
        and (selector.schedule is None or body.schedule == selector.schedule)
        and (selector.created_before is None or at < selector.created_before)
        and (selector.created_after is None or at >= selector.created_after)
    )


def puts_off(body: AnyBody | Unknown) -> bool:
    """Whether a task may run from here on at the earliest, as it is scheduled or given back."""
    kind = type(body)
    if kind is Updated:
        return body.scheduled_at is not None  # type: ignore[union-attr]
    return kind in {Created, Released, Retried}


def _events_in(
    commit: Commit, numbers: set[int] | None
) -> Iterator[tuple[int, int, int, AnyBody | Unknown]]:
    """Those of tasks, or of these tasks alone."""
    tasks = commit.tasks
    places = [i for i, n in enumerate(tasks) if n and (numbers is None or n in numbers)]
    if not places:
        return
    bodies = decode_at(commit.first, [commit.bodies[place] for place in places])
    for place, body in zip(places, bodies, strict=True):
        yield tasks[place], commit.first + place, time_of(commit.at, body), body


def _part(commit: Commit, after: int, until: int) -> Commit:
    """What a commit has behind a position, up to another."""
    first, last = max(0, after + 1 - commit.first), until + 1 - commit.first
    tasks, bodies = commit.tasks[first:last], commit.bodies[first:last]
    return replace(commit, first=commit.first + first, tasks=tasks, bodies=bodies)


class TaskTrace(Struct):
    """What a pass has seen of one task."""

    task: Task | None = None
    """As its own events have it; the end of a wait is none of these."""
    last_seq: int = 0
    last_at: int = 0
    leased_at: int = 0
    """When the live lease began; 0 without one."""
    ready_at: int = 0
    made_at: int = 0
    """It might not run before this, whatever it is scheduled for."""
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

    @property
    def is_linked(self) -> bool:
        """Whether it is open, and may have waited for others."""
        task = self.task
        if task is None or task.rarity is None or task.recorded_state in FINAL:
            return False
        return task.flow is not None or bool(task.after)

    def take(self, namespace: str, number: int, seq: int, at: int, body: AnyBody | Unknown) -> None:
        """One more event of it."""
        if self.task is not None or type(body) is Created:
            self.task = advance(namespace, self.task, seq, at, body)
        elif type(body) is Retried and body.reopens is not None:
            # It had ended where the log begins.
            self.task = reopen(namespace, number, seq, at, body)
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
            self.waited_us = max(0, at - max(scheduled_at, self.ready_at))
            self.leased_at, self.fence = at, seq
            if body.worker not in self.nodes:
                self.nodes = (*self.nodes, body.worker)
        elif self.leased_at and body.kind in ENDS_LEASE:
            self.ran_us, self.leased_at = at - self.leased_at, 0
        elif self.is_of_newer:
            self.leased_at = 0
        if puts_off(body):
            # Not before it was made, where a clock is behind.
            self.made_at = at if type(body) is Created else self.made_at
            self.ready_at = max(at, self.made_at)
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
            tags_json=open_tags(task.tags_json, task.secret),
            attempts=task.attempt,
            created_at=task.created_at_us,
            scheduled_at=task.scheduled_at_us,
            ended_at=task.finished_at_us if task.recorded_state in FINAL else None,
            last_seq=self.last_seq,
            last_at=self.last_at,
            error_type=None if error is None else error.type,
            error_message="" if error is None or task.secret else error.message,
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
            secret=task.secret,
        )
