"""Deciding about new tasks: what is drafted, what may never run, and what a key means."""

from __future__ import annotations

import pytest
from msgspec import Raw

from eventq.core.command import NEW
from eventq.core.create import NewTask
from eventq.core.events import Created
from eventq.core.settle import Outcome
from eventq.core.task import Route
from eventq.core.values import Policy
from eventq.errors import ArgumentError, KeyConflictError
from tests import deciding as decide
from tests.core.bench import AGING, PLAIN, Bench, order
from tests.driver import existing_of, record


def test_create_drafts_what_was_ordered() -> None:
    """All of an order stands in the event; a delay becomes an instant."""
    wanted = NewTask(b'{"a":"1"}', AGING, 3, "k", delay_us=7)

    drafts, places = decide.create([wanted], {}, now=100)

    assert drafts == [(NEW, Created(AGING, "k", 3, Raw(b'{"a":"1"}'), 107, 150))]
    assert places == [-1]


def test_create_drafts_name_lane_and_needs() -> None:
    """What says who may run the task stands in the event."""
    drafts, _ = decide.create([order(route=Route("a", "b", ("c",)))], {}, now=100)

    assert drafts == [(NEW, Created(PLAIN, name="a", lane="b", needs=("c",)))]


def test_create_leaves_out_what_was_not_said() -> None:
    """A plain task has no instant of its own and never expires; a delay of zero is none."""
    drafts, _ = decide.create([order(), order(delay_us=0)], {}, now=100)

    assert [body for _, body in drafts] == [Created(PLAIN), Created(PLAIN)]


def test_create_places_point_into_the_drafts() -> None:
    """Each order learns where its task is, twins share a place."""
    wanted = [order(), order(key="k"), order(), order(key="k")]

    drafts, places = decide.create(wanted, {}, now=100)

    assert len(drafts) == 3
    assert places == [-1, -2, -3, -2]


def test_own_expiry_beats_max_age() -> None:
    """An instant given for the task counts, not the queue's age."""
    drafts, _ = decide.create([order(policy=AGING, expires_at=500)], {}, now=100)

    assert drafts == [(NEW, Created(AGING, expires_at=500))]


@pytest.mark.parametrize(
    "options, argument",
    [
        ({"expires_at": 100}, "expires_at"),
        ({"expires_at": 99}, "expires_at"),
        ({"expires_at": 120, "scheduled_at": 120}, "expires_at"),
        ({"expires_at": 120, "delay_us": 20}, "expires_at"),
        ({"expires_at": 70, "scheduled_at": 50}, "expires_at"),
        ({"policy": AGING, "delay_us": 50}, "max_age"),
        ({"policy": Policy("linear", 1, max_age_us=0)}, "max_age"),
    ],
)
def test_a_task_that_could_never_run_is_refused(options: dict[str, object], argument: str) -> None:
    """The error names the argument that makes it impossible."""
    with pytest.raises(ArgumentError) as caught:
        decide.create([order(), order(**options)], {}, now=100)  # type: ignore[arg-type]

    assert caught.value.argument == argument


@pytest.mark.parametrize("options", [{"expires_at": 101}, {"expires_at": 101, "scheduled_at": 9}])
def test_a_task_that_can_just_run_is_taken(options: dict[str, object]) -> None:
    """One microsecond is enough."""
    drafts, _ = decide.create([order(**options)], {}, now=100)  # type: ignore[arg-type]

    assert len(drafts) == 1


SAME = NewTask(b'{"a":1,"b":2}', AGING, 3, "k", delay_us=7)


@pytest.mark.parametrize(
    "again",
    [
        SAME,
        NewTask(b'{"b":2,"a":1}', AGING, 3, "k", delay_us=7),
        NewTask(b'{ "a": 1, "b": 2 }', AGING, 3, "k", delay_us=7),
        NewTask(b'{"a":1,"b":2}', AGING, 3, "k", scheduled_at=107),
        NewTask(b'{"a":1,"b":2}', PLAIN, 3, "k", delay_us=7),
        NewTask(b'{"a":1,"b":2}', AGING, 3, "k", delay_us=7, expires_at=150),
    ],
)
def test_same_key_same_content_is_the_same_task(bench: Bench, again: NewTask) -> None:
    """A call that comes twice makes one task, whenever it comes and however tags are written."""
    [number] = bench.have(SAME)

    drafts, places = decide.create([again], existing_of(bench.log, ["k"]), now=900)

    assert drafts == []
    assert places == [number]


@pytest.mark.parametrize(
    "other, differs",
    [
        (NewTask(b'{"a":1,"b":3}', AGING, 3, "k", delay_us=7), "tags"),
        (NewTask(b'{"a":1}', AGING, 3, "k", delay_us=7), "tags"),
        (NewTask(b'{"a":1,"b":2}', AGING, 4, "k", delay_us=7), "priority"),
        (NewTask(b'{"a":1,"b":2}', AGING, 3, "k", delay_us=8), "scheduled_at"),
        (NewTask(b'{"a":1,"b":2}', AGING, 3, "k"), "scheduled_at"),
        (NewTask(b'{"a":1,"b":2}', AGING, 3, "k", delay_us=7, expires_at=151), "expires_at"),
        (NewTask(b'{"a":1,"b":2}', AGING, 3, "k", delay_us=7, route=Route("x")), "name"),
        (NewTask(b'{"a":1,"b":2}', AGING, 3, "k", delay_us=7, route=Route(None, "x")), "lane"),
    ],
)
def test_same_key_other_content_is_an_error(bench: Bench, other: NewTask, differs: str) -> None:
    """The error names the key, the task that has it, and what differs."""
    [number] = bench.have(SAME)

    with pytest.raises(KeyConflictError) as caught:
        decide.create([order(), other], existing_of(bench.log, ["k"]), now=120)

    assert (caught.value.key, caught.value.task, caught.value.differs) == ("k", number, differs)


def test_twins_of_one_call_must_be_the_same() -> None:
    """One batch cannot give a key two contents."""
    with pytest.raises(KeyConflictError, match="another task of the same call"):
        decide.create([order(key="k"), order(1, key="k")], {}, now=100)


def test_key_of_a_final_task_stays_taken(bench: Bench) -> None:
    """A key is one task for ever."""
    [number] = bench.have(order(key="k"))
    [fence] = bench.lease()
    done = decide.settle(
        bench.projection, [Outcome(number, fence, "completed")], worker="n", now=101
    )
    record(bench.log, bench.projection, done, now=101)

    drafts, places = decide.create([order(key="k")], existing_of(bench.log, ["k"]), now=200)

    assert (drafts, places) == ([], [number])
