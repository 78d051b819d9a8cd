"""A base for verifying, from a projection that is trusted; it judges nothing."""

from __future__ import annotations

from eventq.core.flows import FlowState
from eventq.core.projection import Projection
from eventq.core.task import Task, TaskState
from eventq.core.waits import Wait
from eventq.errors import ArgumentError, LogArchivedError, SnapshotError
from eventq.eventlog.contract import EventLog
from eventq.snapshot import get, restore
from eventq.verify.bounds import BoundsBase
from eventq.verify.links import SeenFlow
from eventq.verify.seen import Seen, given_of, keys_of
from eventq.verify.verifier import VerifyBase


def base_of(projection: Projection) -> VerifyBase:
    """Where to begin verifying when everything up to this projection is known to be good."""
    return VerifyBase(
        projection.seq,
        projection.at,
        projection.seal,
        tuple(
            _seen(task, projection.waits.by_task.get(task.number))
            for task in projection.tasks.values()
            if task.recorded_state is not TaskState.UNKNOWN
        ),
        tuple(member.joined for member in projection.members.by_name.values()),
        tuple((follower.said, follower.at) for follower in projection.followers.values()),
        tuple(
            (each.planned, each.next_at, None if each.ticked is None else each.ticked.due)
            for each in projection.schedules.by_name.values()
        ),
        tuple((number, _flow(flow)) for number, flow in projection.flows.by_number.items()),
        _bounds(projection),
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


def _flow(flow: FlowState) -> SeenFlow:
    on_failure, last = set(flow.on_failure), set(flow.last)
    return SeenFlow(0, flow.open, flow.failed, flow.closed, on_failure, last)


def _bounds(projection: Projection) -> BoundsBase:
    governing = projection.governing
    instants = governing.limits.instants(projection.decided_at)
    return BoundsBase(
        tuple(limit.said for limit in governing.limits.by_name.values()),
        {(bucket.limit, bucket.value): tuple(each) for bucket, each in instants.items()},
        tuple(pause.said for pause in governing.pauses.by_scope.values()),
        governing.turns.shared if governing.turns.is_on else None,
        {p: (turn.level, turn.ahead) for p, turn in governing.turns.by_priority().items()},
    )


def _seen(task: Task, wait: Wait | None) -> Seen:
    states = {TaskState.LEASED: "leased", TaskState.WAITING: "waiting"}
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
        state=states.get(task.recorded_state, "pending"),
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
        after=tuple(each.task for each in task.after),
        if_failed=task.if_failed,
        given=given_of(task.given),
        flow=task.flow,
        role=task.role,
        blocked_by=None if wait is None else set(wait.open),
        failed_by=None if wait is None else set(wait.failed),
        buckets=keys_of(task.buckets),
        first_buckets=keys_of(task.buckets),
        own_share=task.own_share,
        share=task.share,
        trace=task.trace,
        secret=task.secret,
    )
