"""One pass over a log that finds the attempts which a selector means.

An attempt looks like its task did when it was over, with what is the attempt's alone: its node, its
error, how long it had waited and ran, whether its node died, whether its outcome came late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from eventq.catalog.passing import Passing, Progress, TaskTrace
from eventq.catalog.record import TaskRecord
from eventq.catalog.selector import Selector
from eventq.core.commits import AnyBody, Unknown
from eventq.core.events import Cancelled, Expired, Failed, Leased, Refused, Retried
from eventq.core.moves import ENDS_LEASE
from eventq.core.task import Task, state_as_of
from eventq.core.values import LAPSED
from eventq.eventlog.contract import EventLog
from eventq.replay.attempts import Ending
from eventq.replay.points import Point

# Their workers may not know, and may still bring an outcome.
LOSABLE = frozenset({"lapsed", "released", "called off"})


class AttemptRecord(Struct, frozen=True, gc=False):
    """One attempt that is over. Instants are microseconds, UTC."""

    task: TaskRecord
    """As it stood when the attempt was over; nodes, end, error, lapses, refused: the attempt's."""
    attempt: int
    fence: int
    node: str
    started_at: int
    ended_at: int
    ended_seq: int
    outcome: Ending
    late: str | None = None
    """What its worker came with after the lease was lost: the work may have run twice."""


class _Leased(Struct):
    attempt: int
    fence: int
    node: str
    started_at: int


def attempts_over(
    log: EventLog,
    selector: Selector,
    until: Point,
    *,
    after: int = 0,
    numbers: Iterable[int] | None = None,
    progress: Progress | None = None,
) -> Iterator[AttemptRecord]:
    """The attempts that were over at a point and are meant, the first that ended first.

    Only those that were over behind the position ``after``; and of the tasks with these
    ``numbers``, among which are all that have such attempts, where that is known. Raises
    LogArchivedError for a point before the log begins, LogCorruptError.
    """
    # What comes late or is the task's later belongs to attempts that are over by then.
    early = replace(selector, refused=None, ran_twice=None, states=())
    looked_for = replace(selector, states=())
    passing = Passing(log, looked_for, until, after=after, numbers=numbers, progress=progress)
    attempts = _Attempts(early, log.namespace, passing)
    for number, seq, at, body in passing.events():
        attempts.take(number, seq, at, body)
    for found in sorted(attempts.over.values(), key=lambda each: each.ended_seq):
        if found.ended_seq > after and selector.matches(found.task):
            yield found


def ever(selector: Selector) -> Selector:
    """What a task looks like at some time that has an attempt which is meant.

    Without what is asked of the attempt in other words than of its task.
    """
    if selector.refused or selector.ran_twice:
        # The outcome comes after the attempt, when all else may be another.
        return Selector(refused=True)
    return replace(
        selector,
        states=(),
        # Its number goes down when it is given back, and its task changes after it is over.
        min_attempts=None,
        since=None,
        until=None,
        ended_after=None,
        ended_before=None,
        lapsed=selector.lapsed or None,
        refused=None,
        ran_twice=None,
    )


class _Attempts:
    """The attempts that a pass has seen, and what it needs to see more."""

    def __init__(self, early: Selector, namespace: str, passing: Passing) -> None:
        self.over: dict[int, AttemptRecord] = {}
        """Those that may be meant, by their fence."""
        self._early = early
        self._namespace = namespace
        self._passing = passing
        self._traces: dict[int, TaskTrace] = {}
        self._running: dict[int, _Leased] = {}
        self._lost: dict[int, int] = {}
        """The last fence of each task of which an attempt may still bring its outcome late."""
        self._last: dict[int, int] = {}
        """The fence of the attempt that a task has just failed, until it is said what follows."""

    def take(self, number: int, seq: int, at: int, body: AnyBody | Unknown) -> None:
        """One more event of a task."""
        if type(body) is Refused:
            # Its task may have ended before it.
            self._come_late(number, body)
        trace = self._traces.get(number)
        if trace is None:
            trace = self._passing.trace_of(number, at, body)
            if trace is None:
                return
            self._traces[number] = trace
        trace.take(self._namespace, number, seq, at, body)
        if type(body) is Leased:
            self._running[number] = _Leased(body.attempt, seq, body.worker, at)
            if number in self._lost:
                self._lease_again(number, seq)
        elif body.kind in ENDS_LEASE and number in self._running:
            self._end(number, seq, at, body, trace)
        elif isinstance(body, (Retried, Expired, Cancelled)):
            self._follow(number, body, trace.task, at)
        if trace.is_done:
            # It never comes back.
            del self._traces[number]

    def _end(
        self, number: int, seq: int, at: int, body: AnyBody | Unknown, trace: TaskTrace
    ) -> None:
        leased = self._running.pop(number)
        task = trace.task
        if task is None:
            return
        record = _own(trace.record(task, at), leased, at, body)
        ending = _ending(body)
        if ending in LOSABLE:
            self._lost[number] = leased.fence
        if self._early.matches(record):
            self.over[leased.fence] = AttemptRecord(
                record,
                leased.attempt,
                leased.fence,
                leased.node,
                leased.started_at,
                at,
                seq,
                ending,
            )
            if ending in {"failed", "lapsed"}:
                self._last[number] = leased.fence

    def _follow(
        self, number: int, body: Retried | Expired | Cancelled, after: Task | None, at: int
    ) -> None:
        """What became of the task whose attempt has just failed."""
        found = self.over.get(self._last.pop(number, 0))
        if found is None or after is None:
            return
        task = replace(found.task, state=state_as_of(after, at))
        is_called_off = type(body) is Cancelled and found.outcome == "failed"
        outcome: Ending = "cancelled" if is_called_off else found.outcome
        self.over[found.fence] = replace(found, task=task, outcome=outcome)

    def _come_late(self, number: int, body: Refused) -> None:
        found = self.over.get(body.fence)
        if found is not None:
            ran_twice = self._lost.get(number, 0) > body.fence
            task = replace(found.task, refused=1, ran_twice=ran_twice)
            self.over[body.fence] = replace(found, task=task, late=body.outcome)

    def _lease_again(self, number: int, seq: int) -> None:
        """The task of an attempt that was lost runs once more."""
        found = self.over.get(self._lost[number])
        if found is not None and found.late is not None:
            task = replace(found.task, ran_twice=True)
            self.over[found.fence] = replace(found, task=task)
        self._lost[number] = seq


def _own(record: TaskRecord, leased: _Leased, at: int, body: AnyBody | Unknown) -> TaskRecord:
    """The task with what is the attempt's alone."""
    own = replace(
        record,
        nodes=(leased.node,),
        attempts=leased.attempt,
        ended_at=at,
        lapses=0,
        refused=0,
        ran_twice=False,
    )
    if type(body) is not Failed:
        return replace(own, error_type=None, error_message="", error_place="")
    return replace(own, lapses=int(body.error.type == LAPSED))


def _ending(body: AnyBody | Unknown) -> Ending:
    if type(body) is Failed:
        return "lapsed" if body.error.type == LAPSED else "failed"
    if type(body) is Cancelled:
        return "called off"
    return "completed" if body.kind == "completed" else "released"
