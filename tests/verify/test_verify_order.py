"""The verifier's own order of dispatch: what it forgets, and that it forgets nothing else."""

from __future__ import annotations

from eventq.core.events import Policy
from eventq.verify.order import STALE_ENTRIES, Order, Seen

PLAIN = Policy("linear", 10)


def pending(number: int, *, priority: int = 0, scheduled_at: int = 0) -> Seen:
    """A task that waits."""
    return Seen(number, 0, None, priority, b"{}", PLAIN, scheduled_at, None)


def test_entries_of_tasks_that_are_gone_are_given_back() -> None:
    """Else a log in which many tasks are cancelled would take memory for all of them."""
    tasks: dict[int, Seen] = {}
    order = Order(tasks)
    for number in range(1, 2 * STALE_ENTRIES):
        tasks[number] = pending(number, scheduled_at=number % 2 * 5)
        order.add(tasks[number], 0)
    tasks[2].priority = 3
    order.add(tasks[2], 0)
    for number in [number for number in tasks if number not in {1, 2, 4}]:
        del tasks[number]

    order.tidy()

    assert (len(order._ready), len(order._waiting)) == (2, 1)
    assert [order.first(0), order.first(5)] == [2, 2]
    del tasks[2]
    assert order.first(5) == 4
    del tasks[4]
    assert order.first(5) == 1


def test_few_stale_entries_are_left_alone() -> None:
    """Giving back costs a pass over all, so it must not come often."""
    tasks = {1: pending(1)}
    order = Order(tasks)
    for _ in range(STALE_ENTRIES // 2):
        order.add(tasks[1], 0)

    order.tidy()

    assert len(order._ready) == STALE_ENTRIES // 2
    assert order.first(0) == 1
