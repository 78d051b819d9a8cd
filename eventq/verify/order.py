"""Which pending task must run next, kept by the verifier's own means; it reads no log."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any

from msgspec import Struct

from eventq.core.events import ErrorInfo, Policy, Reopening

# Stale entries that may stand in the heaps beside those of the pending tasks.
STALE_ENTRIES = 10_000


class Seen(Struct, gc=False):
    """What the log has said about one task so far."""

    number: int
    created_at: int
    key: str | None
    priority: int
    tags: bytes
    policy: Policy
    scheduled_at: int
    expires_at: int | None
    state: str = "pending"
    """pending, leased, failed, completed, expired or cancelled."""
    attempt: int = 0
    retries: int = 0
    """Since it was created or last reopened."""
    fence: int = 0
    last_error: ErrorInfo | None = None
    edition: int = 0
    """Of its entry in the order; 0 when it has none."""


class Order:
    """Pending tasks by priority, then instant, then number.

    Two heaps: those whose instant is to come, and those whose instant has come. An entry carries
    the task's edition, so that one of a task that has moved since is known to be stale.
    """

    def __init__(self, tasks: dict[int, Seen]) -> None:
        self._tasks = tasks
        self._edition = 0
        self._now = 0
        self._waiting: list[tuple[int, int, int]] = []
        self._ready: list[tuple[int, int, int, int]] = []
        # Taken off for being past their expiry, until time goes back, as where a clock was wrong.
        self._expired: list[tuple[int, int, int, int]] = []

    def add(self, task: Seen, now: int) -> None:
        """Gives a pending task its place; an earlier one is void from now on."""
        self._edition = task.edition = self._edition + 1
        if is_due(task, now):
            entry = (-task.priority, task.scheduled_at, task.number, self._edition)
            heappush(self._ready, entry)
        else:
            heappush(self._waiting, (task.scheduled_at, task.number, self._edition))

    def first(self, now: int) -> int | None:
        """The number of the task that must run next: pending, its instant come, not expired."""
        waiting, ready, tasks = self._waiting, self._ready, self._tasks
        if now < self._now:
            while self._expired:
                heappush(ready, self._expired.pop())
        self._now = now
        while waiting and waiting[0][0] <= now:
            scheduled_at, number, edition = heappop(waiting)
            task = tasks.get(number)
            if task is not None and task.edition == edition:
                heappush(ready, (-task.priority, scheduled_at, number, edition))
        while ready:
            entry = ready[0]
            _, scheduled_at, number, edition = entry
            task = tasks.get(number)
            if task is not None and task.edition == edition:
                if not is_due(task, now):
                    heappush(waiting, (scheduled_at, number, edition))
                elif task.expires_at is None or task.expires_at > now:
                    return number
                else:
                    self._expired.append(entry)
            heappop(ready)
        return None

    def tidy(self) -> None:
        """Drops stale entries once there are many; to be called now and then."""
        if (
            len(self._waiting) + len(self._ready) + len(self._expired)
            <= 2 * len(self._tasks) + STALE_ENTRIES
        ):
            return
        tasks = self._tasks
        self._waiting = [e for e in self._waiting if e[1] in tasks and tasks[e[1]].edition == e[2]]
        self._ready = [e for e in self._ready if e[2] in tasks and tasks[e[2]].edition == e[3]]
        self._expired = [e for e in self._expired if e[2] in tasks and tasks[e[2]].edition == e[3]]
        heapify(self._waiting)
        heapify(self._ready)


def is_due(task: Seen, now: int) -> bool:
    """Whether its instant has come. What was made to run at once is due for good."""
    return task.scheduled_at <= now or task.scheduled_at == task.created_at


def brought_back(content: Seen | Reopening) -> dict[str, Any]:
    """What a final task must bring back when it is reopened, by the names of `Seen`."""
    return {
        "policy": content.policy,
        "created_at": content.created_at,
        "attempt": content.attempt,
        "key": content.key,
        "priority": content.priority,
        "tags": bytes(content.tags),
        "last_error": content.last_error,
    }
