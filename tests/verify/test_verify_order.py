"""The verifier's own order of dispatch: what it forgets, and that it forgets nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from eventq.core.audience import Audience
from eventq.core.command import NEW, Draft
from eventq.core.durations import SECOND_US
from eventq.core.events import Created, Leased, Released
from eventq.core.projection import Projection
from eventq.core.queue_events import Paused, Shared
from eventq.core.task import Route
from eventq.core.values import NODE, Policy, Scope
from eventq.verify import verify
from eventq.verify.fitting import fits
from eventq.verify.order import RANKINGS_KEPT, STALE_ENTRIES, Order
from eventq.verify.seen import Choice, Entry, Seen
from tests.driver import memory_log, record

PLAIN = Policy("linear", 10)
ALL = [Choice()]


def pending(number: int, *, priority: int = 0, scheduled_at: int = 0, **more: Any) -> Seen:  # noqa: ANN401 - fields of Seen
    """A task that waits."""
    return Seen(number, 0, None, priority, b"{}", PLAIN, scheduled_at, None, **more)


def ready(order: Order) -> list[Entry]:
    """The entries of what has no name."""
    return order._rankings[ALL[0]].ready


def test_entries_of_tasks_that_are_gone_are_given_back() -> None:
    """Else a log in which many tasks are cancelled would take memory for all of them."""
    tasks: dict[int, Seen] = {}
    order = Order(tasks)
    assert order.first(0, ALL) is None
    for number in range(1, 4 * STALE_ENTRIES):
        tasks[number] = pending(number, scheduled_at=number % 2 * 5)
        order.add(tasks[number], 0)
    tasks[2].priority = 3
    order.add(tasks[2], 0)
    for number in [number for number in tasks if number not in {1, 2, 4}]:
        del tasks[number]

    order.tidy()

    assert (len(ready(order)), len(order._waiting)) == (2, 1)
    assert [order.first(0, ALL), order.first(5, ALL)] == [2, 2]
    del tasks[2]
    assert order.first(5, ALL) == 4
    del tasks[4]
    assert order.first(5, ALL) == 1


def test_few_stale_entries_are_left_alone() -> None:
    """Giving back costs a pass over all, so it must not come often."""
    tasks = {1: pending(1)}
    order = Order(tasks)
    assert order.first(0, ALL) is None
    for _ in range(STALE_ENTRIES // 2):
        order.add(tasks[1], 0)

    order.tidy()

    assert len(ready(order)) == STALE_ENTRIES // 2
    assert order.first(0, ALL) == 1


def test_each_choice_has_a_first_of_its_own() -> None:
    """Asked for late or early, the first among several is the first of their firsts."""
    chosen = Choice(("a",), unnamed=False), Choice((), unnamed=True, lane="heavy")
    tasks: dict[int, Seen] = {}
    order = Order(tasks)
    assert order.first(0, chosen) is None
    kinds: list[dict[str, Any]] = [{"name": "a"}, {"lane": "heavy"}, {}, {"needs": ("x",)}]
    for number in range(1, 9):
        tasks[number] = pending(number, priority=number, **kinds[number % 4])
        order.add(tasks[number], 0)

    assert [order.first(0, [choice]) for choice in chosen] == [8, 5]
    assert order.first(0, chosen) == 8
    assert order.first(0, [Choice(("*",), unnamed=False)]) == 8
    assert order.first(0, ALL) == 6
    del tasks[8]
    assert order.first(0, chosen) == 5


def test_rankings_are_given_up_when_there_are_many() -> None:
    """A log of many kinds of nodes must not take memory for each."""
    tasks = {1: pending(1)}
    order = Order(tasks)
    order.add(tasks[1], 0)
    for number in range(RANKINGS_KEPT + 1):
        order.first(0, [Choice((f"n{number}",))])

    order.tidy()

    assert not order._rankings
    assert order.first(0, ALL) == 1


@pytest.mark.parametrize("pattern", ["*", "a", "a*", "*a", "a*b", "a*b*c", "*b*", "a**b", "ab*ba"])
@pytest.mark.parametrize("name", ["a", "ab", "aba", "abba", "a.b", "abc", "axbxc", "b", "ba"])
def test_patterns_mean_what_they_mean_to_a_node(pattern: str, name: str) -> None:
    """Two pieces of code, one meaning."""
    assert fits(name, pattern) == Audience((pattern,), unnamed=False).accepts(Route(name))


def test_a_pause_that_has_ended_is_over_also_where_time_goes_back() -> None:
    """One stamp far ahead ends it for nodes, and so it does here."""
    log, ahead_us = memory_log(), 3_600 * SECOND_US
    projection = Projection(log.namespace)
    scope = Scope(tags=(("big", "1"),))

    def say(*drafts: Draft, now: int) -> None:
        record(log, projection, list(drafts), now=now)

    say((NEW, Created(PLAIN, tags=Raw(b'{"big":1}'))), now=10)
    say((NEW, Created(PLAIN)), now=10)
    say((NODE, Paused(scope=scope, until=20 * SECOND_US)), now=10)
    # The paused one is put aside here.
    say((2, Leased(1, "n", 30)), now=11)
    say((NEW, Created(PLAIN)), now=ahead_us)
    say((1, Leased(1, "n", 30, decided_at=SECOND_US)), now=ahead_us)

    assert verify(log, limit=9).findings == ()


def test_what_was_due_is_so_again_after_time_has_gone_back() -> None:
    """Also where turns are set just then."""
    log, ahead_us = memory_log(), 3_600 * SECOND_US
    projection = Projection(log.namespace)

    def say(*drafts: Draft, now: int) -> None:
        record(log, projection, list(drafts), now=now)

    say((NEW, Created(PLAIN, scheduled_at=ahead_us - 1)), now=10)
    say((NEW, Created(PLAIN, priority=1)), now=ahead_us)
    say((2, Leased(1, "n", 30)), now=ahead_us)
    say((NODE, Shared(per="big", decided_at=12)), now=ahead_us)
    say((NEW, Created(PLAIN)), now=ahead_us)
    say((1, Leased(1, "n", 30)), now=ahead_us)

    assert verify(log, limit=9).findings == ()


def test_what_becomes_due_after_time_has_gone_back_is_not_lost() -> None:
    """It was told of before anybody asked for the order at the earlier time."""
    log, ahead_us = memory_log(), 3_600 * SECOND_US
    projection = Projection(log.namespace)

    def say(*drafts: Draft, now: int) -> None:
        record(log, projection, list(drafts), now=now)

    say((NEW, Created(PLAIN)), now=ahead_us)
    say((1, Leased(1, "n", 30)), now=ahead_us)
    say((1, Released(2, scheduled_at=20, decided_at=10)), now=ahead_us)
    say((1, Leased(1, "n", 30, decided_at=30)), now=ahead_us)

    assert verify(log, limit=9).findings == ()
