"""One open task a unique value: by text, by arguments, raised or replaced, and freed at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from eventq import (
    ArgumentError,
    Context,
    DuplicateTaskError,
    Handlers,
    NotAllowedError,
    Queue,
    Task,
    TaskSpec,
    TaskState,
)
from eventq.core.create import NewTask
from eventq.core.create_tasks import creating
from eventq.core.unique import value_of
from eventq.core.values import Policy
from eventq.node.node import Node
from tests.checker import check_log
from tests.commands import creation
from tests.support import Gate, HookedLog, ManualClock, Spawned, wait_until


@pytest.fixture
def clock() -> ManualClock:
    """A clock to move."""
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite"])
def queue(request: pytest.FixtureRequest, tmp_path: Any, clock: ManualClock) -> Iterator[Queue]:  # noqa: ANN401
    """An empty queue; what it leaves must be a good log."""
    url = f"sqlite:///{tmp_path}/eventq.db" if request.param == "sqlite" else "memory://"
    with Queue(url, clock=clock, max_retries=0) as opened:
        yield opened
        check_log(opened.log)


def kinds(queue: Queue) -> list[str]:
    """The kinds of all events."""
    return [event.kind for event in queue.events()]


def send(order: int, to: str = "ada") -> int:
    """A handler."""
    del to
    return order


def test_while_a_task_is_open_new_gives_that_one(queue: Queue) -> None:
    """Whatever the tags; the value stands in the log and on the task."""
    first = queue.new({"n": 1}, unique="tidy up")

    second = queue.new({"n": 2}, unique="tidy up", priority=5)

    assert (second.number, second.tags, second.priority) == (first.number, {"n": 1}, 0)
    assert second.unique == "tidy up"
    assert kinds(queue) == ["created"]


def test_a_final_task_frees_its_value(queue: Queue) -> None:
    """However it came to its end."""
    first = queue.new(unique="v")
    queue.run(lambda _ctx, _task: None, until="idle")
    second = queue.new(unique="v")
    queue.cancel(second.key)

    third = queue.new(unique="v")

    assert len({first.number, second.number, third.number}) == 3


def test_a_holder_past_its_expiry_is_expired_at_once(queue: Queue, clock: ManualClock) -> None:
    """No node need have seen it."""
    first = queue.new(unique="v", max_age="10s")
    clock.advance(11)

    second = queue.new(unique="v")

    assert second.number != first.number
    assert kinds(queue) == ["created", "expired", "created"]


def test_a_duplicate_can_be_an_error_that_names_the_holder(queue: Queue) -> None:
    """Nothing is created then, and a later call of the same queue still works."""
    queue.new(unique="v", key="holder")

    with pytest.raises(DuplicateTaskError, match="'holder' is open") as caught:
        queue.new_many([TaskSpec(), TaskSpec(unique="v", on_duplicate="raise")])

    assert (caught.value.unique, caught.value.key) == ("v", "holder")
    assert kinds(queue) == ["created"]


def test_a_pending_task_can_be_replaced(queue: Queue, clock: ManualClock) -> None:
    """It gets the tags and the schedule; priority and number stay."""
    first = queue.new({"n": 1}, unique="v", delay="5s", priority=3)
    clock.advance(4)

    later = queue.new({"n": 2}, unique="v", delay="5s", on_duplicate="replace")
    same = queue.new({"n": 2}, unique="v", delay="5s", on_duplicate="replace")

    assert (later.number, later.tags, later.priority) == (first.number, {"n": 2}, 3)
    assert later.scheduled_at_us == clock.us + 5_000_000 == same.scheduled_at_us
    assert kinds(queue) == ["created", "updated"]


def test_a_task_put_off_again_and_again_runs_before_it_expires(
    queue: Queue, clock: ManualClock
) -> None:
    """What would move it past its expiry changes its tags alone."""
    queue.new({"n": 0}, unique="v", delay="4s", max_age="10s")
    for n in (1, 2, 3):
        clock.advance(3)
        task = queue.new({"n": n}, unique="v", delay="4s", on_duplicate="replace")

    assert task.tags == {"n": 3}
    assert task.scheduled_at_us == task.created_at_us + 7_000_000


def test_one_that_is_ready_keeps_its_place_when_it_is_to_run_at_once(
    queue: Queue, clock: ManualClock
) -> None:
    """The tags change, the instant does not."""
    first = queue.new({"n": 1}, unique="v")
    clock.advance(5)

    task = queue.new({"n": 2}, unique="v", on_duplicate="replace")

    assert (task.tags, task.scheduled_at_us) == ({"n": 2}, first.scheduled_at_us)


def test_a_running_task_is_given_as_it_is(queue: Queue) -> None:
    """Replacing would change what the worker was given."""
    found: list[Task] = []

    def worker(_ctx: object, _task: Task) -> None:
        found.append(queue.new({"n": 2}, unique="v", on_duplicate="replace"))

    queue.new({"n": 1}, unique="v")
    queue.run(worker, until="idle")

    assert [(task.number, task.tags, task.state) for task in found] == [
        (1, {"n": 1}, TaskState.LEASED)
    ]


def test_a_call_of_many_meets_its_own_values(queue: Queue) -> None:
    """The second of one value is the first; replaced, it has the last one's tags."""
    specs = [TaskSpec({"n": n}, unique="v", on_duplicate="replace") for n in range(3)]

    tasks = queue.new_many([*specs, TaskSpec(unique="w")])

    assert [task.number for task in tasks] == [1, 1, 1, 2]
    assert tasks[0].tags == {"n": 2}
    with pytest.raises(DuplicateTaskError, match="another task of the same call"):
        queue.new_many([TaskSpec(unique="x"), TaskSpec(unique="x", on_duplicate="raise")])


def test_true_is_name_and_arguments(queue: Queue) -> None:
    """Defaults are in it, so that a call means the same however it is written."""
    handler = queue.task("mail.send", unique=True)(send)

    first = handler.new(1)

    assert first.unique == 'mail.send({"order":1,"to":"ada"})'
    assert handler.new(1, to="ada").number == handler.new(order=1).number == first.number
    assert handler.new(1, "bob").number != first.number
    assert queue.new({"order": 1, "to": "ada"}, name="mail.send", unique=True).number == 1
    assert queue.new(unique=first.unique).number == first.number


def test_an_arguments_name_is_name_and_that_argument(queue: Queue) -> None:
    """Other arguments do not count; another handler's tasks are others."""
    handler = queue.task("mail.send", unique="order", on_duplicate="replace")(send)
    other = queue.task("mail.resend", unique="order")(send)

    first, second = handler.new(1, "ada"), handler.new(1, "bob")

    assert first.unique == 'mail.send({"order":1})'
    assert (second.number, second.tags["to"]) == (first.number, "bob")
    assert other.new(1).number != first.number


def test_using_gives_another_value_or_none(queue: Queue) -> None:
    """A text that is no argument's name is the value itself."""
    handler = queue.task("mail.send", unique="order", on_duplicate="raise")(send)

    assert handler.using(unique="the only").new(1).unique == "the only"
    assert handler.using(unique=None).new(1).unique is None
    assert handler.using(unique=True, on_duplicate="return").new(2).unique == (
        'mail.send({"order":2,"to":"ada"})'
    )
    tasks = queue.new_many([handler.spec(7), handler.using(unique=None).spec(7)])
    assert [task.unique for task in tasks] == ['mail.send({"order":7})', None]


def test_a_long_value_ends_in_a_hash() -> None:
    """Equal arguments give equal ones, in any order."""
    one = value_of("a", b'{"x":"%s","y":1}' % (b"z" * 300))
    other = value_of("a", b'{"y":1,"x":"%s"}' % (b"z" * 300))

    assert one == other != value_of("a", b'{"x":"%s","y":2}' % (b"z" * 300))
    assert one.startswith("a#")
    assert len(one) == 2 + 32


@pytest.mark.parametrize(
    "options, argument",
    [
        ({"unique": ""}, "unique"),
        ({"unique": 7}, "unique"),
        ({"unique": "x" * 256}, "unique"),
        ({"unique": "v", "on_duplicate": "ignore"}, "on_duplicate"),
        ({"on_duplicate": "raise"}, "on_duplicate"),
    ],
)
def test_wrong_options_are_refused(queue: Queue, options: Any, argument: str) -> None:  # noqa: ANN401
    """By the name of the option; nothing is appended."""
    with pytest.raises(ArgumentError) as caught:
        queue.new(**options)

    assert caught.value.argument == argument
    assert kinds(queue) == []


def test_a_handler_names_an_argument_of_its_own() -> None:
    """A slip is found at decoration."""
    handlers = Handlers()

    with pytest.raises(ArgumentError, match="name of an argument"):
        handlers.task("a", unique="ordr")(send)
    with pytest.raises(ArgumentError, match="on_duplicate"):
        handlers.task("a", on_duplicate="raise")(send)


def test_reopening_onto_a_taken_value_names_the_holder(queue: Queue) -> None:
    """Once that has ended, it may."""
    first = queue.new(unique="v")
    queue.cancel(first.key)
    holder = queue.new(unique="v", key="holder")

    with pytest.raises(NotAllowedError, match="task 'holder' has its unique value") as caught:
        queue.retry(first.key)

    assert caught.value.holder == "holder"
    queue.cancel(holder.key)
    assert queue.retry(first.key).unique == "v"
    assert queue.new(unique="v").number == first.number


def test_arguments_that_are_results_are_not_replaced(queue: Queue) -> None:
    """An edit cannot change them: the task would run with the old one, or without any."""
    use = queue.task(send)
    result = queue.result(queue.new())
    with_result = use.using(unique="a").new(result)
    without = use.using(unique="b").new(1)
    before = kinds(queue)

    for unique, argument in [("a", 1), ("a", result), ("b", result)]:
        with pytest.raises(DuplicateTaskError):
            use.using(unique=unique, on_duplicate="replace").new(argument)

    assert kinds(queue) == before
    assert use.using(unique="b", on_duplicate="replace").new(2).number == without.number
    assert queue.get(with_result.key) == with_result


def test_an_attempt_cannot_replace_what_it_asked_for_by_one_with_a_result(queue: Queue) -> None:
    """It has failed for good, and makes neither."""
    use = queue.task(send)
    other = queue.new(lane="elsewhere")

    @queue.task
    def make(ctx: Context) -> None:
        ctx.new(use.using(unique="c"), 1)
        ctx.new(use.using(unique="c", on_duplicate="replace"), queue.result(other))

    made = make.new()
    queue.run(until="idle")

    task = queue.get(made.key)
    assert task is not None
    assert task.state is TaskState.EXPIRED
    assert task.last_error is not None
    assert task.last_error.type == "eventq.DuplicateTaskError"
    assert [each.number for each in queue.tasks()] == [other.number]


def test_two_of_one_value_never_share_a_commit() -> None:
    """The second is decided again, once the first is in the log: many threads make one task."""
    log = HookedLog()
    gate = Gate()
    node = Node(log, clock=ManualClock())
    order = NewTask(b"{}", Policy("linear", 1), unique="v")
    log.before_append = gate
    leader = Spawned(node.execute, creation())
    wait_until(gate.reached.is_set)
    twins = [Spawned(node.execute, creating([order])) for _ in range(5)]
    wait_until(lambda: len(node._line.waiting) == 5)
    gate.open()
    leader.wait()
    created = [each.result().events for each in twins]

    assert sum(map(len, created)) == 1
    with node.reading() as projection:
        assert len(projection.tasks) == 2
    check_log(log)
