"""What the naive model knows of tasks and of the queue, from both sides, to be compared."""

from __future__ import annotations

from msgspec.structs import astuple

from eventq.core.projection import Projection
from eventq.core.task import Task
from tests.naive import Naive
from tests.naive_rows import Node, Row


def facts(task: Task) -> tuple[object, ...]:
    """All of a task that the model knows too."""
    state = str(task.recorded_state)
    return (
        task.number,
        task.caller_key,
        task.priority,
        task.tags_json,
        task.policy,
        task.created_at_us,
        task.scheduled_at_us,
        task.expires_at_us,
        {"scheduled": "waiting", "waiting": "blocked"}.get(state, state),
        task.attempt,
        task.retry_count,
        task.fence,
        task.worker,
        task.last_error.type if task.last_error else None,
        task.result_json,
        task.final_reason,
        task.name,
        task.lane,
        task.needs,
        task.lapses,
        task.snoozes,
        task.started_at_us,
        None if task.ending is None else task.ending.at_us,
        task.newer,
        None if task.progress is None else astuple(task.progress),
        task.saved_json,
        task.unique,
        task.schedule,
        task.due_us,
        {each.task for each in task.after},
        task.if_failed,
        task.given,
        task.flow,
        task.role,
        task.cause,
        task.trace,
        task.secret,
    )


def row_facts(row: Row) -> tuple[object, ...]:
    """The same of the model's row."""
    return (
        row.number,
        row.key,
        row.priority,
        row.tags,
        row.policy,
        row.created_at,
        row.scheduled_at,
        row.expires_at,
        row.state,
        row.attempt,
        row.retries,
        row.fence,
        row.worker,
        row.error,
        row.result,
        row.reason,
        row.name,
        row.lane,
        row.needs,
        row.lapses,
        row.snoozes,
        row.started_at,
        row.ended_at,
        row.newer,
        row.progress,
        row.saved,
        row.unique,
        row.schedule,
        row.due,
        set(row.after),
        row.if_failed,
        row.given,
        row.flow,
        row.role,
        row.cause,
        row.trace,
        row.secret,
    )


def assert_waits_equal(ours: Projection, model: Naive, blocked: list[Row]) -> None:
    """What each waiting task waits for, what is doomed, and the flows are equal."""
    assert {n: (wait.open, wait.failed) for n, wait in ours.waits.by_task.items()} == {
        row.number: (
            {number for number, how in row.after.items() if how == "open"},
            {number for number, how in row.after.items() if how == "failed"},
        )
        for row in blocked
    }
    assert list(ours.waits.doomed) == [row.number for row in model.links.doomed()]
    assert list(ours.waits.reviving) == sorted(model.links.reviving)
    assert set(ours.flows.by_number) == model.links.flows_in_progress()


def assert_equal(ours: Projection, model: Naive, now: int) -> None:
    """Every task and every query of the two is equal."""
    unknown = [row for row in model.rows if row.state == "unknown"]
    blocked = [row for row in model.rows if row.state == "blocked"]
    open_rows = [*model.waiting(), *model.leased(), *unknown, *blocked]
    assert ours.seq == model.seq
    assert {
        number: ([(b.limit, b.value) for b in task.buckets], task.own_share, task.share)
        for number, task in ours.tasks.items()
    } == {row.number: (row.buckets, row.own_share, row.share) for row in open_rows}
    assert {number: facts(task) for number, task in ours.tasks.items()} == {
        row.number: row_facts(row) for row in open_rows
    }
    assert [task.number for task in ours.ready(now)] == model.ready(now)
    assert {name: (m.seq, m.at) for name, m in ours.members.by_name.items()} == {
        name: node.said for name, node in model.nodes.items()
    }
    assert {
        name: (each.said.worker, each.said.seq, (each.seq, each.at, each.said.ttl_us))
        for name, each in ours.followers.items()
    } == {name: (r.worker, r.position, r.said) for name, r in model.followers.readers.items()}
    assert {
        each.name: (each.planned.rules.overlap, each.next_at, each.planned.paused, [*each.tasks])
        for each in ours.schedules.by_name.values()
    } == {
        name: (plan.overlap, plan.next_at, plan.paused, plan.made)
        for name, plan in model.schedules.plans.items()
    }
    coming = [plan.next_at for plan in model.schedules.plans.values() if not plan.paused]
    assert ours.schedules.next_instant() == min(coming, default=None)
    for name in ("anna", "bert", "cleo"):
        node = model.nodes.get(name, Node())
        runs = [number for number in model.ready(now) if node.runs(model.row(number))]
        seen = ours.ready(now, ours.members.audience(name))
        assert [task.number for task in seen] == runs
    assert ours.ready_count(now) == len(model.ready(now))
    late = [row.number for row in model.overdue(now)]
    assert [task.number for task in ours.past_expiry(now)] == late
    # With what a rate or a pause holds back there may be an earlier one, where something is met.
    instants = [ours.next_instant(), model.next_instant(now)]
    known = [at for at in instants if at is not None]
    assert instants[0] == min(known, default=None)
    assert instants[0] == instants[1] or ours.governing.is_on
    assert_waits_equal(ours, model, blocked)
    assert ours.pending_count == len(model.waiting())
    assert ours.leased_count == len(model.leased())
    assert ours.unknown_count == len(unknown)
    assert ours.retrying_count() == sum(row.attempt > 0 for row in model.waiting())
    assert {kind: n for kind, n in ours.counts.items() if n} == dict(model.kinds)
    assert ours.final_counts() == {
        state: sum(row.state == state for row in model.rows)
        for state in ("completed", "expired", "cancelled")
    }
    for row in model.rows:
        if row.unique is not None and row.is_open and row.newer is None:
            holder = ours.holder_of(row.unique)
            assert holder is not None
            assert holder.number == row.number
        if row.key is not None:
            assert ours.number_of(row.key) == (row.number if row in open_rows else None)
    assert {name: (h.seen_seq, h.seen_at, h.ttl_us) for name, h in ours.holders.items()} == {
        name: model.signs[name] for name in {row.worker for row in model.leased()} if name
    }
    for name in ("anna", "bert", "cleo"):
        assert ours.leases_of(name) == {row.number for row in model.leased(name)}
