"""Each command's events, decided on a projection or a task at hand, with no node and no log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eventq.core.asking import Asking
from eventq.core.command import BulkSince, Draft, PastTasks
from eventq.core.commits import Event
from eventq.core.create import NewTask
from eventq.core.create_tasks import CreateTasks
from eventq.core.events import Created
from eventq.core.lease import Renew, can_lease, expire, lease
from eventq.core.manage import CancelTask, ManageTask, RetryTask, UpdateTask
from eventq.core.moves import create as created_task
from eventq.core.projection import Projection
from eventq.core.settle import Lapse, settle
from eventq.core.task import Task
from eventq.core.values import COMMIT_EVENTS
from eventq.errors import EventqError
from eventq.node.logged_past import LoggedPast

__all__ = [
    "ForgetfulPast",
    "FoundPast",
    "KnownPast",
    "attempted",
    "can_lease",
    "cancel",
    "create",
    "expire",
    "lapse",
    "lease",
    "renew",
    "retry",
    "settle",
    "update",
]


class KnownPast:
    """A log of which only the ``created`` events of some keys are known."""

    def __init__(
        self, existing: dict[str, Event] | None = None, history: Sequence[Event] = ()
    ) -> None:
        self._existing = existing or {}
        self._history = list(history)

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See PastTasks.find_keys."""
        return {key: event.task for key, event in self._existing.items() if key in keys}

    def created_and_task(self, number: int) -> tuple[Event | None, Task | None]:
        """See PastTasks.created_and_task."""
        for event in self._existing.values():
            if event.task == number and type(event.body) is Created:
                body = event.body
                return event, created_task("default", event.seq, event.at, body)
        return None, None

    def history(self, _number: int) -> list[Event]:
        """See PastTasks.history."""
        return self._history

    def caused_by(self, _number: int) -> list[int]:
        """See PastTasks.caused_by."""
        return []

    def bulk_since(self, _bulk: int, _after: int, until: int) -> BulkSince:
        """See PastTasks.bulk_since."""
        return BulkSince(until, set(), is_over=False)

    def ahead(self, _numbers: list[int]) -> PastTasks:
        """See PastTasks.ahead."""
        return self


class FoundPast(KnownPast):
    """A log in which one task is found."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See PastTasks.find_keys."""
        return dict.fromkeys(keys, self._task.number)

    def created_and_task(self, number: int) -> tuple[Event | None, Task | None]:
        """See PastTasks.created_and_task."""
        return None, self._task if number == self._task.number else None


class ForgetfulPast(LoggedPast):
    """A log that knows its tasks, but not how attempts have ended."""

    def history(self, _number: int) -> list[Event]:
        """See PastTasks.history."""
        return []


NOTHING = KnownPast()


def create(
    orders: list[NewTask],
    existing: dict[str, Event],
    *,
    now: int,
    projection: Projection | None = None,
    past: PastTasks | None = None,
) -> tuple[list[Draft], list[int]]:
    """The events, and the place of each order's task: its number, or -1 - index of its event."""
    known = projection or Projection("default")
    command = CreateTasks(orders, unconditional=projection is None)
    decision = command.decide(known, past or KnownPast(existing), now)
    places = [place.number if isinstance(place, Task) else -1 - place for place in decision.result]
    return decision.events, places


def renew(projection: Projection, *, worker: str, ttl_us: int) -> list[Draft]:
    """See Renew."""
    return Renew(worker, ttl_us).decide(projection, NOTHING, 0).events


def lapse(
    projection: Projection, *, worker: str, seen_seq: int, room: int, now: int
) -> list[Draft]:
    """See Lapse."""
    return Lapse(worker, seen_seq, room).decide(projection, NOTHING, now).events


def cancel(task: Task, *, reason: str, by: str | None) -> list[Draft]:
    """See CancelTask."""
    return CancelTask(Asking(by, reason)).events(task, task.seen_at_us)


def retry(
    task: Task,
    *,
    by: str | None,
    now: int,
    projection: Projection | None = None,
    past: PastTasks | None = None,
    room: int = COMMIT_EVENTS,
) -> list[Draft]:
    """See RetryTask; given the projection, as ManageTask decides."""
    if projection is None:
        return RetryTask(Asking(by)).events(task, Projection("default"), NOTHING, now)
    command = ManageTask(task.key, RetryTask(Asking(by), room))
    return command.decide(projection, past or FoundPast(task), now).events


def update(
    task: Task,
    *,
    priority: int | None,
    tags_json: bytes | None,
    scheduled_at: int | None,
    by: str | None,
    lane: str | None = None,
) -> list[Draft]:
    """See UpdateTask."""
    edit = UpdateTask(priority, tags_json, scheduled_at, lane=lane, asking=Asking(by))
    return edit.events(task, task.seen_at_us)


def attempted(decision: Callable[[], Any]) -> tuple[Any, EventqError | None]:
    """The answer, or the error of eventq that came instead."""
    try:
        return decision(), None
    except EventqError as error:
        return None, error
