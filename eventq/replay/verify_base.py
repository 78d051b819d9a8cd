"""A base for verifying, from a projection that is trusted; it judges nothing."""

from __future__ import annotations

from eventq.projection import Projection
from eventq.replay.verify import VerifyBase
from eventq.replay.verify_order import Seen
from eventq.task import Task, TaskState


def base_of(projection: Projection) -> VerifyBase:
    """Where to begin verifying when everything up to this projection is known to be good."""
    return VerifyBase(
        projection.seq,
        projection.at,
        projection.seal,
        tuple(_seen(task) for task in projection.tasks.values()),
    )


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
        state="leased" if leased else "pending",
        attempt=task.attempt,
        retries=task.retry_count,
        fence=task.fence,
        last_error=task.last_error,
    )
