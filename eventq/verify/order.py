"""Which pending task must run next, kept by the verifier's own means; it reads no log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any

from msgspec import Raw, Struct

from eventq.core.events import ErrorInfo, Policy, Reopening

# Stale entries that may stand in a heap beside those of the pending tasks.
STALE_ENTRIES = 5_000
# Rankings kept; when there are more all are given up, and those that are asked for made anew.
RANKINGS_KEPT = 64
# The lane of a task that says none.
NO_LANE = "default"

Entry = tuple[int, int, int, int]


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
    name: str | None = None
    lane: str = NO_LANE
    needs: tuple[str, ...] = ()
    state: str = "pending"
    """pending, leased, failed, completed, expired or cancelled."""
    attempt: int = 0
    retries: int = 0
    """Since it was created or last reopened."""
    lapses: int = 0
    """In a row."""
    snoozes: int = 0
    fence: int = 0
    worker: str | None = None
    """Who holds it, or held it last."""
    last_error: ErrorInfo | None = None
    unique: str | None = None
    """The value of which it must be the only open task."""
    saved: bytes | None = None
    """What its attempts saved last."""
    schedule: str | None = None
    """What made it, for the instant `due`."""
    due: int | None = None
    edition: int = 0
    """Of its entry in the order; 0 when it has none."""


class Choice(Struct, frozen=True):
    """Which tasks somebody chooses among: by name, and in one lane or (None) in all."""

    names: tuple[str, ...] = ()
    """Names, or patterns in which ``*`` stands for any text."""
    unnamed: bool = True
    lane: str | None = None

    def holds(self, task: Seen) -> bool:
        """Whether the task is among them. What needs a word that is not known here is in none."""
        if task.needs or (self.lane is not None and self.lane != task.lane):
            return False
        if task.name is None:
            return self.unnamed or "*" in self.names
        return any(fits(task.name, pattern) for pattern in self.names)


class Order:
    """Pending tasks by priority, then instant, then number.

    Those whose instant is to come stand in one heap, those whose instant has come in one for each
    choice that was asked about. An entry carries the task's edition, so that one of a task that has
    moved since is known to be stale.
    """

    def __init__(self, tasks: dict[int, Seen]) -> None:
        self._tasks = tasks
        self._edition = 0
        self._now = 0
        self._waiting: list[tuple[int, int, int]] = []
        self._rankings: dict[Choice, _Ranking] = {}

    def add(self, task: Seen, now: int) -> None:
        """Gives a pending task its place; an earlier one is void from now on."""
        self._edition = task.edition = self._edition + 1
        if is_due(task, now):
            self._rank(task)
        else:
            self._wait(task)

    def first(self, now: int, choices: Iterable[Choice]) -> int | None:
        """The number of the task that must run next: pending, its instant come, not expired.

        It is the first in any of the choices.
        """
        if now < self._now:
            for ranking in self._rankings.values():
                ranking.bring_back()
        self._now = now
        waiting, tasks = self._waiting, self._tasks
        while waiting and waiting[0][0] <= now:
            _, number, edition = heappop(waiting)
            task = tasks.get(number)
            if task is not None and task.edition == edition:
                self._rank(task)
        best: Entry | None = None
        for choice in choices:
            ranking = self._rankings.get(choice) or self._made(choice, now)
            entry = ranking.first(tasks, now, self._wait)
            if entry is not None and (best is None or entry < best):
                best = entry
        return None if best is None else best[2]

    def tidy(self) -> None:
        """Drops stale entries once there are many; to be called now and then."""
        tasks, most = self._tasks, len(self._tasks) + STALE_ENTRIES
        if len(self._rankings) > RANKINGS_KEPT:
            self._rankings.clear()
        if len(self._waiting) > most:
            self._waiting = [
                e for e in self._waiting if e[1] in tasks and tasks[e[1]].edition == e[2]
            ]
            heapify(self._waiting)
        for ranking in self._rankings.values():
            ranking.tidy(tasks, most)

    def _wait(self, task: Seen) -> None:
        heappush(self._waiting, (task.scheduled_at, task.number, task.edition))

    def _rank(self, task: Seen) -> None:
        for choice, ranking in self._rankings.items():
            if choice.holds(task):
                heappush(ranking.ready, entry_of(task))

    def _made(self, choice: Choice, now: int) -> _Ranking:
        """The ranking of a choice that nobody has asked about lately; O(open tasks)."""
        ranking = self._rankings[choice] = _Ranking(
            entry_of(task)
            for task in self._tasks.values()
            if task.edition and choice.holds(task) and is_due(task, now)
        )
        return ranking


class _Ranking:
    """The tasks of one choice whose instant has come, with stale entries among them."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.ready = list(entries)
        heapify(self.ready)
        # Taken off for being past their expiry, until time goes back, as where a clock was wrong.
        self._expired: list[Entry] = []

    def bring_back(self) -> None:
        """Time goes back: what was past its expiry may not be so any more."""
        while self._expired:
            heappush(self.ready, self._expired.pop())

    def first(self, tasks: dict[int, Seen], now: int, wait: Callable[[Seen], None]) -> Entry | None:
        """The first entry that is not stale, early or expired; ``wait`` is told of early ones."""
        ready = self.ready
        while ready:
            entry = ready[0]
            task = tasks.get(entry[2])
            if task is not None and task.edition == entry[3]:
                if not is_due(task, now):
                    wait(task)
                elif task.expires_at is None or task.expires_at > now:
                    return entry
                else:
                    self._expired.append(entry)
            heappop(ready)
        return None

    def tidy(self, tasks: dict[int, Seen], most: int) -> None:
        """Drops stale entries where there are more than ``most`` entries."""
        if len(self.ready) + len(self._expired) <= most:
            return
        self.ready = [e for e in self.ready if e[2] in tasks and tasks[e[2]].edition == e[3]]
        self._expired = [e for e in self._expired if e[2] in tasks and tasks[e[2]].edition == e[3]]
        heapify(self.ready)


def entry_of(task: Seen) -> Entry:
    """Its place in the order."""
    return (-task.priority, task.scheduled_at, task.number, task.edition)


def is_due(task: Seen, now: int) -> bool:
    """Whether its instant has come. What was made to run at once is due for good."""
    return task.scheduled_at <= now or task.scheduled_at == task.created_at


def fits(name: str, pattern: str) -> bool:
    """Whether the name is the pattern's, in which ``*`` stands for any text."""
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    *inner, last = others
    if not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in inner:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


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
        "name": content.name,
        "lane": content.lane or NO_LANE,
        "needs": content.needs,
        "snoozes": content.snoozes,
        "unique": content.unique,
        "schedule": content.schedule,
        "due": content.due,
        "saved": bytes(content.saved) if isinstance(content.saved, bytes | Raw) else None,
    }
