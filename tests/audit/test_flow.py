"""A flow as it stood at a point: its tree, where each task stood, by what it is found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import ArgumentError, Context, Queue, TaskNotFoundError
from eventq.audit import FlowView, flow_at, story
from eventq.replay.points import find_point
from tests.audit.asking import asked


class Doc:
    """A flow that has run: two pages, of which one makes a task and one fails, and the ends."""

    def __init__(self, queue: Queue) -> None:
        @queue.task("page")
        def page(ctx: Context, number: int) -> int:
            if number == 2:
                raise ValueError("unreadable")
            ctx.new(tell, "made")
            return number

        @queue.task("tell")
        def tell(what: str) -> str:
            return what

        with queue.flow("doc:1") as self.flow:
            one = self.flow.new(page.using(key="one"), 1)
            self.flow.new(page.using(max_retries=0), 2)
            self.flow.new(tell.using(after=one), "last")
            self.flow.on_failure(tell, "failed")
            self.flow.finally_(tell, "closed")
        self.queue = queue
        self.made_at = queue.stats().seq

    @property
    def numbers(self) -> list[int]:
        """Of the tasks that were made together."""
        return [task.number for task in self.flow.tasks]

    def at(self, key: str, point: str = "end") -> FlowView:
        """The flow as it stood."""
        now = self.queue._node.now()
        return flow_at(self.queue.log, key, find_point(self.queue.log, point, now=now))


@pytest.fixture
def doc() -> Iterator[Doc]:
    """A document whose flow has not begun."""
    with Queue("memory://", workers=1) as queue:
        yield Doc(queue)


def states(view: FlowView) -> list[str]:
    """Of its tasks, in the order of the tree."""
    return [str(step.task.state) for step in view.steps]


def test_a_flow_is_a_tree(doc: Doc) -> None:
    """A task stands below the one that it comes after, or that made it; the ends come last."""
    before = doc.at("doc:1")
    doc.queue.run(until="idle")
    after = doc.at("doc:1")
    one, two, last, failed, closed = doc.numbers
    made = after.steps[2].task.number

    assert (after.number, after.key) == (doc.flow.number, "doc:1")
    assert [step.task.number for step in after.steps] == [one, last, made, two, failed, closed]
    assert [step.depth for step in after.steps] == [0, 1, 1, 0, 0, 0]
    assert [step.after for step in after.steps] == [(), (one,), (), (), (), ()]
    assert [step.made_by for step in after.steps] == [None, None, one, None, None, None]
    assert states(before) == ["ready", "waiting", "ready", "waiting", "waiting"]
    assert states(after) == [*["completed"] * 3, "expired", "completed", "completed"]
    assert (before.is_closed, after.is_closed) == (False, True)
    assert states(doc.at("doc:1", str(doc.made_at))) == states(before)
    doc.queue.retry(str(two))
    assert states(doc.at("doc:1", str(after.seq))) == states(after)


def test_a_flow_is_found_by_any_of_its_tasks(doc: Doc) -> None:
    """By the key of one that has a key, by the number of any, and of what they have made."""
    doc.queue.run(until="idle")
    made = doc.at("doc:1").steps[2].task.number

    for key in ["one", *map(str, doc.numbers), str(made)]:
        assert doc.at(key).number == doc.flow.number


def test_what_is_in_no_flow_is_told_so(doc: Doc) -> None:
    """A task without one, a key that nothing has, and a flow that was made later."""
    doc.queue.new({"n": 1}, key="alone")
    other = doc.queue.new({"n": 2})

    for key in ("alone", other.key):
        with pytest.raises(ArgumentError, match="a task that is in one"):
            doc.at(key)
    for key, point in (("nothing", "end"), ("99", "end"), ("doc:1", "0")):
        with pytest.raises(TaskNotFoundError):
            doc.at(key, point)


def test_why_follows_what_a_task_waits_for(doc: Doc) -> None:
    """Down to the one that can run; a finaliser waits for the members of its flow."""
    _, _, last, failed, closed = doc.numbers
    verdicts = [asked(doc.queue, str(number)).verdict for number in (last, failed, closed)]

    assert verdicts[0] == "it comes after task one (page), which is ready"
    assert verdicts[1:] == [f"3 members of its flow {doc.flow.number} must end first"] * 2


def test_a_history_says_what_a_task_waits_for(doc: Doc) -> None:
    """Where it begins to wait; and what has failed before it is made holds it back."""
    one, two, last, failed, closed = doc.numbers
    queue = doc.queue
    queue.run(until="idle")
    later = queue.new({"n": 1}, after=[str(two), queue.new({"n": 2}, delay="1h")], delay="2h")
    held = queue.new({"n": 3}, after=str(two), if_failed="hold")
    numbers = [one, last, failed, closed, later.number, held.number]
    keys = ["one", *map(str, numbers[1:])]
    told = [
        story(queue.log, key)[0].reason.split(", for nodes")[0].split(", retried")[0]
        for key in keys
    ]

    assert told == [
        "ready at once",
        f"waits for task {one}",
        "waits for others of its flow",
        "waits for others of its flow",
        f"waits for task {later.number - 1}, to run 2h later",
        "held back by what had failed before it",
    ]
