"""Flows as their user makes them: one commit or nothing, results as arguments, finalisers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import eventq
from eventq import (
    ArgumentError,
    Context,
    DuplicateTaskError,
    Fail,
    FlowExistsError,
    KeyConflictError,
    Queue,
    TaskNotFoundError,
    TaskSpec,
)
from tests.checker import check_log


class Shop:
    """A queue in memory with handlers that note what they were called with."""

    def __init__(self) -> None:
        self.queue = Queue("memory://", workers=2)
        self.calls: list[tuple[Any, ...]] = []
        queue, calls = self.queue, self.calls

        @queue.task("ocr")
        def ocr(path: str) -> str:
            calls.append(("ocr", path))
            return path.upper()

        @queue.task("length")
        def length(text: str, *, plus: int = 0) -> int:
            calls.append(("length", text, plus))
            return len(text) + plus

        @queue.task("sum")
        def total(ctx: Context, one: int, two: int = 0) -> int:
            calls.append(("sum", one, two, ctx.results))
            return one + two

        @queue.task("fail")
        def fail() -> str:
            raise Fail("no")

        @queue.task("tell")
        def tell(what: str) -> None:
            calls.append(("tell", what))

        @queue.task("split")
        def split(ctx: Context, parts: int) -> None:
            calls.append(("split", parts))
            for part in range(parts):
                ctx.new(tell, f"part {part}")

        self.ocr, self.length, self.total = ocr, length, total
        self.fail, self.tell, self.split = fail, tell, split

    def run(self) -> None:
        """Works until nothing is left to do."""
        self.queue.run(until="idle", signals=False)


@pytest.fixture
def shop() -> Any:  # noqa: ANN401 - a generator
    """A shop, whose log must be right in the end."""
    shop = Shop()
    with shop.queue:
        yield shop
        check_log(shop.queue.log)


def test_results_are_handed_over(shop: Shop) -> None:
    """A member waits for those whose results it takes, and is called with them."""
    with shop.queue.flow("doc") as flow:
        text = flow.new(shop.ocr, "a.png")
        length = flow.new(shop.length, text.result, plus=1)
        total = flow.new(shop.total.using(after=text), length.result, two=length.result)
        flow.finally_(shop.tell, "done")
    assert [str(task.state) for task in flow.tasks] == ["ready", "waiting", "waiting", "waiting"]

    shop.run()

    assert shop.calls[0] == ("ocr", "a.png")
    assert shop.calls[1] == ("length", "A.PNG", 1)
    results: dict[str, Any] = {str(text.task and text.task.number): "A.PNG"}
    results[str(length.task and length.task.number)] = 6
    assert shop.calls[2] == ("sum", 6, 6, results)
    assert shop.calls[3] == ("tell", "done")
    assert total.task is not None
    task = shop.queue.get(total.task.key)
    assert task is not None
    assert shop.total.result_of(task) == 12
    # What a task is given is not copied into the log.
    assert b"A.PNG" not in task.tags_json


def test_a_flow_is_one_commit(shop: Shop) -> None:
    """Its key is taken by it for good, also where its first task has a key of its own."""
    with shop.queue.flow("k") as flow:
        flow.new({"n": 1}, key="own")
        flow.new({"n": 2})
    [commit] = shop.queue.log.read(after=0)

    assert (len(commit.bodies), flow.number) == (2, 2)
    with pytest.raises(FlowExistsError) as refused, shop.queue.flow("k") as again:
        again.new({"n": 3})
    assert (refused.value.flow, again.tasks) == (2, [])
    assert shop.queue.log.head().seq == 2


def test_a_failing_block_makes_nothing(shop: Shop) -> None:
    """Nor does one without tasks."""
    with pytest.raises(ZeroDivisionError), shop.queue.flow("k") as flow:  # noqa: PT012 - the block is what ends
        flow.new({"n": 1})
        raise ZeroDivisionError
    with shop.queue.flow("k"):
        pass

    assert shop.queue.log.head().seq == 0


def test_what_is_no_flow_is_refused(shop: Shop) -> None:
    """Each before anything is appended."""
    queue = shop.queue
    other = queue.new({"n": 1}, key="taken", unique="sun")
    with queue.flow() as before:
        made = before.new({"n": 1})
    seq = queue.log.head().seq
    with pytest.raises(ArgumentError, match="at least one task beside"), queue.flow() as flow:
        flow.finally_({"n": 1})
    with pytest.raises(ArgumentError, match="without a key"), queue.flow() as flow:
        flow.new({"n": 1}, key="a")
    with pytest.raises(KeyConflictError, match="its flow"), queue.flow() as flow:  # noqa: PT012 - the block is what ends
        flow.new({"n": 1})
        flow.new({"n": 1}, key="taken")
    with pytest.raises(DuplicateTaskError), queue.flow() as flow:
        flow.new({"n": 1}, unique="sun")
    with pytest.raises(ArgumentError, match="comes after all members"), queue.flow() as flow:  # noqa: PT012 - the block is what ends
        first = flow.new({"n": 1})
        flow.finally_({"n": 1}, after=first)
    with pytest.raises(ArgumentError, match="fit into one commit"), queue.flow() as flow:  # noqa: PT012 - the block is what ends
        for _ in range(1_001):
            flow.new({"n": 1})
    with pytest.raises(ArgumentError, match="the block of"):
        queue.flow().new({"n": 1})
    with queue.flow() as flow, pytest.raises(ArgumentError, match="a task of the same flow"):
        queue.new({"n": 1}, after=flow.new({"n": 1}))
    with pytest.raises(ArgumentError, match="if_failed"):
        queue.new({"n": 1}, if_failed="run")
    with pytest.raises(ArgumentError, match="if_failed"):
        queue.new({"n": 1}, after=other, if_failed="perhaps")  # type: ignore[call-overload]
    for wrong in (7, [7], b"x", [""]):
        with pytest.raises(ArgumentError):
            queue.new({"n": 1}, after=wrong)  # type: ignore[arg-type]
    with pytest.raises(TaskNotFoundError):
        queue.new({"n": 1}, after="nobody")

    assert queue.log.head().seq == seq + 1
    assert queue.new({"n": 1}, after=[made, other, "taken"]).state == "waiting"


@pytest.mark.parametrize("way", ["new", "many", "spec"])
def test_every_way_to_make_a_task_takes_after(shop: Shop, way: str) -> None:
    """Tags, specs and handlers, one by one or many."""
    first = shop.queue.new({"n": 1}, name="ocr")
    if way == "new":
        task = shop.queue.new({"n": 2}, after=first)
    elif way == "many":
        [task] = shop.queue.new_many([{"n": 2}], after=first)
    else:
        [task] = shop.queue.new_many([shop.length.spec(shop.queue.result(first))])

    assert task.state == "waiting"
    assert [each.task for each in task.after] == [first.number]


def test_arguments_beside_results_are_checked(shop: Shop) -> None:
    """As ever, naming the one that does not fit."""
    result = shop.queue.result(shop.queue.new({"n": 1}))

    with pytest.raises(ArgumentError, match="plus"):
        shop.length.new(result, plus="much")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        shop.length.new(result, result)  # type: ignore[call-arg]
    assert shop.length.spec(result, plus=2).tags_json == b'{"plus":2}'


@pytest.mark.parametrize("way", ["task", "member", "in a list", "in a mapping", "its result"])
def test_a_task_is_no_argument(shop: Shop, way: str) -> None:
    """What is meant is its result, and that is the whole of an argument: the error says so."""

    @shop.queue.task("take")
    def take(what: int | list[int] | dict[str, int], more: str = "") -> None: ...

    task = shop.ocr.new("a.png")
    with shop.queue.flow() as flow:
        member: Any = flow.new(shop.ocr, "b.png")
        given = {
            "task": task,
            "member": member,
            "in a list": [shop.queue.result(task)],
            "in a mapping": {"a": member},
            "its result": (member.result,),
        }
        for more in ("", member.result):
            with pytest.raises(ArgumentError, match=r"what: .* a result: `queue.result\(task\)`"):
                flow.new(take, given[way], more)


def test_an_argument_that_is_a_result_is_not_edited(shop: Shop) -> None:
    """The result would win; other arguments are edited as ever."""
    task = shop.length.new(shop.queue.result(shop.ocr.new("a.png")), plus=1)
    [name] = task.given

    with pytest.raises(ArgumentError, match=f"result of task 1, got '{name}'"):
        shop.queue.update(task.key, tags={name: "words", "plus": 2})

    assert shop.queue.update(task.key, tags={"plus": 2}).tags == {"plus": 2}


def test_a_result_is_asked_of_a_task(shop: Shop) -> None:
    """The error names the argument that was wrong."""
    with pytest.raises(ArgumentError, match="task: expected a task, its key"):
        shop.queue.result(17)  # type: ignore[arg-type]


def test_a_retry_returns_its_own_task(shop: Shop) -> None:
    """Also where it brings back what the end of the task had cancelled."""
    first = shop.fail.new()
    shop.tell.new(shop.queue.result(first))
    shop.run()

    again = shop.queue.retry(first.key)

    assert (again.key, str(again.state)) == (first.key, "ready")
    assert [str(task.state) for task in shop.queue.tasks()] == ["ready", "waiting"]


def test_an_attempt_whose_task_comes_after_none_that_is_there_has_failed(shop: Shop) -> None:
    """For good, and it makes none; what else the commit holds, and the run, go on."""

    @shop.queue.task("make")
    def make(ctx: Context) -> None:
        ctx.new(shop.tell, "first")
        ctx.new(shop.tell.using(after="nothing"), "second")

    task = make.new()
    shop.tell.new("third")
    shop.run()

    ended = shop.queue.wait(task.key)
    assert (str(ended.state), ended.final_reason) == ("expired", "fatal")
    assert ended.last_error is not None
    assert ended.last_error.type == "eventq.TaskNotFoundError"
    assert shop.calls == [("tell", "third")]
    assert [event.kind for event in shop.queue.events()].count("created") == 2


def test_a_failure_ends_the_flow(shop: Shop) -> None:
    """What comes after it is cancelled, and each finaliser runs once; a retry does not again."""
    with shop.queue.flow() as flow:
        bad = flow.new(shop.fail)
        after = flow.new(shop.length, bad.result)
        flow.on_failure(shop.tell, "failed")
        flow.finally_(shop.tell, "over")

    shop.run()

    assert bad.task is not None
    assert after.task is not None
    assert shop.calls == [("tell", "failed"), ("tell", "over")]
    cancelled = shop.queue.get(after.task.key)
    assert cancelled is not None
    assert (cancelled.state, cancelled.cause) == ("cancelled", bad.task.number)
    shop.queue.retry(bad.task.key)
    revived = shop.queue.get(after.task.key)
    assert revived is not None
    assert revived.state == "waiting"
    shop.run()
    assert len(shop.calls) == 2


def test_what_a_member_makes_belongs_to_its_flow(shop: Shop) -> None:
    """Finalisers wait for it, too."""
    with shop.queue.flow() as flow:
        flow.new(shop.split, 3)
        flow.finally_(shop.tell, "over")

    shop.run()

    assert shop.calls[-1] == ("tell", "over")
    assert sorted(shop.calls[1:-1]) == [("tell", f"part {part}") for part in range(3)]
    assert {task.flow for task in shop.queue.tasks(state="completed")} == {flow.number}


def test_an_attempt_makes_tasks_that_come_after_others(shop: Shop) -> None:
    """Also after its own task, which completes in the same commit."""
    queue = shop.queue
    held = queue.new({"n": 1}, delay="1h")

    @queue.task("maker")
    def maker(ctx: Context) -> str:
        ctx.new(shop.length, queue.result(ctx.task.key))
        ctx.new(shop.tell.using(after=held), "late")
        return "four"

    maker.new()
    shop.run()

    assert ("length", "four", 0) in shop.calls
    assert [task.name for task in queue.tasks(state="waiting")] == ["tell"]
    queue.cancel(held.key)
    shop.run()
    assert queue.tasks(state="waiting") == []


def test_a_plain_worker_has_the_results(shop: Shop) -> None:
    """Those that completed, by their keys."""
    queue = shop.queue
    first = queue.new({"n": 1}, key="one")
    queue.new({"n": 2}, after=[first, "one"])
    seen: list[dict[str, Any]] = []

    def worker(ctx: Context, task: eventq.Task) -> int:
        seen.append(ctx.results)
        return int(task.tags["n"])

    queue.run(worker, until="idle", signals=False)

    assert seen == [{}, {"one": 1}]


def test_a_task_runs_without_the_result_of_one_that_failed(shop: Shop) -> None:
    """Under "run", its argument is None."""
    bad = shop.fail.new()
    shop.total.using(if_failed="run").new(4, shop.queue.result(bad))
    shop.tell.using(after=bad, if_failed="hold").new("held")

    shop.run()

    assert shop.calls == []
    [task] = shop.queue.tasks(name="sum", state="expired")
    assert "two" in str(task.last_error)
    assert [task.name for task in shop.queue.tasks(state="waiting")] == ["tell"]


def test_repeating_a_task_gives_it_the_same_results(shop: Shop) -> None:
    """They stand where they were returned."""
    first = shop.ocr.new("a")
    again = shop.length.new(shop.queue.result(first))
    shop.run()

    shop.queue.repeat(again.key)
    shop.run()

    assert shop.calls.count(("length", "A", 0)) == 2


def test_an_async_queue_makes_flows(shop: Shop) -> None:
    """The block is asynchronous, and awaits the commit."""

    async def make() -> int | None:
        async with shop.queue.aio.flow("k") as flow:
            text = flow.new(shop.ocr, "a")
            flow.new(shop.length, text.result)
            assert not flow.tasks
        return flow.number

    assert asyncio.run(make()) == 1
    shop.run()
    assert shop.calls == [("ocr", "a"), ("length", "A", 0)]


def test_a_spec_of_tags_may_come_after_others(shop: Shop) -> None:
    """In a flow it refers to what was added before."""
    with shop.queue.flow() as flow:
        first = flow.new(TaskSpec({"n": 1}))
        flow.new(TaskSpec({"n": 2}, after=[first], if_failed="run"))

    assert [task.if_failed for task in flow.tasks] == ["cancel", "run"]
