"""Tasks that attempts make with their completions; what keys and unique values mean then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eventq.core.command import NEW, Draft, PastTasks
from eventq.core.create import (
    NewTask,
    check_same,
    created_by,
    existing_by_key,
    has_expired,
    resolve,
    start_of,
    superseded,
    task_of_key,
)
from eventq.core.events import Created, Expired, Updated
from eventq.core.moves import change
from eventq.core.projection import Projection
from eventq.core.task import FINAL, Task
from eventq.core.unique import replacement
from eventq.errors import DuplicateTaskError


class ChildDrafts:
    """Drafts of the tasks that attempts make with their completions, all in one commit."""

    def __init__(self, projection: Projection, past: PastTasks, now: int) -> None:
        self.has_touched = False
        """Whether a pending task that held a unique value is replaced, or ended since it is late.

        What is leased in the same commit was chosen without knowing that.
        """
        self._past = past
        self._now = now
        self._keyed: dict[str, Created] = {}
        self._per_of = projection.governing.limits.per_of
        self._twins = _Twins(projection, now, {}, {})

    def note(self, task: Task, drafts: Iterable[Draft]) -> None:
        """Takes in what the commit does to a task that has a unique value."""
        for number, body in drafts:
            if number == task.number:
                task = change(task, 0, self._now, body)
        self._twins.moved[task.number] = task

    def make(
        self, orders: Sequence[NewTask], drafts: list[Draft]
    ) -> tuple[list[Draft], list[Draft]]:
        """What one attempt's orders do to tasks that are there, and the ``created`` events.

        ``drafts`` are those of the commit so far, in which a task that an earlier attempt makes may
        be replaced. Raises KeyConflictError, DuplicateTaskError, and ArgumentError where a task
        could not run any more; then none of them are made.
        """
        existing = existing_by_key(orders, self._past, self._now)
        twins = self._twins
        if any(order.unique is not None for order in orders):
            twins = twins.copy()
        keyed: dict[str, Created] = {}
        made: list[Created] = []
        for order in orders:
            key = order.key
            if key is not None:
                if (twin := keyed.get(key) or self._keyed.get(key)) is not None:
                    check_same(key, order, twin, created_at=self._now, task=NEW)
                    continue
                if key in existing:
                    task_of_key(key, order, existing[key])
                    continue
            if order.unique is not None and twins.meets(order.unique, order):
                continue
            body = created_by(resolve(order, self._per_of, "limits"), self._now)
            if key is not None:
                keyed[key] = body
            if order.unique is not None:
                twins.made[order.unique] = body
            made.append(body)
        self._keyed |= keyed
        if twins is not self._twins:
            _replace_made(drafts, self._twins.made, twins.made)
            made = [body if body.unique is None else twins.made[body.unique] for body in made]
            self.has_touched = self.has_touched or bool(twins.events)
            self._twins = twins
        return twins.take_events(), [(NEW, body) for body in made]


class _Twins:
    """Which tasks hold the unique values of orders: in the log, or made in this commit."""

    def __init__(
        self, projection: Projection, now: int, made: dict[str, Created], moved: dict[int, Task]
    ) -> None:
        self.made = made
        """What the commit makes, by unique value."""
        self.moved = moved
        """Tasks with such a value, as the commit leaves them."""
        self.events: list[Draft] = []
        """What is to happen to holders."""
        self._projection = projection
        self._now = now

    def copy(self) -> _Twins:
        """One that may be changed without this one."""
        return _Twins(self._projection, self._now, self.made.copy(), self.moved.copy())

    def take_events(self) -> list[Draft]:
        """The events, which are then no longer to happen."""
        events, self.events = self.events, []
        return events

    def meets(self, unique: str, order: NewTask) -> bool:
        """Whether a task holds the order's value, so that no other is made; it may be replaced.

        Raises DuplicateTaskError.
        """
        if (made := self.made.get(unique)) is not None:
            if order.on_duplicate == "raise":
                raise DuplicateTaskError(unique, key=None, task=0)
            if order.on_duplicate == "replace":
                self.made[unique] = superseded(made, order, self._now)
            return True
        holder = self._projection.holder_of(unique)
        if holder is not None:
            holder = self.moved.get(holder.number, holder)
        if holder is None or holder.recorded_state in FINAL:
            return False
        if has_expired(holder, self._now):
            self._do(holder, Expired("max_age"))
            return False
        if order.on_duplicate == "raise":
            raise DuplicateTaskError(unique, key=holder.key, task=holder.number)
        if order.on_duplicate == "replace":
            start = start_of(order, self._now)
            body = replacement(holder, order.tags_json, start, self._now)
            if body is not None:
                self._do(holder, body)
        return True

    def _do(self, holder: Task, body: Expired | Updated) -> None:
        self.moved[holder.number] = change(holder, 0, self._now, body)
        self.events.append((holder.number, body))


def _replace_made(drafts: list[Draft], old: dict[str, Created], new: dict[str, Created]) -> None:
    """Puts what later orders have replaced in its place among the drafts of earlier ones."""
    for unique, body in old.items():
        if new[unique] is not body:
            drafts[drafts.index((NEW, body))] = NEW, new[unique]
