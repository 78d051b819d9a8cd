"""Pauses: which tasks may not be leased until somebody resumes them, or an instant comes.

Nothing here knows lists of tasks; a pause is compared with routes and with tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from eventq.core.audience import matches
from eventq.core.plain import sorted_json
from eventq.core.queue_events import Paused, Resumed
from eventq.core.task import DEFAULT_LANE, Route, Task
from eventq.core.values import Scope


class Pause(Struct, frozen=True, gc=False):
    """What was said of a pause, with the position and instant at which it was."""

    said: Paused
    seq: int
    at: int

    def is_on(self, now: int) -> bool:
        """Whether it goes on at this instant."""
        return self.said.until is None or now < self.said.until


class Pauses:
    """The pauses by their scopes. One whose end has come is forgotten by the next event."""

    def __init__(self) -> None:
        self.by_scope: dict[Scope, Pause] = {}
        self._sort()

    def restore(self, by_scope: Mapping[Scope, Pause]) -> None:
        """Takes over what was known elsewhere."""
        self.by_scope = dict(by_scope)
        self._sort()

    def apply(self, seq: int, at: int, body: Paused | Resumed) -> None:
        """Folds one event."""
        if isinstance(body, Resumed):
            self.by_scope.pop(body.scope, None)
        else:
            self.by_scope[body.scope] = Pause(body, seq, at)
        self._sort()

    def forget(self, at: int) -> None:
        """Forgets those whose end has come; O(pauses), and nothing where none ends by itself."""
        if self._ends_at is not None and self._ends_at <= at:
            self.by_scope = {scope: p for scope, p in self.by_scope.items() if p.is_on(at)}
            self._sort()

    def of_base(self, base: Route, now: int) -> Scope | None:
        """The pause of all tasks of such a route: of all, of a lane or of a name."""
        for scope in self._broad:
            if fits_route(scope, base) and self.by_scope[scope].is_on(now):
                return scope
        return None

    def of_buckets(self, route: Route, now: int) -> Scope | None:
        """The pause of a bucket that tasks of this route take."""
        for scope in self._bucketed:
            if fits_route(scope, route) and self.by_scope[scope].is_on(now):
                return scope
        return None

    def of_tags(self, task: Task, now: int) -> Scope | None:
        """The pause of a tag's value that the task has."""
        if not self._tagged:
            return None
        tags: dict[str, Any] = msgspec.json.decode(task.tags_json)
        for scope in self._tagged:
            if (
                fits_route(scope, task.route)
                and fits_tags(scope, tags)
                and self.by_scope[scope].is_on(now)
            ):
                return scope
        return None

    def of_task(self, task: Task, now: int) -> Scope | None:
        """A pause that keeps the task from being leased; None where there is none."""
        route = task.route
        return self.of_base(route, now) or self.of_buckets(route, now) or self.of_tags(task, now)

    def next_end(self, now: int) -> int | None:
        """The next instant at which a pause ends by itself."""
        ends = [p.said.until for p in self.by_scope.values() if p.said.until is not None]
        return min((until for until in ends if until > now), default=None)

    def check(self) -> None:
        """Asserts that each stands under its own scope, in one of the three kinds."""
        assert all(pause.said.scope == scope for scope, pause in self.by_scope.items())
        sorted_ = [*self._broad, *self._bucketed, *self._tagged]
        assert len(sorted_) == len(self.by_scope)
        assert set(sorted_) == self.by_scope.keys()

    def _sort(self) -> None:
        scopes = self.by_scope
        self._tagged = [scope for scope in scopes if scope.tags]
        self._bucketed = [s for s in scopes if not s.tags and s.limit is not None]
        self._broad = [s for s in scopes if not s.tags and s.limit is None]
        ends = [p.said.until for p in scopes.values() if p.said.until is not None]
        self._ends_at = min(ends, default=None)


def fits_route(scope: Scope, route: Route) -> bool:
    """Whether tasks of this route are in the scope, as far as that is to be told from a route."""
    if scope.lane is not None and scope.lane != (route.lane or DEFAULT_LANE):
        return False
    if scope.name is not None and (route.name is None or not matches(route.name, scope.name)):
        return False
    if scope.limit is None:
        return True
    return any(
        bucket.limit == scope.limit and scope.value in {None, bucket.value}
        for bucket in route.buckets
    )


def fits_tags(scope: Scope, tags: Mapping[str, Any]) -> bool:
    """Whether these tags have the values of the scope, as JSON compares them."""
    return all(
        name in tags and sorted_json(tags[name]).decode() == text for name, text in scope.tags
    )


def fitting(scope: Scope, tasks: Iterable[Task]) -> Iterator[Task]:
    """Those of the tasks that are in the scope."""
    for task in tasks:
        if fits_route(scope, task.route) and (not scope.tags or fits_tags(scope, task.tags)):
            yield task
