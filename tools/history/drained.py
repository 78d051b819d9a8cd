"""Invariant 14: once faults are off, all comes to its end, but for what waits with reason."""

from __future__ import annotations

from tools.history.bounds import Bounds
from tools.history.links import Links
from tools.history.schedules import Schedules
from tools.history.world import OPEN, Task, World

# So long after its time is over, somebody has expired a task.
EXPIRED_US = 120 * 1_000_000


def judge_drained(
    world: World, links: Links, bounds: Bounds, schedules: Schedules, *, drained_at: int
) -> None:
    """Reports each task that is open though nothing holds it back, and each due left out."""
    world.now = max(world.now, drained_at)
    for number, task in world.tasks.items():
        if task.state in OPEN and not _is_excused(task, links, bounds, drained_at):
            text = f"task {number} is left {task.state}, scheduled at {task.scheduled_at}"
            world.report(14, None, text)
        cause = world.tasks.get(task.cause or 0)
        if task.state == "cancelled" and cause is not None and not cause.is_lost:
            is_back = cause.reopened_seq > task.ended_seq and number not in cause.skipped
            # Where it ends again before all of them are back, the others stay as they are.
            if is_back and cause.state not in {"expired", "cancelled"} and not task.is_lost:
                text = f"task {number} is not back, though task {task.cause} is"
                world.report(14, task.ended_seq, text)
    for name in schedules.overdue(drained_at):
        world.report(17, None, f"schedule {name} has not ticked what has come")


def _is_excused(task: Task, links: Links, bounds: Bounds, drained_at: int) -> bool:
    expires_at = task.expires_at
    if not task.is_foreign and expires_at is not None and expires_at + EXPIRED_US <= drained_at:
        return False
    if task.state == "waiting":
        return links.excuse(task)
    if task.state != "pending":
        return False
    if task.is_foreign or task.scheduled_at > drained_at:
        return True
    kept = bounds.keeps(task)
    return kept is not None and (
        kept[0] == 7 or not all(bounds.is_known(bucket) for bucket in task.buckets)
    )
