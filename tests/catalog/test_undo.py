"""Undo: what nothing has happened to since becomes what it was, exactly; the rest is listed."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from eventq import ArgumentError, Context, NotUndoableError, Queue, Task
from eventq.catalog.passing import pass_over
from eventq.catalog.selector import Selector
from eventq.replay.points import Point
from tests.catalog.many import FAILED, seen
from tests.checker import check_log
from tests.support import ManualClock


def test_what_was_retried_ends_again_as_it_had(queue: Queue, clock: ManualClock) -> None:
    """With its old reason, schedule, retries and end; and the undo can be undone."""
    before = [seen(queue, number) for number in (1, 3, 5)]
    clock.advance(60)
    done = queue.select(**FAILED).retry().apply(by="ada")
    retried = [seen(queue, number) for number in (1, 3, 5)]
    clock.advance(60)
    undone = queue.undo(done.id).apply(by="bob")

    assert [seen(queue, number) for number in (1, 3, 5)] == before
    queue.undo(undone.id).apply()
    assert [seen(queue, number) for number in (1, 3, 5)] == retried
    body: Any = queue.history("1")[-1].body
    assert body.undoes == queue.history("1")[-2].seq


def test_what_was_cancelled_or_updated_is_as_it_was(queue: Queue, clock: ManualClock) -> None:
    """Open again, at its old instant; with its old priority and tags."""
    tasks = [task.number for task in queue.tasks()]
    before = [seen(queue, number) for number in tasks]
    updated = queue.select(name="*").update(priority=3, tags={"x": 1}, delay="9m").apply()
    clock.advance(5)
    queue.undo(updated.id).apply()
    after_update = [seen(queue, number) for number in tasks]
    cancelled = queue.select(name="*").cancel().apply()
    clock.advance(5)
    queue.undo(cancelled.id).apply()

    assert after_update == before
    assert [seen(queue, number) for number in tasks] == before


def test_the_sample_is_what_a_pass_finds(queue: Queue, clock: ManualClock) -> None:
    """It is made from the histories of these tasks alone, and says the same of them."""
    clock.advance(60)
    done = queue.select(**FAILED).retry(rate="1/1m").apply(by="ada")
    clock.advance(60)

    sample = queue.undo(done.id).sample(9)

    point = Point(queue.log.head().seq, clock.now_us())
    assert sample == list(pass_over(queue.log, Selector(numbers=(1, 3, 5)), point))
    assert [record.state for record in sample] == ["ready", "ready", "scheduled"]


def test_what_has_moved_on_is_listed(queue: Queue) -> None:
    """What somebody else has done to it since is not taken back."""
    done = queue.select(**FAILED).retry().apply()
    queue.cancel("3")
    plan = queue.undo(done.id)

    assert plan.count == 2
    assert [each.number for each in plan.moved_on] == [3]
    assert plan.apply().changed == 2


def test_what_was_revived_is_cancelled_again(clock: ManualClock) -> None:
    """By the cascade, since its cause has ended again; what an end had cancelled comes back."""
    with Queue(f"memory://{uuid.uuid4().hex}", clock=clock) as queue:
        first = queue.new({"n": 1})
        queue.new({"n": 2}, after=[first])
        queue.cancel("1")
        queue.run(lambda _ctx, _task: None, until="idle", signals=False)
        cancelled = queue.history("1")[-1].seq
        queue.undo(cancelled).apply()
        after_undo = [task.state for task in queue.tasks()]
        again = queue.undo(queue.history("1")[-1].seq).apply()
        queue.run(lambda _ctx, _task: None, until="idle", signals=False)

        assert after_undo == ["ready", "waiting"]
        assert again.changed == 1
        assert [task.cause for task in queue.tasks(state="cancelled")] == [1, None]
        check_log(queue.log)


@pytest.mark.parametrize("action, have_run", [("retry", True), ("cancel", True), ("cancel", False)])
def test_what_ends_a_flow_does_not_run_again(
    clock: ManualClock, action: str, *, have_run: bool
) -> None:
    """Neither by the end that comes again, nor by the one that comes after an undo."""
    broken = [action == "retry"]

    def work(_ctx: Context, task: Task) -> None:
        if task.tags["n"] == 1 and broken[0]:
            raise ConnectionError("no way")

    with Queue(f"memory://{uuid.uuid4().hex}", clock=clock, max_retries=0) as queue:
        with queue.flow("doc") as flow:
            flow.new({"n": 1})
            flow.on_failure({"n": 2})
            flow.finally_({"n": 3})
        if action == "retry":
            queue.run(work, until="idle", signals=False)
            done = queue.select(number=1).retry().apply()
        else:
            done = queue.select(number=1).cancel().apply()
            if have_run:
                queue.run(work, until="idle", signals=False)
        undone = queue.undo(done.id).apply()
        broken[0] = False
        queue.run(work, until="idle", signals=False)
        leased = Counter(event.task for event in queue.events() if event.kind == "leased")

        assert (done.changed, undone.changed) == (1, 1)
        assert leased == {1: 1, 2: 1, 3: 1}
        check_log(queue.log)


def test_one_event_by_hand_is_taken_back(queue: Queue) -> None:
    """By its position."""
    before = seen(queue, 1)
    queue.retry("1", by="ada", reason="try")
    queue.undo(queue.log.head().seq).apply(by="ada")

    assert seen(queue, 1) == before


def test_a_unique_value_that_is_taken_stays_so(clock: ManualClock) -> None:
    """The cancelled task stays cancelled, and is listed."""
    with Queue(f"memory://{uuid.uuid4().hex}", clock=clock) as queue:
        queue.new(unique="sun")
        done = queue.select(state="ready").cancel().apply()
        queue.new(unique="sun")
        undone = queue.undo(done.id).apply()

        assert undone.changed == 0
        assert "unique value" in undone.moved_on[0].why
        check_log(queue.log)


@pytest.mark.parametrize("kind", ["created", "completed", "expired", "leased"])
def test_what_is_never_undone(queue: Queue, kind: str) -> None:
    """A typed error says what can be done instead."""
    event = next(event for event in queue.events() if event.kind == kind)

    with pytest.raises(NotUndoableError, match="instead") as error:
        queue.undo(event.seq)
    assert error.value.position == event.seq


def test_a_position_that_there_is_not(queue: Queue) -> None:
    """It is a wrong argument."""
    with pytest.raises(ArgumentError, match="the position of an event"):
        queue.undo(10_000)


def test_what_was_said_of_who_may_run_is_said_again(queue: Queue) -> None:
    """A pause is lifted, a limit set back, and each of these can be undone, too."""
    queue.set_limit("smtp", running=3)
    queue.set_limit("smtp", running=9)
    back = queue.undo(queue.log.head().seq).apply(by="ada")
    queue.pause(lane="mail", by="ada")
    lifted = queue.undo(queue.log.head().seq).apply(by="ada")
    no_pauses = queue.pauses()
    queue.undo(lifted.id).apply()

    body: Any = next(queue.events(after=back.id - 1)).body
    assert (body.running, body.undoes, body.by) == (3, back.id - 1, "ada")
    assert no_pauses == []
    assert [pause.scope.lane for pause in queue.pauses()] == ["mail"]


SAID: dict[str, Callable[[Queue, int], object]] = {
    "limited": lambda queue, n: queue.set_limit("smtp", running=n),
    "shared": lambda queue, n: queue.set_turns(per="tenant", weights={"a": n}),
    "paused": lambda queue, n: queue.pause(lane="mail", until=f"{n}h"),
    "planned": lambda queue, n: queue.schedules["look"].update(every=f"{n}h"),
}


@pytest.mark.parametrize("kind", SAID)
def test_a_rule_that_was_said_anew_is_not_taken_back(queue: Queue, kind: str) -> None:
    """What stands now is what somebody wanted last, whenever the plan was made."""

    @queue.task("look")
    def look() -> None:
        """Nothing to do."""

    queue.every("1h", look, schedule="look")
    queue.run(until="idle", signals=False)
    for number in (3, 5):
        SAID[kind](queue, number)
    said = [event.seq for event in queue.events() if event.kind == kind][-1]
    plan = queue.undo(said)
    SAID[kind](queue, 9)
    head = queue.log.head()
    for late in (plan, queue.undo(said)):
        with pytest.raises(NotUndoableError, match="since"):
            late.apply()

    assert queue.log.head() == head


def test_a_schedule_is_planned_as_it_was(queue: Queue) -> None:
    """What was paused by hand comes again; what was dropped is planned again."""

    @queue.task("look")
    def look() -> None:
        """Nothing to do."""

    queue.every("1h", look, schedule="look")
    queue.run(until="idle", signals=False)
    queue.schedules["look"].pause(by="ada")
    queue.undo(queue.log.head().seq).apply(by="ada")
    resumed = queue.schedules["look"].state.paused
    queue.schedules["look"].drop(by="ada")
    queue.undo(queue.log.head().seq).apply(by="ada")

    assert resumed is False
    assert queue.schedules["look"].state.by == "ada"


def test_a_pause_that_is_over_is_not_taken_back(queue: Queue, clock: ManualClock) -> None:
    """There is nothing to resume, whenever the plan was made; the log stays right."""
    queue.pause(lane="mail", until="1m")
    paused = queue.log.head()
    plan = queue.undo(paused.seq)
    clock.advance(60)
    for late in (plan, queue.undo(paused.seq)):
        with pytest.raises(NotUndoableError, match="over by now"):
            late.apply()

    assert queue.log.head() == paused


def test_a_due_that_has_come_is_not_forgotten_by_an_undo(queue: Queue, clock: ManualClock) -> None:
    """Its schedule gets its old timing again, and the due is dealt with all the same."""

    @queue.task("look")
    def look() -> None:
        """Nothing to do."""

    queue.every("1h", look, schedule="look")
    queue.run(until="idle", signals=False)
    queue.schedules["look"].update(every="3h", by="ada")
    updated = queue.log.head().seq
    [due] = queue.schedules["look"].next(1)
    clock.advance(3.5 * 3_600)
    queue.undo(updated).apply(by="ada")

    assert queue.schedules["look"].next(1) == [due]
    queue.run(until="idle", signals=False)
    ticked: Any = [event.body for event in queue.events() if event.kind == "ticked"][-1]
    assert ticked.due == int(due.timestamp() * 1e6)


def test_an_undo_is_undone_again_and_again(queue: Queue) -> None:
    """Each takes back the one before it; the tasks go to and fro."""
    last = queue.select(**FAILED).retry().apply().id
    seen_expired = []
    for _ in range(5):
        undone = queue.undo(last).apply()
        last = undone.id
        seen_expired.append((undone.changed, queue.stats().expired))

    assert seen_expired == [(3, 3), (3, 0), (3, 3), (3, 0), (3, 3)]


def test_large_tags_make_small_commits(clock: ManualClock) -> None:
    """Reopened tasks bring their tags with them, and no commit grows with them."""
    with Queue(f"memory://{uuid.uuid4().hex}", clock=clock) as queue:
        for number in range(20):
            queue.new({"n": number, "text": "a" * 65_000})
        cancelled = queue.select(state="ready").cancel().apply()
        reopened = queue.undo(cancelled.id).apply()

        assert reopened.changed == 20
        assert max(sum(map(len, each.bodies)) for each in queue.log.read(after=0)) < 600_000
        check_log(queue.log)
