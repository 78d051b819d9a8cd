"""Checks a log against what must always hold, from its events alone.

It shares no code with the projection, the task moves or the decisions: it knows only how events
are decoded. So what it finds holds, whoever wrote the log. Rules are numbered as in the design.

    report = check_log(log)                 # everything, with seals and indexes of the log
    report = check_commits(name, commits)   # commits from the first on: order, seals, moves
    report = check_events(events)           # moves and dispatch only

Each raises AssertionError whose message begins with the position.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from msgspec import UNSET

from eventq.eventlog.base import EventLog
from eventq.events import (
    Cancelled,
    Commit,
    Completed,
    Created,
    Event,
    Expired,
    Failed,
    Leased,
    Policy,
    Refused,
    Released,
    Renewed,
    Reopening,
    Retried,
    Updated,
    events_of,
)

OPEN = ("pending", "leased", "failed")


@dataclass
class Seen:
    """What the log has said about one task so far."""

    number: int
    at: int
    key: str | None
    priority: int
    tags: bytes
    policy: Policy
    scheduled_at: int
    expires_at: int | None
    state: str = "pending"
    attempt: int = 0
    begun: int = 0
    """Attempts since it was created or last reopened; a released one does not count."""
    retries: int = 0
    fence: int = 0
    fences: list[int] = field(default_factory=list)
    worker: str | None = None
    completed: int = 0
    edition: int = 0
    """Rises whenever its place in the dispatch order may have changed."""


@dataclass
class Report:
    """What a good log holds."""

    events: int
    commits: int
    kinds: Counter[str]
    tasks: dict[int, Seen]
    keys: dict[str, int]

    @property
    def states(self) -> Counter[str]:
        """How many tasks are in each state: pending, leased, completed, expired, cancelled."""
        return Counter(task.state for task in self.tasks.values())

    @property
    def all_final(self) -> bool:
        """Whether every task has reached its end."""
        return not any(task.state in OPEN for task in self.tasks.values())


def check_log(log: EventLog, *, batch: int = 1_000) -> Report:
    """Checks a log that nobody appends to meanwhile: invariants 1 to 10 and its own indexes."""
    commits: list[Commit] = []
    while found := log.read(after=commits[-1].last if commits else 0, limit=batch):
        commits += found
    report = check_commits(log.namespace, commits)
    head = log.head()
    assert head.seq == report.events, f"{head.seq}: the head is not the last event"
    if commits:
        assert head.seal == commits[-1].seal, f"{head.seq}: the head has another seal"
        assert head.at == commits[-1].at, f"{head.seq}: the head has another instant"
    _check_indexes(log, commits, report)
    return report


def check_commits(namespace: str, commits: list[Commit]) -> Report:
    """Checks that commits tile the positions and seals recompute (1), and all their events."""
    seal = blake2b(f"eventq:{namespace}".encode(), digest_size=32).digest()
    checker = _Checker()
    position, at = 0, 0
    for commit in commits:
        first = position + 1
        _that(commit.first == first, first, f"a commit begins at {commit.first}")
        _that(len(commit.bodies) > 0, first, "a commit is empty")
        _that(len(commit.bodies) <= 1_000, first, "a commit has more than 1,000 events")
        _that(len(commit.tasks) == len(commit.bodies), first, "tasks and bodies differ in number")
        _that(commit.at >= at, first, "time runs backwards")
        _that(commit.prev == seal, first, "the commit does not follow the seal before")
        _that(commit.seal == _seal(commit), first, "the seal does not recompute")
        events = events_of(commit)
        keys = {e.body.key: e.seq for e in events if isinstance(e.body, Created) and e.body.key}
        _that(commit.keys == keys, first, f"keys {commit.keys} are not {keys}")
        for event in events:
            checker.take(event)
        checker.end_commit(commit.last)
        position, at, seal = commit.last, commit.at, commit.seal
    return Report(position, len(commits), checker.kinds, checker.tasks, checker.keys)


def check_events(events: Iterable[Event]) -> Report:
    """Checks the moves, leases, fences, order, instants, attempts and keys (4 to 10)."""
    checker = _Checker()
    for event in events:
        checker.take(event)
    checker.end_commit(checker.position)
    return Report(checker.position, 0, checker.kinds, checker.tasks, checker.keys)


class _Checker:
    """One pass over the events of a namespace."""

    def __init__(self) -> None:
        self.position = 0
        self.at = 0
        self.kinds: Counter[str] = Counter()
        self.tasks: dict[int, Seen] = {}
        self.keys: dict[str, int] = {}
        self.failed: set[int] = set()
        # Heaps whose entries carry the task's edition: one that has changed since is stale.
        self.waiting: list[tuple[int, int, int]] = []
        self.ready: list[tuple[int, int, int, int]] = []
        self.rules: dict[str, Callable[[Seen, Event, Any], None]] = {
            "leased": self._leased,
            "completed": self._completed,
            "failed": self._failed,
            "retried": self._retried,
            "expired": self._expired,
            "cancelled": self._cancelled,
            "released": self._released,
            "updated": self._updated,
            "refused": self._refused,
        }

    def take(self, event: Event) -> None:
        """Checks one more event."""
        seq = event.seq
        _that(seq == self.position + 1, seq, f"follows {self.position}")
        _that(event.at >= self.at, seq, "time runs backwards")
        self.position, self.at = seq, event.at
        self.kinds[event.kind] += 1
        if isinstance(event.body, Created):
            self._created(event, event.body)
        elif isinstance(event.body, Renewed):
            _that(event.task == 0, seq, "renewed names a task")
            _that(event.body.ttl_us > 0, seq, "renewed for no time")
        else:
            rule = self.rules.get(event.kind)
            if rule is None:
                raise AssertionError(f"{seq}: kind {event.kind} is unknown")
            task = self.tasks.get(event.task)
            if task is None:
                raise AssertionError(f"{seq}: {event.kind} of task {event.task} before created")
            rule(task, event, event.body)

    def end_commit(self, seq: int) -> None:
        """Checks what may not outlive a commit."""
        _that(not self.failed, seq, f"nothing follows the failure of {sorted(self.failed)}")

    def _created(self, event: Event, body: Created) -> None:
        _that(event.task == event.seq, event.seq, "a task's number is not its position")
        if body.key is not None:
            _that(body.key not in self.keys, event.seq, f"key {body.key!r} is taken")
            self.keys[body.key] = event.seq
        scheduled_at = event.at if body.scheduled_at is None else body.scheduled_at
        expires_at = body.expires_at
        if expires_at is not None:
            _that(expires_at > event.at, event.seq, "created past its expiry")
            _that(expires_at > scheduled_at, event.seq, "scheduled past its expiry")
        task = self.tasks[event.seq] = Seen(
            number=event.seq,
            at=event.at,
            key=body.key,
            priority=body.priority,
            tags=bytes(body.tags),
            policy=body.policy,
            scheduled_at=scheduled_at,
            expires_at=expires_at,
        )
        self._queue(task)

    def _leased(self, task: Seen, event: Event, body: Leased) -> None:
        _from(task, event, "pending")
        _that(event.at >= task.scheduled_at, event.seq, f"task {task.number} leased too early")
        expired = task.expires_at is not None and event.at >= task.expires_at
        _that(not expired, event.seq, f"task {task.number} leased past its expiry")
        _that(body.attempt == task.attempt + 1, event.seq, f"attempt {body.attempt} skips")
        _that(body.ttl_us > 0, event.seq, "leased for no time")
        _that(event.seq > task.fence, event.seq, "the fence does not rise")
        first = self._first_eligible(event.at)
        _that(first == task.number, event.seq, f"task {first} ranks before {task.number}")
        task.begun += 1
        most = task.policy.max_retries
        _that(most is None or task.begun <= most + 1, event.seq, f"attempt {task.begun} too many")
        task.state, task.attempt, task.worker = "leased", body.attempt, body.worker
        task.fence = event.seq
        task.fences.append(event.seq)
        task.edition += 1

    def _completed(self, task: Seen, event: Event, body: Completed) -> None:
        _from(task, event, "leased")
        self._end_lease(task, event, body.fence)
        task.state = "completed"
        task.completed += 1
        _that(task.completed == 1, event.seq, f"task {task.number} completed twice")

    def _failed(self, task: Seen, event: Event, body: Failed) -> None:
        _from(task, event, "leased")
        self._end_lease(task, event, body.fence)
        task.state = "failed"
        self.failed.add(task.number)

    def _retried(self, task: Seen, event: Event, body: Retried) -> None:
        _from(task, event, "failed", "expired", "cancelled")
        if task.state == "failed":
            _that(body.reopens is None, event.seq, "a failed task has nothing to reopen")
            task.retries += 1
            most = task.policy.max_retries
            _that(most is None or task.retries <= most, event.seq, "more retries than allowed")
            late = task.expires_at is not None and body.scheduled_at >= task.expires_at
            _that(not late, event.seq, "retried at or past its expiry")
        else:
            self._reopen(task, event, body.reopens)
        _that(body.scheduled_at >= event.at, event.seq, "retried into the past")
        task.scheduled_at = body.scheduled_at
        self._follow(task, "pending")

    def _reopen(self, task: Seen, event: Event, content: Reopening | None) -> None:
        if content is None:
            raise AssertionError(f"{event.seq}: nothing says what reopens")
        _that(content.was == task.state, event.seq, f"reopens what was {task.state}")
        ours = (task.policy, task.at, task.attempt, task.key, task.priority, task.tags)
        brought = (
            content.policy,
            content.created_at,
            content.attempt,
            content.key,
            content.priority,
            bytes(content.tags),
        )
        _that(brought == ours, event.seq, f"brings back {brought}, not {ours}")
        future = content.expires_at is None or content.expires_at > event.at
        _that(future, event.seq, "reopened past its expiry")
        task.expires_at = content.expires_at
        task.begun = task.retries = task.completed = 0

    def _expired(self, task: Seen, event: Event, body: Expired) -> None:
        _from(task, event, "pending", "failed")
        if body.reason == "max_retries":
            _that(task.state == "failed", event.seq, "out of retries without a failure")
            most = task.policy.max_retries
            _that(most is not None and task.retries >= most, event.seq, "retries are left")
        else:
            _that(task.expires_at is not None, event.seq, "expired without an expiry")
            due = task.state == "failed" or event.at >= (task.expires_at or 0)
            _that(due, event.seq, "expired too early")
        self._follow(task, "expired")

    def _cancelled(self, task: Seen, event: Event, _body: Cancelled) -> None:
        _from(task, event, "pending", "leased", "failed")
        task.fence, task.worker = 0, None
        self._follow(task, "cancelled")

    def _released(self, task: Seen, event: Event, body: Released) -> None:
        _from(task, event, "leased")
        self._end_lease(task, event, body.fence)
        task.attempt -= 1
        task.begun -= 1
        self._follow(task, "pending")

    def _updated(self, task: Seen, event: Event, body: Updated) -> None:
        _from(task, event, "pending")
        changes = (body.priority, None if body.tags is UNSET else body.tags, body.scheduled_at)
        _that(any(value is not None for value in changes), event.seq, "updated nothing")
        task.priority = task.priority if body.priority is None else body.priority
        task.tags = task.tags if body.tags is UNSET else bytes(body.tags)
        if body.scheduled_at is not None:
            useless = task.expires_at is not None and task.expires_at <= body.scheduled_at
            _that(not useless or body.scheduled_at <= event.at, event.seq, "moved past its expiry")
            task.scheduled_at = body.scheduled_at
        self._follow(task, "pending")

    def _refused(self, task: Seen, event: Event, body: Refused) -> None:
        _that(body.fence in task.fences, event.seq, f"fence {body.fence} was no lease of the task")
        live = task.state == "leased" and task.fence == body.fence
        _that(not live, event.seq, "the outcome of a live lease was refused")

    def _end_lease(self, task: Seen, event: Event, fence: int) -> None:
        _that(fence == task.fence, event.seq, f"fence {fence}, but the live one is {task.fence}")
        task.fence, task.worker = 0, None

    def _follow(self, task: Seen, state: str) -> None:
        self.failed.discard(task.number)
        task.state = state
        task.edition += 1
        if state == "pending":
            self._queue(task)

    def _queue(self, task: Seen) -> None:
        heapq.heappush(self.waiting, (task.scheduled_at, task.number, task.edition))

    def _first_eligible(self, now: int) -> int | None:
        """The pending task that must run next: invariant 7."""
        while self.waiting and self.waiting[0][0] <= now:
            scheduled_at, number, edition = heapq.heappop(self.waiting)
            entry = (-self.tasks[number].priority, scheduled_at, number, edition)
            heapq.heappush(self.ready, entry)
        while self.ready:
            number, edition = self.ready[0][2:]
            task = self.tasks[number]
            expired = task.expires_at is not None and task.expires_at <= now
            if task.edition == edition and not expired:
                return number
            heapq.heappop(self.ready)
        return None


def _from(task: Seen, event: Event, *states: str) -> None:
    _that(task.state in states, event.seq, f"{event.kind} of task {task.number}: {task.state}")


def _that(condition: bool, seq: int, problem: str) -> None:  # noqa: FBT001 - reads as a sentence
    assert condition, f"{seq}: {problem}"


def _seal(commit: Commit) -> bytes:
    """The seal from its definition, by other means than eventq's own."""
    header = [commit.id, commit.first, commit.at, commit.tasks, commit.keys]
    lines = [json.dumps(header, separators=(",", ":"), ensure_ascii=False), *commit.bodies]
    text = "".join(f"{line}\n" for line in lines)
    return blake2b(commit.prev + text.encode(), digest_size=32).digest()


def _check_indexes(log: EventLog, commits: list[Commit], report: Report) -> None:
    """Whether the log's own indexes tell the same story as its commits."""
    stories: dict[int, list[tuple[int, int, str]]] = {}
    for commit in commits:
        for index, (task, body) in enumerate(zip(commit.tasks, commit.bodies, strict=True)):
            stories.setdefault(task, []).append((commit.first + index, commit.at, body))
    for task in report.tasks:
        history = [(stored.seq, stored.at, stored.body) for stored in log.history(task)]
        assert history == stories[task], f"{task}: the index has another history of this task"
    found = log.find_keys(list(report.keys))
    assert found == report.keys, f"0: the index of keys says {found}, not {report.keys}"
