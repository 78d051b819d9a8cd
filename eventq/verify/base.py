"""A base for verifying, from a projection that is trusted; it judges nothing."""

from __future__ import annotations

from eventq.core.projection import Projection
from eventq.core.task import Task, TaskState
from eventq.errors import ArgumentError, LogArchivedError, SnapshotError
from eventq.eventlog.contract import EventLog
from eventq.snapshot import get, restore
from eventq.verify.order import Seen
from eventq.verify.verifier import VerifyBase


def base_of(projection: Projection) -> VerifyBase:
    """Where to begin verifying when everything up to this projection is known to be good."""
    return VerifyBase(
        projection.seq,
        projection.at,
        projection.seal,
        tuple(
            _seen(task)
            for task in projection.tasks.values()
            if task.recorded_state is not TaskState.UNKNOWN
        ),
        tuple(member.joined for member in projection.members.by_name.values()),
        tuple((follower.said, follower.at) for follower in projection.followers.values()),
        tuple(
            (each.planned, each.next_at, None if each.ticked is None else each.ticked.due)
            for each in projection.schedules.by_name.values()
        ),
    )


def base_at_start(log: EventLog) -> VerifyBase | None:
    """Where to begin with a log whose beginning was archived; None for one that has it.

    It trusts the snapshot that stands there, which `snapshot verify` can prove with the archive.
    Raises LogArchivedError where it cannot be used: then only the archive helps.
    """
    start = log.start().seq
    if not start:
        return None
    try:
        return base_of(restore(get(log, start)))
    except (SnapshotError, ArgumentError) as error:
        raise LogArchivedError(1, start) from error


def _seen(task: Task) -> Seen:
    leased = task.recorded_state is TaskState.LEASED
    return Seen(
        number=task.number,
        created_at=task.created_at_us,
        key=task.caller_key,
        priority=task.priority,
        tags=task.tags_json,
        policy=task.policy,
        scheduled_at=task.scheduled_at_us,
        expires_at=task.expires_at_us,
        name=task.name,
        lane=task.lane,
        needs=task.needs,
        state="leased" if leased else "pending",
        attempt=task.attempt,
        retries=task.retry_count,
        lapses=task.lapses,
        snoozes=task.snoozes,
        saved=task.saved_json,
        fence=task.fence,
        worker=task.worker,
        last_error=task.last_error,
        unique=task.unique,
        schedule=task.schedule,
        due=task.due_us,
    )
