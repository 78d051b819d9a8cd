"""Many tasks at once: what a plan previews, and that it changes just that, once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from eventq import ArgumentError, LogCorruptError, Queue
from eventq.catalog.plan import Plan
from eventq.catalog.selector import SelectorOptions
from eventq.core.bulk import BeginBulk, ChangePortion
from eventq.core.command import Draft
from eventq.core.commits import encode_bodies
from eventq.core.events import Cancelled
from eventq.core.queue_events import Bulk, BulkEnded
from eventq.core.values import NODE
from eventq.eventlog.contract import Head
from eventq.node.commit_plan import CommitPlan
from eventq.verify import verify
from tests.catalog.many import FAILED
from tests.support import ManualClock, node_of


def kinds(queue: Queue, after: int) -> list[str]:
    """The kinds of the events behind a position."""
    return [event.kind for event in queue.events(after=after)]


def test_a_plan_changes_nothing(queue: Queue) -> None:
    """It says how many tasks it is about, which, and as of when."""
    head = queue.log.head().seq
    plan = queue.select(**FAILED).retry()

    assert (plan.count, plan.position, plan.left_out, plan.source) == (3, head, 0, "log")
    assert [record.number for record in plan.sample(2)] == [1, 3]
    assert queue.log.head().seq == head


def test_a_plan_is_applied_once(queue: Queue) -> None:
    """All of it, with who and why; applied again, it changes nothing more."""
    plan = queue.select(**FAILED).retry()
    done = plan.apply(by="ada", reason="DNS is back", via="console")
    again = plan.apply(by="bob")

    assert (done.changed, done.moved_on, again) == (3, [], done)
    assert kinds(queue, plan.position) == ["bulk", *["retried"] * 3, "bulk_ended"]
    body: Any = queue.history("1")[-1].body
    assert (body.by, body.reason, body.via, body.bulk) == ("ada", "DNS is back", "console", done.id)
    assert queue.stats().expired == 0


def test_what_has_moved_on_is_left_alone(queue: Queue) -> None:
    """It is listed with why; all others are changed."""
    plan = queue.select(**FAILED).retry()
    queue.retry("3")
    queue.cancel("3")
    done = plan.apply()

    assert done.changed == 2
    assert [(each.number, each.why) for each in done.moved_on] == [
        (3, f"it is cancelled since event {queue.history('3')[-1].seq}")
    ]


def test_what_an_action_does_nothing_to_is_left_out(queue: Queue) -> None:
    """The count is that of tasks which it changes."""
    everything: SelectorOptions = {"created_after": "-1d"}

    assert [
        (plan.count, plan.left_out)
        for plan in (
            queue.select(**everything).retry(),
            queue.select(**everything).cancel(),
            queue.select(**everything).update(priority=3),
        )
    ] == [(4, 4), (2, 6), (2, 6)]


def test_no_selector_at_all_is_an_error(queue: Queue) -> None:
    """Nobody means all tasks by saying nothing."""
    with pytest.raises(ArgumentError, match="at least one condition"):
        queue.select().cancel()


def test_a_rate_spreads_what_is_retried(queue: Queue, clock: ManualClock) -> None:
    """The n-th task comes n intervals later."""
    clock.advance(1)
    queue.select(**FAILED).retry(rate="2/1m").apply()

    tasks = [queue.get(key) for key in ("1", "3", "5")]
    assert [task.scheduled_at_us - clock.us for task in tasks if task] == [0, 30e6, 60e6]


@pytest.mark.parametrize("age_s, changed", [(60, 1), (61, 2)])
def test_a_rate_moves_no_task_past_its_expiry(queue: Queue, age_s: int, changed: int) -> None:
    """Whose turn would come too late stays as it is, and the change says why."""
    first = queue.new({"late": 1}, delay="5s", max_age=age_s)
    second = queue.new({"late": 1}, delay="5s", max_age=age_s)
    done = queue.select(tags={"late": 1}).retry(rate="1/1m").apply()

    late = f"cannot retry task '{second.key}': it is to expire before its turn comes"
    assert done.changed == changed
    assert [each.why for each in done.moved_on] == [late] * (2 - changed)
    assert kinds(queue, second.number).count("updated") == changed
    assert queue.get(first.key) in queue.tasks(state="ready")
    assert verify(queue.log).ok


def test_a_rate_leaves_what_comes_at_its_turn_already(queue: Queue, clock: ManualClock) -> None:
    """No event says that nothing has changed."""
    tasks = [queue.new({"paced": 1}, delay="5s") for _ in range(2)]
    clock.advance(1)
    done = queue.select(tags={"paced": 1}).retry(rate="15/1m").apply()

    assert done.changed == 1
    assert [each.number for each in done.moved_on] == [tasks[1].number]
    assert [len(queue.history(task.key)) for task in tasks] == [2, 1]


def test_a_change_that_is_over_changes_nothing_more(queue: Queue, clock: ManualClock) -> None:
    """Not what fits by now, either: applied again, or by whoever was late to finish it."""
    plan = queue.select(**FAILED).retry(rate="1/31m")
    done = plan.apply()
    head = queue.log.head()
    # Two intervals are longer than their max_age; what is left of them is not, by then.
    clock.advance(600)
    late = ChangePortion(done.id, plan._wanted, tuple(plan._found.pairs[2:]), 2)
    found = node_of(queue).execute(late).result

    assert (done.changed, [each.number for each in done.moved_on]) == (2, [5])
    assert [(each.number, each.why) for each in found.moved_on] == [(5, "the change is over")]
    for again in (plan.apply(), queue.finish_bulk(done.id)):
        assert (again.changed, [each.number for each in again.moved_on]) == (2, [5])
    assert queue.log.head() == head


def test_who_ends_a_change_counts_what_others_have_changed(queue: Queue) -> None:
    """One node found that a task did not fit; for another, later, it did."""
    unique = queue.new({"n": 1}, unique="one")
    queue.cancel(unique.key)
    other = queue.new({"n": 2}, unique="one")
    plan = queue.select(number=unique.number).retry()

    def others_go_on(_done: int, _count: int) -> None:
        queue.cancel(other.key)
        assert plan.id is not None
        queue.finish_bulk(plan.id)

    done = plan.apply(progress=others_go_on)

    assert (done.changed, done.moved_on) == (1, [])
    assert kinds(queue, plan.position) == ["bulk", "cancelled", "retried", "bulk_ended"]


def test_what_ends_a_change_shares_no_commit_with_a_part_of_it() -> None:
    """Neither knows of the other: one that is told of another change may share it."""
    part: list[Draft] = [(1, Cancelled(bulk=7))]
    end: list[Draft] = [(NODE, BulkEnded(1, bulk=7))]
    other: list[Draft] = [(NODE, BulkEnded(1, bulk=8))]
    plan = CommitPlan(Head(0, 0, bytes(32)), 100)

    firsts = [
        plan.add(drafts, encode_bodies([body for _, body in drafts]))
        for drafts in (part, end, other, end, other)
    ]

    assert firsts == [1, None, 2, None, None]


def test_many_are_cancelled_and_updated(queue: Queue) -> None:
    """By the same rules as one."""
    queue.select(name="*").update(priority=7, delay="2h").apply()
    updated = queue.tasks(state=["scheduled", "ready"])
    done = queue.select(name="*").cancel().apply(reason="not needed")

    assert [(task.priority, task.state) for task in updated] == [(7, "scheduled")] * 2
    assert done.changed == 2
    assert [task.final_reason for task in queue.tasks(state="cancelled")] == ["not needed"] * 2


def test_a_change_that_broke_off_is_finished_from_the_log(queue: Queue) -> None:
    """By its event alone, whoever does it; what was done is not done again."""
    plan = queue.select(**FAILED).retry()
    node, wanted = node_of(queue), plan_body(plan)
    begun = node.execute(BeginBulk(wanted))
    node.execute(ChangePortion(begun.first, wanted, ((1, queue.history("1")[-1].seq),)))
    [before] = queue.bulks()
    done = queue.finish_bulk(begun.first)
    [after] = queue.bulks()

    assert (before.is_finished, before.changed) == (False, 1)
    assert (after.is_finished, after.changed, done.changed) == (True, 3, 3)
    assert [e.kind for e in queue.history("1")].count("retried") == 1


def test_only_a_changes_own_events_count(queue: Queue) -> None:
    """Not those of tasks whose tags hold its number, nor those of a number that begins like it."""
    begun = node_of(queue).execute(BeginBulk(plan_body(queue.select(**FAILED).retry())))
    queue.new_many([{"bulk": begun.first}, {"bulk": 10 * begun.first}])

    assert [each.changed for each in queue.bulks()] == [0]


def test_a_change_is_not_finished_on_other_tasks(queue: Queue) -> None:
    """Its digest tells that others are found than it was about."""
    plan = queue.select(**FAILED).retry()
    wanted = plan_body(plan, digest="ab")
    begun = node_of(queue).execute(BeginBulk(wanted))

    with pytest.raises(LogCorruptError, match="about other tasks"):
        queue.finish_bulk(begun.first)
    with pytest.raises(ArgumentError, match="the number of a change"):
        queue.finish_bulk(1)


def test_the_same_for_asyncio(queue: Queue) -> None:
    """Plans are made and applied in threads."""

    async def change() -> tuple[int, int, int]:
        plan = await queue.aio.select(**FAILED).retry()
        done = await plan.apply(by="ada")
        undone = await (await queue.aio.undo(done.id)).apply()
        return plan.plan.count, done.changed, undone.changed

    assert asyncio.run(change()) == (3, 3, 3)


def plan_body(plan: Plan, **others: Any) -> Bulk:  # noqa: ANN401 - fields of Bulk
    """What a plan would say in the log."""
    return replace(plan._wanted, **others)
