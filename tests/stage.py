"""A small queue to arrange histories on: real decisions at times a test chooses, kept in a log.

What it appends is what nodes append; only the threads and the clock are left out.
"""

from __future__ import annotations

import random
from typing import Any

from msgspec.structs import replace

from eventq.audit import story
from eventq.core.command import Draft
from eventq.core.create import NewTask
from eventq.core.durations import SECOND_US, parse_duration
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.core.settle import Outcome
from eventq.core.task import Task, TaskState
from eventq.core.values import ErrorInfo, Policy
from eventq.replay.fold import task_of
from eventq.replay.points import Point
from tests import deciding as decide
from tests.driver import memory_log, record

BEGIN_US = 1_700_000_000_000_000
ERROR = ErrorInfo("OSError", "disk")
PLAIN = Policy("linear", 10 * SECOND_US, max_retries=5)


def error_of(kind: str) -> ErrorInfo:
    """An error of this type."""
    return ErrorInfo(kind)


class Stage:
    """A log, its projection, and the present. Nodes are names; a lease of theirs holds for 30 s."""

    def __init__(self) -> None:
        self.log = memory_log()
        self.projection = Projection(self.log.namespace)
        self.now = BEGIN_US

    @property
    def end(self) -> Point:
        """The last position, now."""
        return Point(self.projection.seq, self.now)

    def wait(self, duration: str) -> None:
        """Lets time pass."""
        self.now += parse_duration(duration)

    def task(self, number: int) -> Task:
        """The task as it is now, final or not."""
        task = task_of(self.log, number)
        assert task is not None
        return task

    def new(self, priority: int = 0, *, policy: Policy = PLAIN, **options: Any) -> int:  # noqa: ANN401
        """Creates a task; gives its number."""
        order = NewTask(**{"tags_json": b"{}", **options}, policy=policy, priority=priority)
        drafts, _ = decide.create([order], {}, now=self.now)
        return self._record(drafts)

    def lease(self, worker: str = "h1", count: int = 1, room: int = 1_000) -> int:
        """Leases the next tasks; gives the fence of the first."""
        drafts = decide.lease(
            self.projection,
            worker=worker,
            ttl_us=30 * SECOND_US,
            wanted=Vacancy(count),
            room=room,
            now=self.now,
        )
        return self._record(drafts)

    def settle(self, number: int, kind: str = "completed", **details: Any) -> int:  # noqa: ANN401
        """Ends the task's attempt; with ``fence`` and ``worker``, one that was lost."""
        task = self.task(number)
        worker = details.pop("worker", task.worker)
        fence = details.pop("fence", task.fence)
        if kind == "failed":
            details.setdefault("error", ERROR)
        outcome = Outcome(number, fence, kind, **details)  # type: ignore[arg-type]
        drafts = decide.settle(self.projection, [outcome], worker=worker or "h1", now=self.now)
        return self._record(drafts)

    def lapse(self, worker: str) -> int:
        """Fails what a silent node holds."""
        seen_seq = self.projection.holders[worker].seen_seq
        drafts = decide.lapse(
            self.projection, worker=worker, seen_seq=seen_seq, room=1_000, now=self.now
        )
        return self._record(drafts)

    def renew(self, worker: str) -> int:
        """A sign of life of a node that holds leases."""
        return self._record(decide.renew(self.projection, worker=worker, ttl_us=30 * SECOND_US))

    def expire(self) -> int:
        """Expires what is past its time."""
        return self._record(decide.expire(self.projection, room=1_000, now=self.now))

    def cancel(self, number: int, *, reason: str = "", by: str | None = None) -> int:
        """Calls a task off."""
        return self._record(decide.cancel(self.task(number), reason=reason, by=by))

    def retry(self, number: int, *, by: str | None = None) -> int:
        """Makes a task ready, or reopens it."""
        return self._record(decide.retry(self.task(number), by=by, now=self.now))

    def update(self, number: int, *, by: str | None = None, **changes: Any) -> int:  # noqa: ANN401
        """Edits a pending task; ``delay`` is counted from now."""
        delay = changes.pop("delay", None)
        wanted = {"priority": None, "tags_json": None, "scheduled_at": None, **changes}
        if delay is not None:
            wanted["scheduled_at"] = self.now + parse_duration(delay)
        return self._record(decide.update(self.task(number), by=by, **wanted))

    def new_many(self, priorities: list[int], **options: Any) -> int:  # noqa: ANN401
        """Creates tasks in one commit; gives the number of the first."""
        orders = [NewTask(b"{}", PLAIN, priority, **options) for priority in priorities]
        drafts, _ = decide.create(orders, {}, now=self.now)
        return self._record(drafts)

    def _record(self, drafts: list[Draft]) -> int:
        first = self.projection.seq + 1
        record(self.log, self.projection, drafts, now=self.now)
        return first


def told(stage: Stage, number: int) -> list[str]:
    """The reasons of a task's history."""
    return [step.reason for step in story(stage.log, str(number))]


def last(stage: Stage, number: int) -> str:
    """The reason of its last event."""
    return told(stage, number)[-1]


def fail(stage: Stage, number: int, **details: Any) -> str:  # noqa: ANN401
    """Leases the task and fails it; the reason of what followed."""
    task = stage.task(number)
    stage.now = max(stage.now, task.scheduled_at_us)
    stage.lease()
    stage.settle(number, "failed", **details)
    return last(stage, number)


def random_stage(seed: int, *, rounds: int = 90) -> Stage:
    """A queue to which everything has happened, by seeded chance; ties in the order are common."""
    chance = random.Random(seed)
    stage = Stage()
    for _ in range(rounds):
        stage.now += chance.choice([1, 400_000, SECOND_US, 7 * SECOND_US])
        tasks = list(stage.projection.tasks.values())
        pending = [task for task in tasks if task.recorded_state is TaskState.SCHEDULED]
        leased = [task for task in tasks if task.recorded_state is TaskState.LEASED]
        what = chance.choice(["new", "new", "lease", "lease", "settle", "settle", "edit", "node"])
        if what == "new":
            _create_some(stage, chance)
        elif what == "lease":
            stage.lease(chance.choice("abc"), chance.randint(1, 3))
        elif what == "settle" and leased:
            kind = chance.choice(["completed", "failed", "failed", "released", "cancelled"])
            stage.settle(chance.choice(leased).number, kind)
        elif what == "node" and leased:
            worker = chance.choice(leased).worker or ""
            chance.choice([stage.renew, stage.renew, stage.lapse])(worker)
        elif what == "edit" and pending:
            _edit(stage, chance, chance.choice(pending).number)
    return stage


def _create_some(stage: Stage, chance: random.Random) -> None:
    """A batch, or one task with a schedule, or one that expires soon."""
    priority = chance.randint(0, 2)
    if chance.random() < 0.4:
        stage.new_many([chance.randint(0, 2) for _ in range(chance.randint(2, 4))])
    elif chance.random() < 0.5:
        stage.new(priority, scheduled_at=stage.now + chance.choice([0, 2, 9]) * SECOND_US)
    else:
        stage.new(priority, policy=replace(PLAIN, max_age_us=20 * SECOND_US))


def _edit(stage: Stage, chance: random.Random, number: int) -> None:
    """One of the things that people do to a pending task."""
    chance.choice(
        [
            lambda: stage.update(number, priority=chance.randint(0, 2)),
            lambda: stage.update(number, delay=chance.choice(["0s", "1s", "4s"])),
            lambda: stage.retry(number),
            lambda: stage.cancel(number),
            stage.expire,
        ]
    )()
