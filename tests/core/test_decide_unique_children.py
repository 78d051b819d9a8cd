"""Unique values of tasks that attempts make: who holds one, within one commit and before it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET, Raw

from eventq.core.command import NEW, Draft
from eventq.core.commits import Event
from eventq.core.create import NewTask
from eventq.core.events import Completed, Created, Expired, Failed, Updated
from eventq.core.places import Vacancy
from eventq.core.settle import Outcome, SettleAndLease
from tests import deciding as decide
from tests.checker import check_log
from tests.core.bench import AGING, ERROR, TTL, Bench, order
from tests.driver import record


def twin(on_duplicate: str = "return", n: int = 0, **options: Any) -> NewTask:  # noqa: ANN401
    """An order with the value that all of these tests are about."""
    tags = b'{"n":%d}' % n
    return order(unique="v", on_duplicate=on_duplicate, tags_json=tags, **options)


def settled(bench: Bench, *outcomes: Outcome, now: int = 100) -> list[Draft]:
    """What the ends of attempts record; the log that they lead to is a good one."""
    drafts = decide.settle(bench.projection, list(outcomes), worker="n", now=now)
    record(bench.log, bench.projection, drafts, now=now)
    bench.projection.check()
    check_log(bench.log)
    return drafts


def kinds(drafts: list[Draft]) -> list[tuple[int, str]]:
    """Whom each draft is about, and its kind."""
    return [(number, body.kind) for number, body in drafts]


def working(bench: Bench, *others: NewTask, count: int = 1) -> list[int]:
    """Tasks of some other value than the test's are leased, and then there are others."""
    bench.have(*[order(9) for _ in range(count)])
    fences = bench.lease(count=count)
    bench.have(*others)
    return fences


def completed(number: int, fence: int, *children: NewTask) -> Outcome:
    """An attempt's end that makes these."""
    return Outcome(number, fence, "completed", children=children)


def test_while_a_task_holds_the_value_none_is_made(bench: Bench) -> None:
    """The completion says so; other children come all the same."""
    [fence] = working(bench, twin())

    drafts = settled(bench, completed(1, fence, twin(n=2), order()))

    assert kinds(drafts) == [(1, "completed"), (NEW, "created")]
    assert drafts[0] == (1, Completed(fence, made=1))


def test_a_pending_holder_is_replaced_in_front_of_the_completion(bench: Bench) -> None:
    """So that behind it there is only what was made."""
    [fence] = working(bench, twin(scheduled_at=500))

    drafts = settled(bench, completed(1, fence, twin("replace", 2, scheduled_at=700), order()))

    assert drafts[0] == (3, Updated(tags=Raw(b'{"n":2}'), scheduled_at=700))
    assert kinds(drafts) == [(3, "updated"), (1, "completed"), (NEW, "created")]


def test_nothing_is_leased_beside_a_replacement(bench: Bench) -> None:
    """A lease of the holder would come first, and what is leased may not be changed."""
    [fence] = working(bench, twin(), order())

    def decided(child: NewTask) -> list[tuple[int, str]]:
        command = SettleAndLease("n", [completed(1, fence, child)], TTL, Vacancy(5))
        return kinds(command.decide(bench.projection, decide.NOTHING, 100).events)

    assert decided(twin("replace", 2)) == [(3, "updated"), (1, "completed")]
    assert decided(twin("replace")) == [(3, "leased"), (4, "leased"), (1, "completed")]


def test_a_holder_past_its_expiry_ends_first(bench: Bench) -> None:
    """Nothing is leased or expired beside that, and a new task is made."""
    [fence] = working(bench, twin(policy=AGING))

    command = SettleAndLease("n", [completed(1, fence, twin())], TTL, Vacancy(5))
    decided = command.decide(bench.projection, decide.NOTHING, 200).events
    drafts = settled(bench, completed(1, fence, twin("raise")), now=200)

    assert kinds(drafts) == kinds(decided) == [(3, "expired"), (1, "completed"), (NEW, "created")]


def test_a_duplicate_fails_the_attempt_for_good(bench: Bench) -> None:
    """None of its children is made, also none of those before; nobody else's holder changes."""
    one, two = working(bench, twin(scheduled_at=500), count=2)

    drafts = settled(
        bench,
        completed(1, one, order(unique="w"), twin("replace", 2), twin("raise")),
        completed(2, two, order(unique="w", on_duplicate="raise")),
    )

    assert kinds(drafts) == [(1, "failed"), (1, "expired"), (2, "completed"), (NEW, "created")]
    failed = drafts[0][1]
    assert isinstance(failed, Failed)
    assert failed.error.type == "eventq.DuplicateTaskError"
    assert failed.error.message == "task '5' is open and has the unique value 'v'"
    assert drafts[1][1] == Expired("fatal")


def test_such_a_failure_is_found_again(bench: Bench) -> None:
    """After an append of unknown fate it is no late outcome."""
    [fence] = working(bench, twin())
    outcome = completed(1, fence, twin("raise"))
    drafts = settled(bench, outcome)
    past = decide.KnownPast(history=[Event(4, 100, 1, drafts[0][1])])

    again = decide.settle(bench.projection, [outcome], worker="n", now=100, past=past)

    assert again == []


def test_of_children_that_one_commit_makes_only_one_has_the_value(bench: Bench) -> None:
    """The next ones are that one, whoever's they are; the last replaces what it is made of."""
    one, two = working(bench, count=2)

    drafts = settled(
        bench,
        completed(1, one, order(), twin(n=1), twin(n=2)),
        completed(2, two, twin(n=3), twin("replace", 4, delay_us=50)),
    )

    assert kinds(drafts) == [(1, "completed"), (NEW, "created"), (NEW, "created"), (2, "completed")]
    made = drafts[2][1]
    assert isinstance(made, Created)
    assert (bytes(made.tags), made.scheduled_at) == (b'{"n":4}', 150)


def test_an_attempt_may_replace_what_it_has_asked_for(bench: Bench) -> None:
    """One task is made, as the last word says."""
    [fence] = working(bench)

    drafts = settled(bench, completed(1, fence, twin(n=1), twin("replace", 2)))

    assert kinds(drafts) == [(1, "completed"), (NEW, "created")]
    made = drafts[1][1]
    assert isinstance(made, Created)
    assert bytes(made.tags) == b'{"n":2}'


def test_an_attempt_that_fails_leaves_what_others_make(bench: Bench) -> None:
    """Its own replacement is not made either."""
    one, two, three = working(bench, count=3)

    drafts = settled(
        bench,
        completed(1, one, twin(n=1)),
        completed(2, two, twin("replace", 2), twin("raise")),
        completed(3, three, twin("raise")),
    )

    made = [body for _, body in drafts if isinstance(body, Created)]
    assert [bytes(body.tags) for body in made] == [b'{"n":1}']
    assert [body.kind for _, body in drafts if body.kind == "expired"] == ["expired"] * 2


def test_a_task_may_make_its_own_successor(bench: Bench) -> None:
    """Its completion frees its value, in this very commit."""
    bench.have(twin())
    [fence] = bench.lease()

    drafts = settled(bench, completed(1, fence, twin("raise", 2)))

    assert kinds(drafts) == [(1, "completed"), (NEW, "created")]
    holder = bench.projection.holder_of("v")
    assert holder is not None
    assert holder.number == 4


def test_a_task_that_cannot_complete_keeps_nothing(bench: Bench) -> None:
    """It expires, so that the next attempt's child may have the value."""
    bench.have(twin(), order())
    one, two = bench.lease()

    drafts = settled(
        bench, completed(1, one, twin(), twin("raise")), completed(2, two, twin("raise"))
    )

    assert kinds(drafts) == [(1, "failed"), (1, "expired"), (2, "completed"), (NEW, "created")]


@pytest.mark.parametrize(
    "end, follows",
    [
        (Outcome(1, 3, "completed"), [(1, "completed"), (2, "completed"), (NEW, "created")]),
        (
            Outcome(1, 3, "cancelled"),
            [(1, "failed"), (1, "cancelled"), (2, "completed"), (NEW, "created")],
        ),
        (
            Outcome(1, 3, "failed", error=ERROR),
            [(1, "failed"), (1, "retried"), (1, "updated"), (2, "completed")],
        ),
        (Outcome(1, 3, "released"), [(1, "released"), (1, "updated"), (2, "completed")]),
    ],
)
def test_how_the_holders_own_attempt_ended_counts(
    bench: Bench, end: Outcome, follows: list[tuple[int, str]]
) -> None:
    """Where both are in one commit: it is open still, and pending again, or has ended."""
    bench.have(twin(), order())
    _, fence = bench.lease()

    drafts = settled(bench, end, completed(2, fence, twin("replace", 2)))

    assert kinds(drafts) == follows


def test_a_leased_holder_stays_as_it_is(bench: Bench) -> None:
    """There is nothing to say."""
    bench.have(twin(), order())
    _, fence = bench.lease()

    drafts = settled(bench, completed(2, fence, twin("replace", 2)))

    assert drafts == [(2, Completed(fence, UNSET, None, 0))]
