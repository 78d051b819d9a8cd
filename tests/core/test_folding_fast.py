"""What the fold does in a quicker way than the rest, against the plain way."""

from __future__ import annotations

import random
from bisect import insort

import pytest
from msgspec.structs import fields, replace

from eventq.core.events import Leased
from eventq.core.moves import lease
from eventq.core.ranks import Rank, Ranks
from eventq.core.task import Rarity, Route, Task, TaskState
from eventq.core.values import ErrorInfo
from eventq.errors import LogCorruptError
from tests.core.bench import PLAIN

PENDING = Task(
    number=3,
    namespace="n",
    caller_key="key",
    priority=7,
    tags_json=b'{"a":1}',
    policy=PLAIN,
    created_at_us=10,
    scheduled_at_us=20,
    expires_at_us=900,
    seen_at_us=30,
    attempt=1,
    retry_count=2,
    fence=40,
    worker="before",
    last_error=ErrorInfo("E"),
    route=Route("name", "lane"),
    started_at_us=25,
    rarity=Rarity(lapses=2),
)


def test_a_lease_changes_its_own_fields_and_no_others() -> None:
    """Also of a task whose fields all differ from what a new task has."""
    plain = [f.name for f in fields(Task) if getattr(PENDING, f.name) == f.default]

    leased = lease(PENDING, 50, 60, Leased(2, "node", 30))

    # What is left is what every pending task has.
    assert plain == ["recorded_state", "ending"]
    assert leased == replace(
        PENDING,
        recorded_state=TaskState.LEASED,
        attempt=2,
        fence=50,
        worker="node",
        seen_at_us=60,
        started_at_us=60,
    )


def test_a_leased_task_is_not_leased_again() -> None:
    """The quicker way refuses what the table of moves refuses."""
    leased = lease(PENDING, 50, 60, Leased(2, "node", 30))

    with pytest.raises(LogCorruptError, match="no legal move"):
        lease(leased, 51, 61, Leased(3, "other", 30))


@pytest.mark.parametrize("seed", range(20))
def test_the_beginning_of_a_sorted_list_goes_at_once(seed: int) -> None:
    """What is left is a sorted list like any other, whatever is added, removed and dropped."""
    chance = random.Random(seed)
    plain = [(0, 0, number) for number in range(chance.choice([0, 1, 999, 1_000, 1_001, 5_000]))]
    ready = Ranks(reversed(plain))
    for _ in range(40):
        count = chance.choice([0, 1, 7, 500, 999, 1_000, 1_001, 2_500, len(plain)])
        ready.drop_first(count)
        del plain[:count]
        more = [(0, chance.randrange(3), chance.randrange(10**6)) for _ in range(600)]
        for place in more:
            ready.add(place)
        plain = sorted([*plain, *more])
        gone = plain.pop(chance.randrange(len(plain)))
        ready.remove(gone)

        assert list(ready) == plain
        assert [ready[index] for index in (0, len(plain) // 2, -1)] == [
            plain[index] for index in (0, len(plain) // 2, -1)
        ]
        assert len(ready) == len(plain)


@pytest.mark.parametrize("seed", range(10))
def test_a_short_list_is_sorted_whatever_comes_and_goes(seed: int) -> None:
    """Down to nothing and up to more than one piece; what is not in it is not removed."""
    chance, plain = random.Random(seed), list[Rank]()
    ready = Ranks()
    for most in (3, 0, 1_100, 2, 0, 2_500, 900, 0):
        while len(plain) != most:
            value = (0, 0, chance.randrange(10**6))
            if len(plain) < most:
                ready.add(value)
                insort(plain, value)
            else:
                ready.remove(plain.pop(chance.randrange(len(plain))))
        with pytest.raises(ValueError, match="not in list"):
            ready.remove((0, 0, -1))

        ready._check()  # type: ignore[attr-defined]
        assert list(ready) == plain
        assert all(ready.begin_with(plain[:count]) for count in (0, 1, 950, most))
        assert not ready.begin_with([*plain, (9, 0, 0)])
