"""What keeps tasks from running: other tasks, limits and pauses; and what would run next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice

from msgspec.structs import replace

from eventq.core.audience import EVERYTHING
from eventq.core.choosing import Choosing
from eventq.core.places import Places, Vacancy
from eventq.core.projection import Projection
from eventq.core.task import Task, TaskState, is_overdue, state_as_of
from eventq.core.validation import check_list
from eventq.core.values import Bucket, Scope
from eventq.replay.rule_words import bucket_words, scope_words

# So many tasks that one waits for are named.
NAMED = 3


def next_tasks(
    projection: Projection, now: int, *, limit: int, lanes: Iterable[str] | None = None
) -> list[Task]:
    """What nodes that handle all would be given next, if so many asked now, in this order.

    Without what a limit or a pause keeps back, and what is past its expiry. With ``lanes``, nodes
    that handle all of these.
    """
    audience = EVERYTHING if lanes is None else replace(EVERYTHING, lanes=tuple(lanes))
    if not projection.governing.is_on:
        ready = (task for task in projection.ready(now, audience) if not is_overdue(task, now))
        return list(islice(ready, limit))
    with Choosing(projection, now) as choice:
        return list(Places(Vacancy(limit), audience).chosen(choice, now))


def waits_for(projection: Projection, tasks: Iterable[Task], now: int) -> dict[int, str]:
    """What keeps each of these from running, by number, in words; without those that none does."""
    found = {}
    for task in check_list(tasks, "tasks", Task):
        # As the projection has it, with its buckets.
        known = projection.tasks.get(task.number)
        if known is not None and (words := _waits_for(projection, known, now)) is not None:
            found[task.number] = words
    return found


def undefined_limits(projection: Projection, now: int) -> dict[str, int]:
    """How many ready tasks wait for each limit that is not defined; O(ready lists)."""
    limits = projection.governing.limits
    return _waiting_for(projection, now, lambda bucket: limits.said(bucket.limit) is None)


def untagged_limits(projection: Projection, now: int) -> dict[str, int]:
    """How many ready tasks lack the tag that a limit of theirs is counted by; O(ready lists)."""
    limits = projection.governing.limits
    return _waiting_for(
        projection,
        now,
        lambda bucket: bucket.value is None and limits.per_of(bucket.limit) is not None,
    )


def held_back(projection: Projection, now: int) -> dict[str, int]:
    """How many ready tasks each limit or pause keeps back; O(ready lists), with tags O(tasks)."""
    governing = projection.governing
    if not governing.is_on:
        return {}
    counts: Iterable[tuple[Scope | Bucket | None, int]]
    if any(scope.tags for scope in governing.pauses.by_scope):
        counts = ((governing.held_by(task, now), 1) for task in projection.ready(now))
    else:
        routes = projection.ready_routes(now)
        counts = ((governing.route_held_by(route, now), n) for route, n in routes.items())
    found: Counter[str] = Counter()
    for held, count in counts:
        if held is not None:
            found[_limit_or_pause(held)] += count
    return dict(sorted(found.items()))


def _waiting_for(
    projection: Projection, now: int, chosen: Callable[[Bucket], bool]
) -> dict[str, int]:
    """How many ready tasks have a chosen bucket of each limit."""
    found: Counter[str] = Counter()
    if projection.governing.is_on:
        for route, count in projection.ready_routes(now).items():
            found.update({bucket.limit: count for bucket in route.buckets if chosen(bucket)})
    return dict(sorted(found.items()))


def _waits_for(projection: Projection, task: Task, now: int) -> str | None:
    state = state_as_of(task, now)
    if state is TaskState.WAITING:
        return _predecessors(projection, task)
    if state is not TaskState.READY or not projection.governing.is_on:
        return None
    held = projection.governing.held_by(task, now)
    if isinstance(held, Bucket):
        return f"limit {bucket_words(held)}"
    return None if held is None else _limit_or_pause(held)


def _predecessors(projection: Projection, task: Task) -> str:
    wait = projection.waits.by_task[task.number]
    if task.number in projection.waits.doomed:
        return "its cancellation"
    if wait.failed:
        return f"a retry of task {', '.join(map(str, sorted(wait.failed)[:NAMED]))}"
    if task.role != "member":
        return f"the end of flow {task.flow}"
    numbers = sorted(wait.open)
    keys = ", ".join(projection.tasks[number].key for number in numbers[:NAMED])
    more = ", ..." if len(numbers) > NAMED else ""
    return f"{'task' if len(numbers) == 1 else 'tasks'} {keys}{more}"


def _limit_or_pause(held: Scope | Bucket) -> str:
    """A limit without its value: there may be very many."""
    if isinstance(held, Bucket):
        return f"limit {held.limit}"
    return f"pause of {scope_words(held)}"
