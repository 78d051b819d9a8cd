"""Who may run when: limits, pauses and turns in one place, with the index that goes by them.

The projection tells it which events there are; it changes the routes of its tasks alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Raw
from msgspec.structs import replace

from eventq.core.buckets import all_buckets, valued
from eventq.core.commits import AnyRule
from eventq.core.dispatch_index import Pending
from eventq.core.events import Created, Reopening
from eventq.core.limits import Limit, Limits
from eventq.core.moves import create, route_of
from eventq.core.pauses import Pause, Pauses
from eventq.core.queue_events import Limited, Shared
from eventq.core.task import PLAIN_ROUTE, Route, Task, TaskState
from eventq.core.turns import Turns, TurnState
from eventq.core.values import Bucket, Scope

# Routes that no open task has are looked for when there are twice as many as in the end last time.
FEW_ROUTES = 10_000

_Said = tuple[str | None, str | None, tuple[str, ...], tuple[Bucket, ...], str | None]


class Governing:
    """Limits, pauses, turns, and the pending tasks by them."""

    def __init__(self, tasks: dict[int, Task]) -> None:
        self.limits = Limits()
        self.pauses = Pauses()
        self.turns = Turns()
        self.pending = Pending(tasks, self.limits, self.pauses, self.turns)
        self.is_on = False
        """Whether any of it has been used; until then nothing here costs anything."""
        self.is_tried = False
        """Whether something is taken on trial just now, see `choosing`."""
        self._tasks = tasks
        self._routes: dict[Route, Route] = {PLAIN_ROUTE: PLAIN_ROUTE}
        self._most = FEW_ROUTES
        # Those of tasks by what their events say and their share, where no tag says more.
        self._known: dict[_Said, Route] = {}

    def route_for(self, said: Created | Reopening) -> Route:
        """The route of a task that is made or reopened; equal ones are one object."""
        if not self.is_on and not said.limits:
            route = route_of(said)
            return route if route is PLAIN_ROUTE else self.shared(route)
        self._turn_on()
        share = self.turns.share_of(said.share, said.tags)
        key = (said.name, said.lane, said.needs, said.limits, share)
        return self._known.get(key) or self._route_for(said, share, key)

    def routed(self, task: Task) -> Task:
        """The task with the route that it has by its tags and by the rules as they stand now."""
        share = self.turns.share_of(task.own_share, task.tags_json)
        route = self._resolved(task.route, share, task.tags_json)
        return task if route == task.route else replace(task, route=self.shared(route))

    def edited(self, task: Task) -> Task:
        """The same of a task that was edited; its lane may be another one."""
        if self.is_on:
            task = self.routed(task)
        route = self.shared(task.route)
        return task if route is task.route else replace(task, route=route)

    def shared(self, route: Route) -> Route:
        """The same route, which all tasks have as one object."""
        known = self._routes.get(route)
        if known is None:
            if len(self._routes) >= self._most:
                self._share_routes(task.route for task in self._tasks.values())
                self._most = max(FEW_ROUTES, 2 * len(self._routes))
            known = self._routes[route] = route
        return known

    def apply(self, seq: int, at: int, body: AnyRule) -> None:
        """Folds one event."""
        self._turn_on()
        self._known.clear()
        if isinstance(body, Limited):
            is_per_new = self._is_per_new(body)
            self.limits.apply(seq, at, body)
            if is_per_new:
                self._reroute(task for task in self._tasks.values() if _names(task, body.limit))
            self.pending.govern()
        elif isinstance(body, Shared):
            self.turns.apply(body)
            self._reroute(self._tasks.values())
            # Whoever stays in its list is level again.
            self.pending.govern()
        else:
            self.pauses.apply(seq, at, body)
            self.pending.resume(body.scope)
            if body.scope.limit is not None and body.scope.value is None:
                self.pending.govern()

    def would_bear(self, body: Created, now: int) -> bool:
        """Whether a task that is made by this event might be leased, as far as the rules go."""
        task = create("", 0, now, body)
        share = self.turns.share_of(body.share, task.tags_json)
        route = self._resolved(task.route, share, task.tags_json)
        if self.limits.full(route.buckets, now) is not None:
            return False
        return self.pauses.of_task(replace(task, route=route), now) is None

    def route_held_by(self, route: Route, now: int) -> Scope | Bucket | None:
        """What keeps all ready tasks of a route back, but for pauses of tags; None for nothing."""
        paused = self.pauses.of_base(route, now) or self.pauses.of_buckets(route, now)
        return self.limits.full(route.buckets, now) if paused is None else paused

    def held_by(self, task: Task, now: int) -> Scope | Bucket | None:
        """The pause, or the bucket without room, that keeps a ready task back; None for none."""
        paused = self.pauses.of_task(task, now)
        return self.limits.full(task.route.buckets, now) if paused is None else paused

    def leased(self, tasks: list[Task], at: int) -> None:
        """These tasks are leased, in this order."""
        heads, turns = self.pending.heads, self.turns
        if not self.pending.is_sorted:
            # What a recount cannot tell from the tasks.
            if self.limits.has_rates:
                self.limits.note(tasks, at)
            if turns.is_on:
                turns.note(tasks)
            return
        for task in tasks:
            if task.route.buckets:
                self.limits.hold(task.route.buckets, at)
            if turns.is_on:
                taken = turns.take(task.priority, task.route.share)
                if heads is not None:
                    heads.turned((taken.share, *taken.dropped))

    def let_go(self, task: Task) -> None:
        """A task that takes buckets is leased no more."""
        if not self.pending.is_sorted:
            return
        self.limits.let_go(task.route.buckets)
        heads = self.pending.heads
        if heads is not None:
            for bucket in task.route.buckets:
                heads.free(bucket)

    def restore(
        self,
        *,
        limits: Mapping[str, Limit],
        instants: Mapping[Bucket, Iterable[int]],
        pauses: Mapping[Scope, Pause],
        shared: Shared | None,
        turns: Mapping[int, TurnState],
    ) -> None:
        """Takes over what stands in a snapshot; `rebuild` follows."""
        self.limits.restore(limits, instants)
        self.pauses.restore(pauses)
        self.turns.rebuild(shared, turns)

    def rebuild(self) -> None:
        """Derives anew from the tasks what is derived; O(n). `recount` follows."""
        routes = {task.route for task in self._tasks.values()}
        self._share_routes(routes)
        self.is_on = bool(
            self.limits.by_name
            or self.pauses.by_scope
            or self.turns.is_on
            or any(route.buckets for route in routes)
        )

    def recount(self) -> None:
        """Counts anew what runs in each bucket, and sorts who is ahead, where any are; O(n)."""
        if not self.is_on:
            return
        self.limits.recount(t for t in self._tasks.values() if t.recorded_state is TaskState.LEASED)
        self.turns.tidy()

    def check(self, leased: list[Task]) -> None:
        """Asserts what must hold of limits, pauses and turns."""
        self.limits.check(leased if self.pending.is_sorted else None)
        self.pauses.check()
        self.turns.check()
        assert self.is_on or not (self.limits.uses or self.pauses.by_scope or self.turns.is_on)
        for task in self._tasks.values():
            assert task.route is PLAIN_ROUTE or self._routes[task.route] is task.route
            assert self.turns.is_on or task.route.share is None
        assert self.pending.heads is None or self.is_on

    def _turn_on(self) -> None:
        if not self.is_on:
            self.is_on = True
            self.pending.govern()

    def _is_per_new(self, body: Limited) -> bool:
        """Whether a limit is given a tag that it did not have."""
        before = self.limits.said(body.limit)
        return body.per is not None and (before is None or before.per is None)

    def _route_for(self, said: Created | Reopening, share: str | None, key: _Said) -> Route:
        route = self._resolved(route_of(said), share, said.tags)
        if route is not PLAIN_ROUTE:
            route = self.shared(route)
        if route.buckets == said.limits and not self._asks_tags(said.limits):
            self._known[key] = route
        return route

    def _resolved(self, route: Route, share: str | None, tags_json: bytes | Raw) -> Route:
        """The route with this share, and the values that its buckets have by the task's tags."""
        buckets = route.buckets
        if self._asks_tags(buckets):
            per_of = self.limits.per_of
            buckets = all_buckets(tuple(valued(bucket, tags_json, per_of) for bucket in buckets))
        elif share == route.share:
            return route
        return Route(route.name, route.lane, route.needs, buckets, share)

    def _asks_tags(self, buckets: Iterable[Bucket]) -> bool:
        """Whether any of these has a value that stands in a tag."""
        by_tags = self.limits.by_tags
        return any(bucket.value is None and bucket.limit in by_tags for bucket in buckets)

    def _reroute(self, tasks: Iterable[Task]) -> None:
        """Gives open tasks the route that they have by the rules as they stand now; O(n)."""
        pending = self.pending
        for task in list(tasks):
            changed, state = self.routed(task), task.recorded_state
            if changed is task:
                continue
            if state is TaskState.SCHEDULED:
                pending.remove(task)
            elif state is TaskState.LEASED and changed.buckets != task.buckets:
                self.let_go(task)
                self.limits.count(changed)
            self._tasks[task.number] = changed
            if state is TaskState.SCHEDULED:
                pending.add(changed)

    def _share_routes(self, routes: Iterable[Route]) -> None:
        """These alone are shared from here on; the plain one is always the same object."""
        self._routes = {PLAIN_ROUTE: PLAIN_ROUTE}
        self._routes |= {route: route for route in routes if route is not PLAIN_ROUTE}
        self._known.clear()


def _names(task: Task, limit: str) -> bool:
    return any(bucket.limit == limit and bucket.value is None for bucket in task.route.buckets)
