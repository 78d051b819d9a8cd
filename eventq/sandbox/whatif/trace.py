"""What a log says about the work: which tasks came when, and how long each attempt took.

It is read once, into plain arrays of some fifty bytes a task: a simulation must know how an attempt
will end when it begins, and asking the log's index a million times takes many times longer.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator

from msgspec import Struct

from eventq.audit import reasons
from eventq.core.cascade import UNNEEDED
from eventq.core.durations import SECOND_US
from eventq.core.events import LAPSED, AnyBody, Cancelled, Commit, Retried, Unknown, decode_at
from eventq.core.policy import wait_us
from eventq.core.projection import Projection
from eventq.core.task import Task, TaskState
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import check_follows, commits_of, stored_kind
from eventq.replay.points import Point
from eventq.runner.pacing import AHEAD_S
from eventq.sandbox.whatif.metrics import Metrics
from eventq.sandbox.whatif.node_activity import Nodes
from eventq.snapshot import projection_at

# How an attempt ended.
COMPLETED, FAILED, ASKED, CANCELLED, LATE, CALLED_OFF = range(6)
"""ASKED: failed, with its own wait (a worker's Retry, a lapse). LATE: ran into its deadline.
CALLED_OFF: a person ended it and its task, so that it is known for so long only."""
NONE = -1

# No node worked when nothing ran, yet a task was ready for longer than this (100 ms). Shorter gaps
# are what a node takes to hear of a task and to commit.
ABSENT_US = SECOND_US // 10

ARRIVING = frozenset({"created", "updated", "cancelled", "retried"})

GroupOf = Callable[[Task], int]
Progress = Callable[[int], None]


class Arrival(Struct, frozen=True, gc=False):
    """What came from outside: a task created, edited, called off or reopened."""

    at: int
    task: int
    body: AnyBody | Unknown


class Trace:
    """What the log holds between two positions, for tasks created there."""

    def __init__(
        self, projection: Projection, group_of: GroupOf, *, workers: int | None = None
    ) -> None:
        self.metrics = Metrics()
        self.absences: list[tuple[int, int]] = []
        """Spans in which no node worked, in order."""
        self.ended_at = projection.at
        self.left_out = len(projection.tasks)
        """Tasks that were open before."""
        # One entry a task, in the order of creation.
        self.numbers: array[int] = array("q")
        self.groups: array[int] = array("i")
        self.first: array[int] = array("q")
        self.last: array[int] = array("q")
        # One entry an attempt, in the order of their ends; `following` leads to the task's next.
        self.lengths_us: array[int] = array("q")
        self.delays_us: array[int] = array("q")
        self.endings: array[int] = array("b")
        self.following: array[int] = array("q")
        self._group_of = group_of
        self._projection = projection
        self._after = projection.seq
        self._nodes = Nodes(workers)
        self._idle_since = projection.at
        for task in projection.leased():
            self._lease(task.number, task, task.seen_at_us)
        self._nodes.measure()

    @property
    def workers(self) -> int:
        """The most attempts that ran at a time, or were leased where the workers are not known."""
        return self._nodes.most

    def capacity(self, workers: int | None) -> list[tuple[int, int]]:
        """See Nodes.capacity."""
        return self._nodes.capacity(workers, self.absences)

    def place_of(self, number: int) -> int:
        """The task's place in the arrays, or NONE for one that was created before. O(log n)."""
        return bisect_left(self.numbers, number) if number > self._after else NONE

    def attempts_of(self, place: int) -> list[int]:
        """The places of the task's attempts, in order."""
        found, attempt = [], self.first[place]
        while attempt != NONE:
            found.append(attempt)
            attempt = self.following[attempt]
        return found

    @property
    def fail_rate(self) -> float:
        """The share of attempts that failed."""
        failed = sum(ending in {FAILED, ASKED, LATE} for ending in self.endings)
        return failed / len(self.endings) if self.endings else 0.0

    @property
    def is_ahead(self) -> bool:
        """Whether most attempts are so short that nodes lease ahead; O(n log n)."""
        ordered = sorted(self.lengths_us)
        median_us = ordered[len(ordered) // 2]
        # What is leased ahead waits behind as much work again.
        return self.workers > 1 and median_us < 2 * AHEAD_S * SECOND_US

    def take(self, commit: Commit) -> None:
        """Reads one more commit. Raises LogCorruptError."""
        check_follows(self._projection, commit)
        kinds = kinds_of(commit)
        if not self._nodes.running and "leased" in kinds:
            self._notice_absence(commit.at)
        after = self._projection.apply(commit)
        for index, (number, kind, task) in enumerate(zip(commit.tasks, kinds, after, strict=True)):
            if kind == "leased":
                self._lease(number, task, commit.at)
            elif kind in {"completed", "failed", "released", "cancelled"}:
                self._end(kind, number, commit, after[index : index + 2])
            if number <= self._after or task is None:
                continue
            if kind == "created":
                self._create(task, commit.at)
            elif kind in {"completed", "expired", "cancelled"}:
                self.metrics.ends[kind] += 1
                self.metrics.end(commit.at)
            elif kind == "retried" and (was := _reopened(commit, index)) is not None:
                self.metrics.ends[was] -= 1
        self._nodes.measure()
        self.ended_at = commit.at

    def finish(self) -> None:
        """Counts what is still running at the end."""
        self._nodes.finish(self.ended_at)
        for number, running in self._nodes.running.items():
            if running.begun_at is not None and (place := self.place_of(number)) != NONE:
                self.metrics.begin(self.groups[place], running.begun_at - running.ready_at)

    def _create(self, task: Task, at: int) -> None:
        self.metrics.arrive(at)
        self.numbers.append(task.number)
        self.groups.append(self._group_of(task))
        self.first.append(NONE)
        self.last.append(NONE)

    def _notice_absence(self, at: int) -> None:
        """Notes a span in which a task was ready and nothing ran."""
        if at - self._idle_since <= ABSENT_US:
            return
        projection, governing = self._projection, self._projection.governing
        # What a limit or a pause keeps back waits for that, and not for a node.
        ready = (task for task in projection.ready(at) if governing.held_by(task, at) is None)
        ready_at = min((task.scheduled_at_us for task in ready), default=at)
        begun_at = max(ready_at, self._idle_since)
        if at - begun_at > ABSENT_US:
            self.absences.append((begun_at, at))

    def _lease(self, number: int, task: Task | None, at: int) -> None:
        assert task is not None, "a leased task is open"
        assert task.worker is not None, "a lease has a node"
        self._nodes.lease(number, task.worker, ready_at=task.scheduled_at_us, at=at)

    def _end(self, kind: str, number: int, commit: Commit, after: list[Task | None]) -> None:
        """Ends the running attempt; ``after`` is the task now, and after the event that follows."""
        running = self._nodes.end(number, commit.at)
        if running is None:
            return
        if not self._nodes.running:
            self._idle_since = commit.at
        place = self.place_of(number)
        if place == NONE or kind == "released":
            # One that was given back begins again, and is counted then.
            return
        assert running.begun_at is not None, "what has ended has begun"
        self.metrics.begin(self.groups[place], running.begun_at - running.ready_at)
        self.metrics.end(commit.at)
        ending, delay_us = _ending(kind, after, commit.at)
        self.metrics.failures += kind == "failed"
        self._add(place, commit.at - running.begun_at, ending, delay_us)

    def _add(self, place: int, length_us: int, ending: int, delay_us: int) -> None:
        attempt = len(self.lengths_us)
        self.lengths_us.append(length_us)
        self.endings.append(ending)
        self.delays_us.append(delay_us)
        self.following.append(NONE)
        if self.first[place] == NONE:
            self.first[place] = attempt
        else:
            self.following[self.last[place]] = attempt
        self.last[place] = attempt


def read_trace(
    log: EventLog,
    *,
    after: Point,
    until: int,
    group_of: GroupOf,
    workers: int | None,
    progress: Progress,
) -> Trace:
    """Reads the log between two positions at which commits end; O(events).

    ``workers`` is how many each node had, if that is known.
    """
    projection = projection_at(log, after)
    trace = Trace(projection, group_of, workers=workers)
    for commit in commits_of(log, after=after.seq, until=until):
        trace.take(commit)
        progress(commit.last)
    trace.finish()
    return trace


def read_arrivals(
    log: EventLog, *, after: int, until: int, progress: Progress
) -> Iterator[Arrival]:
    """What came from outside between two positions, in order; the events of nodes are left out."""
    for commit in commits_of(log, after=after, until=until):
        progress(commit.last)
        before = ""
        for number, text, kind in zip(commit.tasks, commit.bodies, kinds_of(commit), strict=True):
            # Behind a failure these are what the node decided about it.
            if kind in ARRIVING and number > after and (kind == "created" or before != "failed"):
                [body] = decode_at(commit.first, [text])
                if not _is_cascade(body):
                    yield Arrival(commit.at, number, body)
            before = kind


def _is_cascade(body: AnyBody | Unknown) -> bool:
    """Whether a node has cancelled the task since another one has ended, or its flow has closed."""
    return isinstance(body, Cancelled) and (body.cause is not None or body == Cancelled(UNNEEDED))


def kinds_of(commit: Commit) -> list[str]:
    """The kinds of a commit's bodies. Raises LogCorruptError."""
    return [stored_kind(text) or decode_at(commit.first, [text])[0].kind for text in commit.bodies]


def _ending(kind: str, after: list[Task | None], at: int) -> tuple[int, int]:
    """How an attempt ended, and the wait until its retry or NONE."""
    if kind == "failed":
        failed, following = after[0], after[-1]
        assert failed is not None, "a failed task is open until the next event"
        return _failure(failed, following, at)
    return (CALLED_OFF if kind == "cancelled" else COMPLETED), NONE


def _failure(failed: Task, following: Task | None, at: int) -> tuple[int, int]:
    error = failed.last_error
    assert error is not None, "a failed task has an error"
    if following is None or following.recorded_state is TaskState.CANCELLED:
        return CANCELLED, NONE
    retried = following.recorded_state is TaskState.SCHEDULED
    delay_us = following.scheduled_at_us - at if retried else NONE
    if error.type == LAPSED:
        return ASKED, 0
    if error.type == reasons.LATE:
        return LATE, delay_us
    asked = error.type == reasons.RETRY and retried and not _is_own(failed, delay_us)
    return (ASKED if asked else FAILED), delay_us


def _is_own(task: Task, delay_us: int) -> bool:
    """Whether the wait is one that the task's own policy may have given."""
    longest_us = wait_us(task.policy, retry=task.retry_count + 1, draw=0.0)
    shortest_us = wait_us(task.policy, retry=task.retry_count + 1, draw=1.0)
    return shortest_us <= delay_us <= longest_us


def _reopened(commit: Commit, index: int) -> str | None:
    """Which final state a ``retried`` brings its task back from; None for a retry by a node."""
    text = commit.bodies[index]
    if '"reopens"' not in text:
        return None
    [body] = decode_at(commit.first + index, [text])
    return body.reopens.was if isinstance(body, Retried) and body.reopens is not None else None
