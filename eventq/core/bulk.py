"""Changes to many tasks: their beginning, a portion of them, their end; each a command.

Whoever applies one again, after a crash too, changes nothing twice: what carries the number of the
change is done, and what has moved on since it was selected is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import ClassVar

from msgspec import UNSET, Struct
from msgspec.structs import replace

from eventq.core.asking import Asking
from eventq.core.cascade import Revival
from eventq.core.command import BulkSince, Decision, Draft, PastTasks
from eventq.core.commits import Event
from eventq.core.events import ByHand, Created
from eventq.core.manage import CancelTask, RetryTask, UpdateTask
from eventq.core.moves import changes, fold_events
from eventq.core.newer import check_understood
from eventq.core.projection import Projection
from eventq.core.queue_events import Bulk, BulkEnded
from eventq.core.task import FINAL, PENDING, REOPENABLE, Task, TaskState
from eventq.core.undoing import take_back
from eventq.core.values import COMMIT_EVENTS, NODE
from eventq.errors import EventqError, NotAllowedError

# A task by its number, and the position of the last event that had changed it.
Pair = tuple[int, int]
DIGEST_BYTES = 16
# So many that had moved on are named at the end of a change.
NAMED = 1_000
# Why a task is left whose turn comes too late.
TOO_LATE = "to expire before its turn comes"
# Or that did not fit when the change was done: it may by now.
OVER = "the change is over"


class MovedOn(Struct, frozen=True, gc=False):
    """A task that was left as it is, and why."""

    number: int
    why: str


class PortionDone(Struct, frozen=True, gc=False):
    """What became of a portion: how many tasks of it were looked at; all others are changed."""

    taken: int
    moved_on: tuple[MovedOn, ...]
    since: BulkSince
    """What the log said of the change when this was decided."""


def digest_of(pairs: Iterable[Pair]) -> str:
    """The digest of what a change is about; the pairs in the order of their numbers."""
    found = blake2b(digest_size=DIGEST_BYTES)
    for number, last_seq in pairs:
        found.update(b"%d:%d\n" % (number, last_seq))
    return found.hexdigest()


class BeginBulk(Struct, frozen=True):
    """Says in the log that a change to many tasks begins; its position is its number.

    ``delay_us`` is how much later than now updated tasks are to run.
    """

    wanted: Bulk
    delay_us: int | None = None
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, now: int) -> Decision[Bulk]:
        """See Command.decide."""
        check_understood(projection.unknown)
        wanted = self.wanted
        if wanted.interval_us:
            wanted = replace(wanted, start_at=now)
        if self.delay_us is not None:
            wanted = replace(wanted, scheduled_at=now + self.delay_us)
        return Decision([(NODE, wanted)], wanted)


class EndBulk(Struct, frozen=True):
    """Says that a change is done, unless the log says so; the result is what had moved on.

    ``left`` are the tasks of it that had not been changed up to ``looked_seq``.
    """

    bulk: int
    said: Bulk
    left: tuple[Pair, ...]
    looked_seq: int
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(
        self, projection: Projection, past: PastTasks, _now: int
    ) -> Decision[tuple[Pair, ...]]:
        """See Command.decide."""
        check_understood(projection.unknown)
        since = past.bulk_since(self.bulk, self.looked_seq, projection.seq)
        # Somebody else may have found that one of them still fits.
        left = tuple(pair for pair in self.left if pair[0] not in since.changed)
        if since.is_over:
            return Decision([], left)
        marks = Asking(self.said.by, via=self.said.via, bulk=self.bulk).marks_but_reason
        ended = BulkEnded(self.said.count - len(left), len(left), left[:NAMED], **marks)
        return Decision([(NODE, ended)], left)


class ChangePortion(Struct, frozen=True):
    """Changes tasks of one change as far as one commit takes them, in their order.

    ``begin`` is how many tasks of the change come before these. Up to ``looked_seq`` its caller
    knows what the log says of it: whether it ``is_over``, and so changes nothing more.
    """

    bulk: int
    said: Bulk
    pairs: tuple[Pair, ...]
    begin: int = 0
    looked_seq: int = 0
    is_over: bool = False
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[PortionDone]:
        """See Command.decide."""
        check_understood(projection.unknown)
        since = past.bulk_since(self.bulk, max(self.looked_seq, self.bulk), projection.seq)
        past = past.ahead([number for number, _ in self.pairs])
        is_over = self.is_over or since.is_over
        portion = _Portion(self.bulk, self.said, projection, past, now, is_over=is_over)
        taken = 0
        for pair in self.pairs:
            if portion.revival.is_full:
                break
            portion.take(pair, self.begin + taken)
            taken += 1
        done = PortionDone(taken, tuple(portion.moved_on), since)
        return Decision(portion.revival.drafts, done)


class _Portion:
    """The drafts of one commit, and what became of each task."""

    def __init__(
        self,
        bulk: int,
        said: Bulk,
        projection: Projection,
        past: PastTasks,
        now: int,
        *,
        is_over: bool,
    ) -> None:
        self.revival = Revival(projection, past, room=COMMIT_EVENTS, now=now)
        self.moved_on: list[MovedOn] = []
        self._bulk = bulk
        self._said = said
        self._projection = projection
        self._past = past
        self._now = now
        self._is_over = is_over
        self._asking = Asking(said.by, said.reason, said.via, bulk)

    def take(self, pair: Pair, place: int) -> None:
        """Changes one task, unless that is done, or it has moved on."""
        number, last_seq = pair
        history = self._past.history(number)
        last = next((e for e in reversed(history) if changes(e.body)), None)
        if last is None or last.seq != last_seq:
            if not any(self._is_own(event) for event in history if event.seq > last_seq):
                self.moved_on.append(MovedOn(number, _said_since(last)))
            return
        if self._is_over:
            self.moved_on.append(MovedOn(number, OVER))
            return
        if self.revival.holds(number):
            self.moved_on.append(MovedOn(number, "it came back with another one"))
            return
        try:
            self._change(number, history, last, place)
        except NotAllowedError as error:
            # Called by its number: its key may hold what is secret.
            told = NotAllowedError(error.command, str(number), error.state, holder=error.holder)
            self.moved_on.append(MovedOn(number, str(told)))
        except EventqError as error:
            self.moved_on.append(MovedOn(number, str(error)))

    def _is_own(self, event: Event) -> bool:
        return isinstance(event.body, ByHand) and event.body.bulk == self._bulk

    def _change(self, number: int, history: list[Event], last: Event, place: int) -> None:
        """Does to the task what the change is. Raises EventqError where that cannot be."""
        task, said = self._task(number, history), self._said
        if said.action == "undo":
            asking = replace(self._asking, undoes=last.seq)
            take_back(self.revival, task, history, last, asking)
            return
        if said.action == "retry":
            self._retry(task, place)
            return
        if said.action == "cancel":
            drafts = CancelTask(self._asking).events(task, self._now)
        else:
            tags_json = None if said.tags is UNSET else bytes(said.tags)
            edit = UpdateTask(
                said.priority,
                tags_json,
                said.scheduled_at,
                lane=said.lane,
                asking=self._asking,
            )
            drafts = edit.events(task, self._now)
        if not drafts:
            raise NotAllowedError(said.action, task.key, "so already")
        for each, body in drafts:
            self.revival.add(each, body)

    def _retry(self, task: Task, place: int) -> None:
        said = self._said
        start = None if said.start_at is None else said.start_at + place * said.interval_us
        if task.recorded_state is TaskState.WAITING:
            # What it waits for may come back in this very commit.
            raise NotAllowedError("retry", task.key, task.recorded_state)
        if task.recorded_state in PENDING:
            for number, body in self._bring_forward(task, start):
                self.revival.add(number, body)
        elif task.recorded_state in REOPENABLE:
            self._reopen(task, start)
        else:
            raise NotAllowedError("retry", task.key, task.recorded_state)

    def _bring_forward(self, task: Task, start: int | None) -> list[Draft]:
        if start is None:
            edit = RetryTask(self._asking)
            drafts = edit.events(task, self._projection, self._past, self._now)
        else:
            at, expires_at = max(start, self._now), task.expires_at_us
            if at > self._now and expires_at is not None and at >= expires_at:
                raise NotAllowedError("retry", task.key, TOO_LATE)
            drafts = UpdateTask(scheduled_at=at, asking=self._asking).events(task, self._now)
        if not drafts:
            raise NotAllowedError("retry", task.key, "ready already")
        return drafts

    def _reopen(self, task: Task, start: int | None) -> None:
        if task.unique is not None and self.revival.is_taken(task.unique):
            holder = self._projection.holder_of(task.unique)
            other = "another" if holder is None else str(holder.number)
            raise NotAllowedError("retry", task.key, task.recorded_state, holder=other)
        start = None if start is None or start <= self._now else start
        age_us = task.policy.max_age_us
        if start is not None and age_us is not None and start >= self._now + age_us:
            raise NotAllowedError("retry", task.key, TOO_LATE)
        self.revival.reopen(task, self._asking, start=start)

    def _task(self, number: int, history: list[Event]) -> Task:
        """The task as it stands. Raises EventqError where nothing is kept, or a newer one wrote."""
        task = self._projection.tasks.get(number)
        if task is None and type(history[0].body) is Created:
            task = fold_events(self._projection.namespace, history)
        elif task is None:
            task = self._past.created_and_task(number)[1]
        assert task is not None, "a task with a history exists"
        if task.newer is not None:
            raise NotAllowedError(self._said.action, task.key, "known to a newer eventq alone")
        assert task.recorded_state not in FINAL or task.ending is not None, "it has ended"
        return task


def _said_since(last: Event | None) -> str:
    """Why a task is not as it was when it was selected."""
    if last is None:
        return "its events are archived: name the archive's folder"
    return f"it is {last.kind} since event {last.seq}"
