"""What keeps a ready task from being leased: a pause, or a bucket without room; in words."""

from __future__ import annotations

from eventq.audit.phrases import counted
from eventq.core.durations import brief_duration
from eventq.core.projection import Projection
from eventq.core.task import Task, show_instant
from eventq.core.values import Bucket, Scope
from eventq.replay.rule_words import bound_words, bucket_words, scope_words

# So many that hold a place are named.
NAMED = 5


def held_words(projection: Projection, task: Task, now: int) -> tuple[str, list[str]] | None:
    """What keeps the task back, in a sentence, and what else is known of that; None for nothing."""
    governing = projection.governing
    if not governing.is_on:
        return None
    # As the projection has it, with its buckets.
    task = projection.tasks.get(task.number, task)
    held = governing.held_by(task, now)
    if held is None:
        return None
    if isinstance(held, Scope):
        return _paused(projection, held, now)
    return _full(projection, held, now)


def _paused(projection: Projection, scope: Scope, now: int) -> tuple[str, list[str]]:
    pause = projection.governing.pauses.by_scope[scope]
    said = pause.said
    by = "" if said.by is None else f" by {said.by}"
    why = f": {said.reason}" if said.reason else ""
    verdict = f"{scope_words(scope)} is paused{by} since {show_instant(pause.at)}{why}"
    if said.until is None:
        return verdict, ["the pause goes on until somebody resumes it"]
    left = brief_duration(said.until - now)
    return verdict, [f"the pause ends at {show_instant(said.until)}, in {left}"]


def _full(projection: Projection, bucket: Bucket, now: int) -> tuple[str, list[str]]:
    limits = projection.governing.limits
    said = limits.said(bucket.limit)
    if said is None:
        return f"limit {bucket.limit} is not defined, and so it holds all its tasks back", []
    if bucket.value is None and said.per is not None:
        return f"it has no tag {said.per} that limit {bucket.limit} could be counted by", []
    holders = [task for task in projection.leased() if bucket in task.route.buckets]
    verdict = f"limit {bucket_words(bucket)} has no room: {bound_words(said)}"
    notes = []
    if holders:
        names = ", ".join(f"{task.key} on {task.worker}" for task in holders[:NAMED])
        more = ", ..." if len(holders) > NAMED else ""
        notes.append(f"{counted(len(holders), 'task')} runs in it: {names}{more}")
    if said.rate is not None and said.per_us is not None:
        notes.append(f"{counted(limits.taken(bucket, now), 'lease')} began in its window")
    free_at = limits.frees_at(bucket, now)
    if free_at is not None:
        wait = brief_duration(free_at - now)
        notes.append(f"the rate gives room at {show_instant(free_at)}, in {wait}")
    return verdict, notes
