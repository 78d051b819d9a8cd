"""Tasks with a unique value that attempts make, repeat, or that a run at rest leases at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import ArgumentError, Context, NotAllowedError, Queue, Task
from eventq.core.create_tasks import creating
from eventq.core.new_task import make_order
from eventq.core.options import make_policy
from eventq.handlers.children import MOST_CHILDREN
from eventq.node.node import Node
from eventq.verify import verify
from tests.checker import check_log
from tests.support import HookedLog, ManualClock, final, kinds

TTL_US = 30_000_000


@pytest.fixture
def queue() -> Iterator[Queue]:
    """An empty queue in memory, whose log holds what must always hold."""
    with Queue("memory://", max_retries=0, workers=2) as opened:
        yield opened
        check_log(opened.log)
        assert verify(opened.log).ok


def test_a_handler_makes_its_successor_once(queue: Queue) -> None:
    """A chain of tasks of one value, of which a producer's call meets the open one."""
    seen: list[int] = []

    @queue.task("count", unique=True, on_duplicate="raise")
    def count(ctx: Context, upto: int) -> None:
        seen.append(ctx.task.number)
        assert queue.get(ctx.task.key) is not None
        if len(seen) < upto:
            ctx.new(count, upto)

    count.new(3)
    queue.run(until="idle")

    assert len(seen) == 3
    assert queue.stats().completed == 3


def test_many_attempts_leave_one_task_behind(queue: Queue) -> None:
    """The usual wish: whatever changed, build the index once."""

    def work(ctx: Context, task: Task) -> None:
        if task.tags:
            ctx.new(task.tags, unique="index", delay="1d", on_duplicate="replace")

    for n in range(5):
        queue.new({"n": n + 1})
    queue.run(work, until="idle")

    [waiting] = [task for task in queue.tasks() if task.unique]
    assert waiting.state == "scheduled"
    assert queue.stats().completed == 5


def test_a_duplicate_names_the_holder_in_the_tasks_error(queue: Queue) -> None:
    """The attempt fails for good."""
    queue.new(unique="v", key="holder", delay="1d")

    def work(ctx: Context, _: Task) -> None:
        ctx.new(unique="v", on_duplicate="raise")

    task = queue.new()
    queue.run(work, until="idle")

    ended = final(queue, task.key)
    assert ended.final_reason == "fatal"
    assert ended.last_error is not None
    assert ended.last_error.type == "eventq.DuplicateTaskError"
    assert "task 'holder' is open" in ended.last_error.message


def test_an_attempt_may_ask_for_half_as_many(queue: Queue) -> None:
    """Each may need the end of a holder beside it in the commit."""
    problems: list[str] = []

    def work(ctx: Context, _: Task) -> None:
        try:
            for n in range(MOST_CHILDREN):
                ctx.new(unique=f"v{n}", delay="1d")
        except ArgumentError as error:
            problems.append(str(error))

    task = queue.new()
    queue.run(work, until="idle")

    assert len(problems) == 1
    assert kinds(queue, task.key) == ["created", "leased", "completed"]
    assert queue.stats().scheduled == MOST_CHILDREN // 2


def test_repeating_onto_a_taken_value_names_the_holder(queue: Queue) -> None:
    """Once that has ended, the copy has the value."""
    first = queue.new({"n": 1}, unique="v")
    queue.cancel(first.key)
    holder = queue.new(unique="v", key="holder")

    with pytest.raises(NotAllowedError, match="cannot repeat task '1': it is cancelled") as caught:
        queue.repeat(first.key)

    assert caught.value.holder == "holder"
    queue.cancel(holder.key)
    copy = queue.repeat(first.key)
    assert (copy.unique, copy.tags) == ("v", {"n": 1})
    assert queue.new(unique="v").number == copy.number


def test_a_run_at_rest_is_given_a_unique_task_as_any_other() -> None:
    """In the commit that creates it; the next call meets it while it runs."""
    log = HookedLog()
    node = Node(log, clock=ManualClock())
    with node.reading():
        node.standby.ttl_us = TTL_US
    order = make_order({}, make_policy(), {"unique": "v", "on_duplicate": "replace"})

    node.execute(creating([order]))
    with node.reading() as projection:
        leased = [task.number for task in node.standby.take(projection)]
        node.standby.ttl_us = TTL_US
    again = node.execute(creating([order]))

    assert leased == [1]
    assert [len(commit.bodies) for commit in log.read(after=0)] == [2]
    assert again.events == []
    [holder] = again.result
    assert isinstance(holder, Task)
    assert (holder.number, holder.state) == (1, "leased")
    check_log(log)


def test_what_ends_a_late_holder_is_not_leased_beside() -> None:
    """Two events are no lone creation: the run leases by itself."""
    log = HookedLog()
    clock = ManualClock()
    node = Node(log, clock=clock)
    order = make_order({}, make_policy(), {"unique": "v", "max_age": "1h", "delay": "1m"})
    node.execute(creating([order]))
    with node.reading():
        node.standby.ttl_us = TTL_US
    clock.advance(7_200)

    node.execute(creating([make_order({}, make_policy(), {"unique": "v"})]))

    assert [commit.tasks for commit in log.read(after=0)] == [[1], [1, 3]]
    check_log(log)
