"""What the end of a task does to those that come after it, and what its coming back does.

Any node carries it on, in portions: what is left to do stands in the projection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Container
from heapq import heappop, heappush
from itertools import islice

from msgspec import UNSET, Raw
from msgspec.structs import replace

from eventq.core.asking import Asking
from eventq.core.command import Draft, PastTasks
from eventq.core.commits import AnyBody, encode_bodies
from eventq.core.events import Cancelled, Reopening, Retried, Revived
from eventq.core.link import Linking
from eventq.core.moves import changes
from eventq.core.projection import Projection
from eventq.core.task import Task, TaskState
from eventq.core.values import Predecessor
from eventq.errors import ArgumentError, LogTooNewError

CANCELLED_BY = "a task that it comes after ended without success"
UNNEEDED = "no member of its flow failed"
# What one commit brings back, at about the most: the rest is for others.
REVIVED_BYTES = 512 * 1024


def cancel_doomed(projection: Projection, *, room: int, but: Container[int] = ()) -> list[Draft]:
    """Cancels what is doomed, and what that dooms, the lowest numbers first; at most ``room``.

    All ``but`` these, which end otherwise in the same commit.
    """
    waits, tasks = projection.waits, projection.tasks
    numbers = list(islice(waits.doomed, room))
    causes: dict[int, int] = {}
    drafts: list[Draft] = []
    while numbers and len(drafts) < room:
        number = heappop(numbers)
        if number in but:
            continue
        failed = waits.by_task[number].failed
        if number in waits.unneeded:
            body = Cancelled(reason=UNNEEDED)
        else:
            cause = min(failed) if failed else causes[number]
            body = Cancelled(cause, reason=CANCELLED_BY)
        drafts.append((number, body))
        for waiting in waits.by_predecessor.get(number, ()):
            is_doomed = waiting in causes or waiting in waits.doomed
            if not is_doomed and tasks[waiting].if_failed == "cancel":
                causes[waiting] = number
                heappush(numbers, waiting)
    return drafts


def tend(
    projection: Projection, past: PastTasks, *, but: Collection[int], room: int, now: int
) -> list[Draft]:
    """What any node does by the way: cancels what is doomed, or brings back what is to come back.

    ``but`` are tasks that end in the same commit, before that.
    """
    drafts = cancel_doomed(projection, room=room, but=but)
    # Not both: what is brought back would not know what has just been cancelled.
    if drafts or but or not projection.waits.reviving:
        return drafts
    revival = Revival(projection, past, room=room, now=now)
    revival.go_on()
    return revival.drafts


class Revival:
    """Brings back what the ends of tasks had cancelled, in one commit."""

    def __init__(self, projection: Projection, past: PastTasks, *, room: int, now: int) -> None:
        self.drafts: list[Draft] = []
        self._projection = projection
        self._past = past
        self._room = room
        self._left_bytes = REVIVED_BYTES
        self._now = now
        # What this commit has reopened so far, as `Linking` asks for it.
        self._reopened: dict[int, None] = {}
        self._linking = Linking(projection, past, self._reopened)
        self._uniques: set[str] = set()
        # Where each task stands among the drafts that is brought back by them.
        self._places: dict[int, int] = {}

    def reopen(self, task: Task, asking: Asking, *, start: int | None = None) -> None:
        """A person retries a final task: it does not mind what has failed before it.

        It runs at once, or no earlier than ``start``.
        """
        again = reopening(task, self._linking.again(task, waives=True), self._now)
        body = Retried(self._now if start is None else start, again, **asking.marks)
        self._reopen(task, body)
        self._revive(task.number)

    def bring_back(self, task: Task, before: Task, asking: Asking, *, opened: int) -> None:
        """A person takes a task's end back: it is as it was ``before``, but for a lost lease.

        What it did not mind that had failed when it was ``opened`` it does not mind now, unless
        that has been brought back since.
        """
        waived = {each.task for each in before.after if each.verdict == "waived"}
        after = tuple(
            Predecessor(each.task, "waived")
            if each.verdict == "failed" and each.task in waived and self._rests(each.task, opened)
            else each
            for each in self._linking.again(task, waives=False)
        )
        again = replace(
            reopening(task, after, self._now),
            expires_at=before.expires_at_us,
            retries=before.retry_count,
            lapses=before.lapses,
            started_at=before.started_at_us,
        )
        self._reopen(task, Retried(before.scheduled_at_us, again, **asking.marks))
        self._revive(task.number)

    def add(self, number: int, body: AnyBody) -> None:
        """Something else happens to a task in the same commit."""
        self._places[number] = len(self.drafts)
        self._left_bytes -= len(encode_bodies([body])[0])
        self.drafts.append((number, body))

    def holds(self, number: int) -> bool:
        """Whether something happens to this task here."""
        return number in self._places

    @property
    def is_full(self) -> bool:
        """Whether nothing more finds room; one place is left for the word that all is back."""
        return len(self.drafts) >= self._room - 1 or self._left_bytes <= 0

    def is_taken(self, unique: str) -> bool:
        """Whether an open task, or one that comes back here, has this unique value."""
        return unique in self._uniques or self._projection.holder_of(unique) is not None

    def go_on(self) -> None:
        """Goes on with the tasks of which not all is back yet."""
        for number in list(self._projection.waits.reviving):
            if self.is_full:
                return
            self._revive(number)

    def _revive(self, first: int) -> None:
        """Brings back what the task's end had cancelled, what that had cancelled, and so on."""
        numbers = deque([first])
        while numbers:
            number = numbers.popleft()
            # What is left of one that did not fit is brought back by another commit.
            revived, is_done = self._revive_of(number)
            numbers += revived
            if not is_done and number in self._places:
                place = self._places[number]
                _, body = self.drafts[place]
                assert type(body) is Retried, "it was brought back here"
                self.drafts[place] = number, replace(body, revives=True)

    def _revive_of(self, number: int) -> tuple[list[int], bool]:
        """What is brought back since the task is, and whether that is all."""
        skipped: list[int] = []
        revived: list[int] = []
        for each in sorted(self._past.caused_by(number)):
            task = self._cancelled_by(number, each)
            if task is None:
                continue
            after = self._again(task)
            if after is None or (task.unique is not None and self.is_taken(task.unique)):
                skipped.append(each)
                continue
            if self.is_full:
                return revived, False
            again = reopening(task, after, self._now)
            self._reopen(task, Retried(self._now, again, revived_by=number))
            revived.append(each)
        if skipped or number in self._projection.waits.reviving:
            self.drafts.append((number, Revived(tuple(skipped))))
        return revived, True

    def _cancelled_by(self, cause: int, number: int) -> Task | None:
        """The task, if it is final and that end was its last."""
        if number in self._projection.tasks or number in self._places:
            return None
        task = self._past.created_and_task(number)[1]
        if task is None or task.recorded_state is not TaskState.CANCELLED or task.cause != cause:
            return None
        return None if task.newer is not None else task

    def _again(self, task: Task) -> tuple[Predecessor, ...] | None:
        """What it comes after, as that stands now; None where this eventq cannot tell."""
        try:
            return self._linking.again(task, waives=False)
        except (ArgumentError, LogTooNewError):
            return None

    def _rests(self, number: int, since: int) -> bool:
        """Whether nothing has changed a task since a position."""
        return not any(e.seq > since and changes(e.body) for e in self._past.history(number))

    def _reopen(self, task: Task, body: Retried) -> None:
        self._reopened[task.number] = None
        if task.unique is not None:
            self._uniques.add(task.unique)
        # All that it brings back counts: it may come after thousands of tasks.
        self.add(task.number, body)


def reopening(task: Task, after: tuple[Predecessor, ...], now: int) -> Reopening:
    """All that a final task brings back with it; its age counts from now."""
    age_us = task.policy.max_age_us
    return Reopening(
        was="expired" if task.recorded_state is TaskState.EXPIRED else "cancelled",
        policy=task.policy,
        created_at=task.created_at_us,
        attempt=task.attempt,
        key=task.caller_key,
        priority=task.priority,
        tags=Raw(task.tags_json),
        expires_at=None if age_us is None else now + age_us,
        last_error=task.last_error,
        name=task.route.name,
        lane=task.route.lane,
        needs=task.route.needs,
        snoozes=task.snoozes,
        unique=task.unique,
        saved=UNSET if task.saved_json is None else Raw(task.saved_json),
        schedule=task.schedule,
        due=task.due_us,
        after=after,
        if_failed=task.if_failed,
        given=task.given or None,
        flow=task.flow,
        role=task.role,
        limits=task.buckets,
        share=task.own_share,
        trace=task.trace,
        secret=task.secret,
    )
