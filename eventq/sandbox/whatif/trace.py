"""What a log says about the work: which tasks came when, and how long each attempt took.

It is read once, into plain arrays of some fifty bytes a task: a simulation must know how an attempt
will end when it begins, and asking the log's index a million times takes many times longer.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable

from eventq.audit import reasons
from eventq.core.audience import EVERYTHING
from eventq.core.commits import AnyRule, Commit, decode_at
from eventq.core.durations import SECOND_US
from eventq.core.events import Retried
from eventq.core.lease import can_lease
from eventq.core.places import Vacancy
from eventq.core.policy import wait_us
from eventq.core.projection import END_KINDS, Projection
from eventq.core.queue_events import Limited
from eventq.core.task import Task, TaskState, is_due
from eventq.core.values import LAPSED
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import check_follows, commits_of
from eventq.replay.points import Point
from eventq.runner.pacing import AHEAD_S
from eventq.sandbox.whatif.arrivals import GOVERNING, Progress, kinds_of
from eventq.sandbox.whatif.dues import ScheduleRecords
from eventq.sandbox.whatif.metrics import Metrics
from eventq.sandbox.whatif.node_activity import Nodes
from eventq.sandbox.whatif.ready_since import ReadySince, scheduled_since
from eventq.snapshot import projection_at

# How an attempt ended.
COMPLETED, FAILED, ASKED, CANCELLED, LATE, CALLED_OFF, RELEASED, RUNNING = range(8)
"""ASKED: failed, with its own wait (a worker's Retry, a lapse). LATE: ran into its deadline.
CALLED_OFF: a person ended it and its task, so that it is known for so long only. RELEASED: given
back, or put off by its worker; no attempt is counted. RUNNING: the record ended before it did."""
UNENDED = frozenset({RELEASED, RUNNING})
"""Those of which the record does not say how they would have ended."""
NONE = -1

# No node worked when nothing ran, yet a task was ready for longer than this (100 ms). Shorter gaps
# are what a node takes to hear of a task and to commit.
ABSENT_US = SECOND_US // 10

# A person has done one of these to a task that waits.
TAKES_AWAY = frozenset({"cancelled", "updated"})

# Those that tell of schedules, and of what their dues bring.
OF_SCHEDULES = frozenset({"created", "planned", "unplanned"})

GroupOf = Callable[[Task], int]
ShareOf = Callable[[Task], str | None]


class Trace:
    """What the log holds between two positions, for tasks created there."""

    def __init__(
        self,
        projection: Projection,
        group_of: GroupOf,
        *,
        workers: int | None = None,
        share_of: ShareOf,
        schedules: Iterable[str] = (),
    ) -> None:
        self.metrics = Metrics()
        governing = projection.governing
        self.said: list[AnyRule] = [
            *(limit.said for limit in governing.limits.by_name.values()),
            *(pause.said for pause in governing.pauses.by_scope.values()),
        ]
        """What had been said of limits, pauses and turns before."""
        if governing.turns.shared is not None:
            self.said.append(governing.turns.shared)
        self.limits_said: dict[str, str | None] = {}
        """Limits that are defined in the trace, with the tag that each has there first."""
        self.limits_taken: set[str] = set()
        """Those that a task takes a place in."""
        self.is_governed = bool(self.said)
        """Whether limits, pauses or turns play a part."""
        self.schedules = ScheduleRecords(projection.schedules.by_name.values(), schedules)
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
        self.ended: array[int] = array("q")
        """The attempts of which the record says how they ended."""
        # One entry a task: its share, by its place among their names.
        self.shares: array[int] = array("i")
        self.begun_at = projection.at
        self._share_names: list[str] = []
        self._share_places: dict[str, int] = {}
        self._group_of = group_of
        self._share_of = share_of
        self._ready_since = ReadySince(projection)
        self._projection = projection
        self._after = projection.seq
        self._nodes = Nodes(workers)
        self._idle_since = projection.at
        # When it was last said who may run.
        self._ruled_at = 0
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

    def mean_workers(self) -> float:
        """See Nodes.mean_workers."""
        return self._nodes.mean_workers(self.absences, self.ended_at)

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

    def share_at(self, place: int) -> str:
        """The share of a task; O(1)."""
        return self._share_names[self.shares[place]]

    def repeat(self, number: int, new: int) -> None:
        """Writes a task behind all others that is as another one, with the same attempts."""
        place = self.place_of(number)
        self.numbers.append(new)
        for values in (self.groups, self.first, self.last, self.shares):
            values.append(values[place])

    @property
    def fail_rate(self) -> float:
        """The share of attempts that failed."""
        failed = sum(ending in {FAILED, ASKED, LATE} for ending in self.endings)
        return failed / len(self.ended) if self.ended else 0.0

    @property
    def is_ahead(self) -> bool:
        """Whether nodes that have not told their slots lease ahead; O(n log n)."""
        ordered = sorted(self.lengths_us[attempt] for attempt in self.ended)
        median_us = ordered[len(ordered) // 2]
        # What is leased ahead waits behind as much work again.
        is_short = median_us < 2 * AHEAD_S * SECOND_US
        return self._nodes.is_guess and self.workers > 1 and is_short

    def take(self, commit: Commit) -> None:
        """Reads one more commit. Raises LogCorruptError."""
        check_follows(self._projection, commit)
        kinds = kinds_of(commit)
        if not self._nodes.running:
            at_least_us = 1 if self._is_taken_away(commit, kinds) else ABSENT_US
            self._notice_absence(commit.at, at_least_us=at_least_us)
        self._take_rules(commit, kinds)
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
            elif kind in END_KINDS:
                self.metrics.finish(self.place_of(number), kind, commit.at)
            elif kind == "retried" and (was := _reopened(commit, index)) is not None:
                self.metrics.reopen(self.place_of(number), was)
        self._nodes.measure()
        self.ended_at = commit.at

    def finish(self) -> None:
        """Counts what is still running at the end, and notices who is not there any more."""
        if not self._nodes.running:
            # However short it is: nobody took what was ready.
            self._notice_absence(self.ended_at, at_least_us=1)
        self._nodes.finish(self.ended_at)
        for number, running in self._nodes.running.items():
            if running.begun_at is not None and (place := self.place_of(number)) != NONE:
                self._begin(place, running.begun_at - running.ready_at)
                self._add(place, self.ended_at - running.begun_at, RUNNING, NONE)

    def _is_taken_away(self, commit: Commit, kinds: list[str]) -> bool:
        """Whether something that was ready, and that nobody took, is called off or put off."""
        tasks, before = self._projection.tasks, commit.at - 1
        return any(
            kind in TAKES_AWAY and number in tasks and is_due(tasks[number], before)
            for number, kind in zip(commit.tasks, kinds, strict=True)
        )

    def _begin(self, place: int, wait_us: int) -> None:
        self.metrics.begin(place, self.groups[place], wait_us, self.share_at(place))

    def _take_rules(self, commit: Commit, kinds: list[str]) -> None:
        """Reads what a commit says of rules and schedules, and whose end others wait for."""
        if not GOVERNING.isdisjoint(kinds):
            self.is_governed, self._ruled_at = True, commit.at
            for place, kind in enumerate(kinds):
                if kind == "limited":
                    [body] = decode_at(commit.first + place, [commit.bodies[place]])
                    assert isinstance(body, Limited), "it is of this kind"
                    self.limits_said.setdefault(body.limit, body.per)
        if self.schedules.by_name and not OF_SCHEDULES.isdisjoint(kinds):
            bodies = decode_at(commit.first, commit.bodies)
            self.schedules.take(self._after, commit.at, commit.tasks, bodies)
        if self._projection.waits.by_task:
            for number, kind in zip(commit.tasks, kinds, strict=True):
                if kind in END_KINDS:
                    self._ready_since.note_end(number, commit.at)

    def _create(self, task: Task, at: int) -> None:
        self.metrics.arrive(len(self.numbers), at)
        if task.route.buckets:
            self.is_governed = True
            self.limits_taken.update(bucket.limit for bucket in task.route.buckets)
        self.shares.append(self._share_place(task))
        self.numbers.append(task.number)
        self.groups.append(self._group_of(task))
        self.first.append(NONE)
        self.last.append(NONE)

    def _share_place(self, task: Task) -> int:
        share = self._share_of(task) or ""
        known = self._share_places.setdefault(share, len(self._share_names))
        if known == len(self._share_names):
            self._share_names.append(share)
        return known

    def _notice_absence(self, at: int, *, at_least_us: int) -> None:
        """Notes a span up to now in which a task was ready and nothing ran; before each commit.

        O(log n), but O(n) where such a span begins.
        """
        projection, governing = self._projection, self._projection.governing
        # A rate or a pause may just have ended, and then no node was late.
        before = at - at_least_us
        if before < self._idle_since:
            return
        # What a limit or a pause keeps back waits for that, and not for a node.
        if not can_lease(projection, Vacancy(1), now=before, audience=EVERYTHING):
            return
        last = self.absences[-1] if self.absences else None
        if last is not None and last[1] == self.ended_at and last[0] >= self._idle_since:
            # It goes on.
            begun_at, _ = self.absences.pop()
        else:
            ready = (
                task for task in projection.ready(at) if governing.held_by(task, before) is None
            )
            ready_at = min(map(scheduled_since, ready), default=at)
            begun_at = max(ready_at, self._idle_since, self._ruled_at)
        if at - begun_at >= at_least_us:
            self.absences.append((begun_at, at))

    def _lease(self, number: int, task: Task | None, at: int) -> None:
        assert task is not None, "a leased task is open"
        assert task.worker is not None, "a lease has a node"
        if (place := self.place_of(number)) != NONE:
            # Turns may have been taken only since it was made.
            self.shares[place] = self._share_place(task)
        member = self._projection.members.by_name.get(task.worker)
        slots = None if member is None else member.joined.slots
        ready_at = self._ready_since.of(task)
        self._nodes.lease(number, task.worker, ready_at=ready_at, at=at, slots=slots)

    def _end(self, kind: str, number: int, commit: Commit, after: list[Task | None]) -> None:
        """Ends the running attempt; ``after`` is the task now, and after the event that follows."""
        running = self._nodes.end(number, commit.at)
        if running is None:
            return
        if not self._nodes.running:
            self._idle_since = commit.at
        place = self.place_of(number)
        if place == NONE:
            return
        assert running.begun_at is not None, "what has ended has begun"
        if kind == "released":
            # It begins again, and is counted then.
            task = after[0]
            again_at = commit.at if task is None else max(task.scheduled_at_us, commit.at)
            self._add(place, commit.at - running.begun_at, RELEASED, again_at - commit.at)
            return
        self._begin(place, running.begun_at - running.ready_at)
        self.metrics.end(commit.at)
        ending, delay_us = _ending(kind, after, commit.at)
        self.metrics.failures += kind == "failed"
        self._add(place, commit.at - running.begun_at, ending, delay_us)

    def _add(self, place: int, length_us: int, ending: int, delay_us: int) -> None:
        attempt = len(self.lengths_us)
        if ending not in UNENDED:
            self.ended.append(attempt)
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
    share_of: ShareOf,
    schedules: Iterable[str],
    progress: Progress,
) -> Trace:
    """Reads the log between two positions at which commits end; O(events).

    ``workers`` is how many each node had, if that is known. Of these ``schedules`` it is kept what
    their dues brought.
    """
    projection = projection_at(log, after)
    trace = Trace(projection, group_of, workers=workers, share_of=share_of, schedules=schedules)
    for commit in commits_of(log, after=after.seq, until=until):
        trace.take(commit)
        progress(commit.last)
    trace.finish()
    return trace


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
