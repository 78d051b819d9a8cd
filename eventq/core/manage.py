"""Managing one task: what a person may do to it, each thing in some of its states only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from msgspec import UNSET, Raw, Struct
from msgspec.json import decode
from msgspec.structs import replace

from eventq.core.asking import NOBODY, Asking
from eventq.core.audience import AFTER
from eventq.core.cascade import Revival
from eventq.core.command import NEW, Decision, Draft, PastTasks
from eventq.core.create import NewTask, created_by
from eventq.core.durations import Duration
from eventq.core.events import Cancelled, Updated
from eventq.core.link import Link, Linking
from eventq.core.lookup import find_task
from eventq.core.newer import check_understood
from eventq.core.projection import Projection
from eventq.core.task import (
    FINAL,
    PENDING,
    REOPENABLE,
    Task,
    TaskState,
    instant,
    is_due,
    state_as_of,
)
from eventq.core.validation import (
    check_duration,
    check_instant,
    check_name,
    check_priority,
    check_tags,
)
from eventq.core.values import COMMIT_EVENTS
from eventq.errors import ArgumentError, NotAllowedError


class CancelTask(Struct, frozen=True):
    """Calls an open task off; a running attempt loses its lease."""

    asking: Asking = NOBODY

    def events(self, task: Task, _now: int) -> list[Draft]:
        """What to append; nothing for a cancelled task. Raises NotAllowedError."""
        if task.recorded_state is TaskState.CANCELLED:
            return []
        if task.recorded_state in FINAL:
            raise NotAllowedError("cancel", task.key, task.recorded_state)
        return [(task.number, Cancelled(**self.asking.marks))]


class RetryTask(Struct, frozen=True):
    """Makes a task that waits ready now, or reopens an expired or cancelled one.

    A reopened task has its retries anew, and its max_age counts from now. What its end had
    cancelled comes back. It waits no more for what has ended without success before it.
    """

    asking: Asking = NOBODY
    room: int = COMMIT_EVENTS
    """How many events the commit may have: the rest is left to others."""

    def events(self, task: Task, projection: Projection, past: PastTasks, now: int) -> list[Draft]:
        """What to append. Raises NotAllowedError when the task is running or completed."""
        if task.recorded_state in PENDING:
            at = None if is_due(task, now) else now
            waives = task.recorded_state is TaskState.WAITING and _is_stuck(projection, task)
            if at is None and not waives:
                return []
            body = Updated(scheduled_at=at, waives=waives, **self.asking.marks)
            return [(task.number, body)]
        if task.recorded_state not in REOPENABLE:
            raise NotAllowedError("retry", task.key, task.recorded_state)
        revival = Revival(projection, past, room=self.room, now=now)
        revival.reopen(task, self.asking)
        return revival.drafts


def _is_stuck(projection: Projection, task: Task) -> bool:
    """Whether something has ended that was not to end so."""
    waits = projection.waits
    # Where several may append at a time, the log may know of a task that is not folded yet.
    wait = waits.by_task.get(task.number)
    return (wait is not None and bool(wait.failed)) or task.number in waits.unneeded


class UpdateTask(Struct, frozen=True):
    """Edits a pending task; None leaves a thing as it is. ``delay_us`` counts from the decision."""

    priority: int | None = None
    tags_json: bytes | None = None
    scheduled_at: int | None = None
    delay_us: int | None = None
    lane: str | None = None
    asking: Asking = NOBODY

    def events(self, task: Task, now: int) -> list[Draft]:
        """What to append; nothing for what is equal already. Raises NotAllowedError."""
        if task.recorded_state not in PENDING:
            raise NotAllowedError("update", task.key, task.recorded_state)
        at = self.scheduled_at if self.delay_us is None else now + self.delay_us
        if at is not None and task.expires_at_us is not None and at >= task.expires_at_us:
            shown_at = instant(at).isoformat()
            raise ArgumentError("scheduled_at", shown_at, "an instant before the task expires")
        priority = None if self.priority == task.priority else self.priority
        tags_json = None if self.tags_json == task.tags_json else self.tags_json
        if tags_json is not None and task.given:
            _check_not_given(tags_json, task)
        at = None if at == task.scheduled_at_us else at
        lane = None if self.lane == task.lane else self.lane
        if priority is None and tags_json is None and at is None and lane is None:
            return []
        tags = UNSET if tags_json is None else Raw(tags_json)
        secret = () if tags_json is None else task.secret
        body = Updated(priority, tags, at, secret=secret, lane=lane, **self.asking.marks)
        return [(task.number, body)]


def make_update(
    asking: Asking = NOBODY,
    *,
    priority: int | None,
    tags: Mapping[str, Any] | None,
    scheduled_at: datetime | None,
    delay: Duration | None,
    lane: str | None,
) -> UpdateTask:
    """The edit that a caller asks for. Raises ArgumentError."""
    level = None if priority is None else check_priority(priority)
    tags_json = None if tags is None else check_tags(tags)
    at = check_instant(scheduled_at, "scheduled_at")
    delay_us = check_duration(delay, "delay")
    if at is not None and delay_us is not None:
        raise ArgumentError("delay", delay, "either delay or scheduled_at, not both")
    lane = None if lane is None else check_name(lane, "lane")
    return UpdateTask(level, tags_json, at, delay_us, lane, asking)


def _check_not_given(tags_json: bytes, task: Task) -> None:
    """Raises ArgumentError for an argument that is the result of another task: that would win."""
    tags = decode(tags_json)
    for name, number in task.given.items():
        if name in tags:
            raise ArgumentError(
                "tags", name, f"other arguments: this is the result of task {number}"
            )


class ManageTask(Struct, frozen=True):
    """Does one of these to the task with this key. The result is the task as it was found.

    Raises TaskNotFoundError, LogTooNewError, and NotAllowedError for a task of other lanes.
    """

    key: str
    edit: CancelTask | RetryTask | UpdateTask
    lanes: frozenset[str] | None = None
    """Those whose tasks the caller may change; None: all."""
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[Task]:
        """See Command.decide."""
        check_understood(projection.unknown)
        task = find_task(projection, past, self.key)
        _check_lane("change", task, self.lanes)
        edit = self.edit
        if isinstance(edit, RetryTask):
            drafts = edit.events(task, projection, past, now)
        else:
            drafts = edit.events(task, now)
        if task.unique is not None and task.recorded_state in FINAL and drafts:
            _check_free("retry", projection, task, task.unique)
        return Decision(drafts, task)


def _check_lane(action: str, task: Task, lanes: frozenset[str] | None) -> None:
    """Raises NotAllowedError where a task has been moved to a lane that is not the caller's."""
    if lanes is not None and task.lane not in lanes:
        raise NotAllowedError(action, task.key, "in a lane that is not yours")


def _check_free(action: str, projection: Projection, task: Task, unique: str) -> None:
    """Raises NotAllowedError where another task is open that has the value of a final one."""
    holder = projection.holder_of(unique)
    if holder is not None:
        raise NotAllowedError(action, task.key, task.recorded_state, holder=holder.key)


class RepeatTask(Struct, frozen=True):
    """Makes a new task like a final one: all but its key, its instants and its `expires_at`.

    Raises TaskNotFoundError, and NotAllowedError for a task that is open or of other lanes, or
    where another one that is open has its unique value.
    """

    key: str
    trace: str | None = None
    """The W3C trace context that it is made in."""
    lanes: frozenset[str] | None = None
    """As those of `ManageTask`."""
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[None]:
        """See Command.decide."""
        task = find_task(projection, past, self.key)
        _check_lane("repeat", task, self.lanes)
        if task.recorded_state not in FINAL:
            raise NotAllowedError("repeat", task.key, state_as_of(task, now))
        if task.unique is not None:
            _check_free("repeat", projection, task, task.unique)
        order = NewTask(
            task.tags_json,
            task.policy,
            task.priority,
            # What it comes after is linked anew; a finaliser's copy comes after nothing.
            route=replace(
                task.route,
                share=None,
                needs=tuple(need for need in task.route.needs if need != AFTER),
            ),
            unique=task.unique,
            repeats=task.number,
            share=task.own_share,
            trace=self.trace,
            secret=task.secret,
        )
        body = created_by(order, now)
        if task.after:
            # It is given the same results.
            after = tuple(each.task for each in task.after)
            link = Link(after, task.if_failed, tuple(task.given.items()))
            body = Linking(projection, past).linked(body, link)
        return Decision([(NEW, body)], None)
