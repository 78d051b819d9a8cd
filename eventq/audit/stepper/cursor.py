"""A cursor on a log: the projection at a position, and the same one event on, or one back.

Forward is the fold's own `apply`. Backward is its inverse: each event taken back by what it
replaced, which is kept for the last events and looked up by the task's history for older ones, so
that a step costs the same anywhere; only where limits, pauses or turns are used, a step back folds
anew. Nothing here reads a clock or appends an event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from eventq.audit.stepper.past import UndoLookup, reporting
from eventq.audit.stepper.reversible import ReversibleProjection, Undo
from eventq.audit.stepper.standing import CursorStep, CursorView, view_of
from eventq.audit.stepper.window import Window, read_backward, read_forward
from eventq.core.commits import Commit, Event
from eventq.core.moves import change
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.core.values import NODE
from eventq.errors import EventqError, LogArchivedError, LogCorruptError
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import apply_one, catch_up, check_follows, decode_events
from eventq.replay.points import Point, PointLike, find_point
from eventq.replay.query import Stats, take_stats
from eventq.snapshot import projection_at
from eventq.snapshot.starting import is_quicker_from_snapshot

# Undos kept: that many steps back need no look at the log.
UNDOS_KEPT = 20_000
# Up to this many events go one by one, keeping their undos; more are folded in bulk.
STEPWISE_EVENTS = 2_000
# Up to this many events back are taken back one by one by their tasks' histories.
LOOKED_UP_EVENTS = 3_000
# A search reports its position every so many events.
PROGRESS_EVENTS = 1_000

Progress = Callable[[int], None]
Condition = Callable[[Projection, Event, Task | None], bool]


class Cursor:
    """A place in a log, with the projection there; starts where the log does.

    ``now`` (microseconds) is what "end" and times ago are counted from; set it again while the
    log grows. Memory is bounded by the open tasks and by the constants of this module. A method
    that is given ``progress`` calls it now and then with the position it has reached. What that
    raises stops the method; the cursor then stands at a position all the same. Raises
    LogCorruptError at damage; the cursor then stands right before it.
    """

    def __init__(self, log: EventLog, *, now: int) -> None:
        self.now = now
        self.step = CursorStep()
        self._log = log
        self._window = Window(log)
        self._past = UndoLookup(log, self._window)
        self._projection = ReversibleProjection(log.namespace)
        self._undos: deque[Undo] = deque(maxlen=UNDOS_KEPT)
        # The commit whose seal was computed last, by its position.
        self._checked = 0
        start = self._begin()
        if start:
            self._start_at(start, _ignore)

    @property
    def seq(self) -> int:
        """The position: that of the last event that counts, 0 before the first one."""
        return self._projection.seq

    @property
    def projection(self) -> Projection:
        """The projection here; not to be changed or kept, since it goes along."""
        return self._projection

    @property
    def event(self) -> Event | None:
        """The event at the position; None where the log starts."""
        return self.step.event

    @property
    def task(self) -> Task | None:
        """The event's task after it, final or not; None for an event about a node."""
        return self.step.task

    def forward(self, count: int = 1) -> bool:
        """Moves on by so many events, or to the end; returns whether it moved."""
        found = count if count == 1 else min(count, self._log.head().seq - self.seq)
        if found < 1 or self._window.commit(self.seq + 1) is None:
            return False
        self._move(self.seq + found)
        return True

    def backward(self, count: int = 1) -> bool:
        """Moves back by so many events, or to the log's start; returns whether it moved."""
        start = self._begin()
        if self.seq <= start:
            return False
        self._move(max(start, self.seq - count))
        return True

    def jump(self, point: PointLike, *, progress: Progress | None = None) -> None:
        """Goes to a point, as `find_point` takes it; the view is as of its instant.

        Raises ArgumentError for what means no point of this log.
        """
        found = find_point(self._log, point, now=self.now)
        self._move(found.seq, progress)
        self._projection.advance_to(found.at)

    def is_near(self, count: int) -> bool:
        """Whether a move by so many events, back when negative, is too quick to need progress."""
        if count > 0:
            return count <= STEPWISE_EVENTS
        # One more, since a step is looked at from the position before it.
        return self._is_near_behind(max(count - 1, -self.seq))

    def find(
        self,
        *,
        kind: str | None = None,
        task: int | None = None,
        worker: str | None = None,
        condition: Condition | None = None,
        back: bool = False,
        progress: Progress | None = None,
    ) -> bool:
        """Goes to the next event of this kind, task (its number) and worker, as far as given.

        ``back`` goes to the last one before. ``worker`` finds the events that name the node:
        leased, renewed, refused. A condition is asked at every event, with the projection, the
        event and its task after it (back, only if that is open), and has to hold too; the cursor
        then runs event by event, and stands at the end of its way when it holds nowhere. Without
        a condition it stays where it is when there is none. Returns whether it found one.
        """

        def matches(event: Event) -> bool:
            return (
                kind in {None, event.kind}
                and task in {None, event.task}
                and worker in {None, getattr(event.body, "worker", None)}
            )

        progress = progress or _ignore
        if condition is not None:
            return self._run(condition, matches, progress, back=back)
        for event in self._events_of(task, back=back):
            if not event.seq % PROGRESS_EVENTS:
                progress(event.seq)
            if (event.seq < self.seq if back else event.seq > self.seq) and matches(event):
                self._move(event.seq, progress)
                return True
        return False

    def events(self, *, before: int, after: int) -> list[Event]:
        """The events around the position: up to so many before it, itself, so many after it."""
        return self._window.events(self.seq - before, self.seq + after)

    def view(self, *, limit: int = 10) -> CursorView:
        """What is here, with at most ``limit`` tasks of each sort."""
        return view_of(self._projection, self.step, limit=limit)

    def _move(self, seq: int, progress: Progress | None = None) -> None:
        """Goes to the position by way of the one before, to see what its event does."""
        progress = progress or _ignore
        # A jump may have left the view later than its event.
        self._projection.advance_to(self._projection.decided_at)
        try:
            start = self._begin()
            self._go(max(start, seq - 1), start, progress)
            self.step = self._forward() if seq > start else CursorStep()
        except BaseException:
            self._projection.advance_to(self._projection.decided_at)
            self._stand()
            raise

    def _begin(self) -> int:
        """The position before the first event that the log holds; an archive run moves it on."""
        return self._log.start().seq

    def _go(self, seq: int, start: int, progress: Progress) -> None:
        """Goes to the position, whichever way is shortest; the log holds what is behind start."""
        distance = seq - self.seq
        if self._is_near_behind(distance):
            for _ in range(-distance):
                self._back()
            return
        # The last stretch goes step by step, so that its undos are kept.
        near = max(start, seq - STEPWISE_EVENTS)
        is_elsewhere = distance < 0 or self.seq < start
        try:
            if is_elsewhere or is_quicker_from_snapshot(self._log, after=self.seq, until=near):
                self._start_at(near, progress)
            elif self.seq < near:
                self._undos.clear()
                catch_up(self._projection, reporting(self._log, progress), until=near)
        except LogCorruptError as error:
            # Half of a commit may have been folded.
            self._start_at(max(start, min(near, error.position - 1)), progress)
            raise
        while self.seq < seq:
            self._on()

    def _is_near_behind(self, distance: int) -> bool:
        """Whether events are to be taken back one by one, for that is the shortest way."""
        if self._projection.governing.is_on:
            return -1 <= distance <= 0
        return -len(self._undos) - LOOKED_UP_EVENTS <= distance <= 0

    def _start_at(self, seq: int, progress: Progress) -> None:
        point = find_point(self._log, seq, now=self.now) if seq else Point(0, 0)
        projection = projection_at(reporting(self._log, progress), point)
        self._projection = ReversibleProjection.of(projection)
        self._undos.clear()

    def _forward(self) -> CursorStep:
        """One event on, and what it did."""
        earlier = self._stats()
        _, event = self._stored(self.seq + 1)
        # A final task is known by its history alone.
        before = self._projection.tasks.get(event.task) or self._past.task_before(event)
        task = self._on()
        after = before if task is None else task
        if before is not None and event.task in self._projection.strangers:
            after = change(before, event.seq, event.decided_at, event.body)
        return CursorStep(event, before, after, earlier, self._stats())

    def _stats(self) -> Stats:
        return take_stats(self._projection, now=self._projection.advanced_to)

    def _on(self) -> Task | None:
        """Folds the next event; returns its task after it."""
        commit, event = self._stored(self.seq + 1)
        if self._checked != commit.first:
            check_follows(self._projection, commit)
            self._checked = commit.first
        undo = self._projection.undo_of(event)
        task = apply_one(self._projection, commit, event)
        self._undos.append(undo)
        return task

    def _back(self) -> Task | None:
        """Takes the last event back; returns the task of the one before, if it is open."""
        seq = self.seq
        before = self._window.event(seq - 1)
        is_at_archive = before is None and seq > 1
        if self._projection.governing.is_on or is_at_archive or not self._take_back(before):
            # What rates and turns have forgotten, and what is archived, only the fold can tell.
            self._start_at(seq - 1, _ignore)
        return None if before is None else self._projection.tasks.get(before.task)

    def _take_back(self, before: Event | None) -> bool:
        """Takes the last event back by what it replaced; returns whether that is known."""
        seq = self.seq
        commit, event = self._stored(seq)
        at, seal = commit.at, commit.seal
        if seq == commit.first:
            earlier = self._window.commit(seq - 1)
            at, seal = 0 if earlier is None else earlier.at, commit.prev
        decided_at = at if before is None else before.decided_at
        # Looked up before it is taken off, so that a failure changes nothing.
        try:
            undo = self._undos[-1] if self._undos else self._past.undo_of(self._projection, event)
        except LogArchivedError:
            return False
        self._projection.step_back(event, undo, at=at, decided_at=decided_at, seal=seal)
        if self._undos:
            self._undos.pop()
        return True

    def _stand(self) -> None:
        """Looks at the present position as if it had just been reached."""
        self.step = CursorStep()
        with suppress(EventqError):
            if self.seq > self._begin():
                self._back()
                self.step = self._forward()

    def _stored(self, seq: int) -> tuple[Commit, Event]:
        """What the log has at a position at which there is an event."""
        found = self._window.find(seq)
        if found is None:
            raise LogCorruptError(seq, "the event is no longer there")
        return found

    def _events_of(self, task: int | None, *, back: bool) -> Iterable[Event]:
        """The events of a task, or of all, that the log holds, in the order of a search."""
        if task in {None, NODE}:
            read = read_backward if back else read_forward
            return read(self._log, self.seq)
        history = decode_events(self._log.history(task))
        return reversed(history) if back else history

    def _run(
        self,
        condition: Condition,
        matches: Callable[[Event], bool],
        progress: Progress,
        *,
        back: bool,
    ) -> bool:

        def holds(task: Task | None) -> bool:
            if not self.seq % PROGRESS_EVENTS:
                progress(self.seq)
            event = self._window.event(self.seq)
            return bool(event and condition(self._projection, event, task) and matches(event))

        self._projection.advance_to(self._projection.decided_at)
        try:
            if back and self._projection.governing.is_on:
                return self._run_stretches(holds, progress)
            start = self._begin()
            while self.seq > start if back else self._window.event(self.seq + 1):
                if holds(self._back() if back else self._on()):
                    return True
            return False
        finally:
            self._stand()

    def _run_stretches(self, holds: Callable[[Task | None], bool], progress: Progress) -> bool:
        """Goes back to where it holds, by stretches that are run forward: a fold each, not a step.

        Each is twice as long as the one before, so that few are folded however long the log is.
        """
        start, until, length = self._begin(), self.seq, STEPWISE_EVENTS
        while until > start:
            begin, found = max(start, until - length), None
            self._start_at(begin, progress)
            while True:
                event = self._window.event(self.seq)
                if holds(None if event is None else self._projection.tasks.get(event.task)):
                    found = self.seq
                if self.seq == until - 1:
                    break
                self._on()
            if found is not None:
                self._start_at(found, progress)
                return True
            until, length = begin, 2 * length
        self._start_at(start, progress)
        return False


def _ignore(_seq: int) -> None:
    """Reports to no one."""
