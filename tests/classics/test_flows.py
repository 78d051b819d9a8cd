"""What comes after other tasks: run once whatever happens to those, and never forgotten."""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest

from eventq import (
    Cancel,
    Context,
    Fail,
    Handlers,
    LogOutcomeUnknownError,
    LogUnavailableError,
    Queue,
)
from eventq.core.commits import Commit
from eventq.testing import harness
from eventq.verify import verify
from tests.support import HookedLog, final, queue_on


class Members:
    """Handlers whose calls end in every way there is, and note those that come after them."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.calls: Counter[str] = Counter()
        handlers, calls = self.handlers, self.calls

        @handlers.task
        def good() -> None: ...

        @handlers.task(max_retries=0)
        def bad() -> None:
            raise Fail("no")

        @handlers.task
        def called_off() -> None:
            raise Cancel("pointless")

        @handlers.task
        def make(ctx: Context) -> None:
            ctx.new(good)

        @handlers.task
        def tell(what: str) -> None:
            calls[what] += 1

        self.good, self.bad, self.called_off, self.make, self.tell = (
            good, bad, called_off, make, tell,
        )  # fmt: skip


@pytest.mark.parametrize(
    "way", ["good", "bad", "called_off", "make", "crashes", "by hand", "too old"]
)
def test_a_chord_always_fires(way: str) -> None:
    """Elsewhere the body of a chord never ran when a member died, expired or was revoked.

    Here the finaliser is there from the start and waits for the members' ends, whichever they are.
    """
    members = Members()
    with harness(handlers=[members.handlers]) as t:
        with t.queue.flow() as flow:
            for _ in range(3):
                flow.new(members.good)
            if way == "by hand":
                flow.new(members.good.using(delay="1h"))
            elif way == "too old":
                flow.new(name="nobodys", max_age="2m")
            else:
                flow.new(members.good if way == "crashes" else getattr(members, way))
            flow.finally_(members.tell, "over")
        if way == "crashes":
            t.crash_node(members.good)
        t.run()
        if way == "by hand":
            [open_one] = t.queue.tasks(state="scheduled")
            t.queue.cancel(open_one.key)
        t.forward("3m")

        assert members.calls == {"over": 1}
        assert t.queue.tasks() == []


def test_a_chord_of_nothing_is_none() -> None:
    """Elsewhere a chord over an empty group hung, or its body ran before it was asked for.

    Here a block that makes no task makes no flow, and one that only has a finaliser is refused.
    """
    members = Members()
    with harness(handlers=[members.handlers]) as t:
        with t.queue.flow():
            pass
        with pytest.raises(ValueError, match="at least one task"), t.queue.flow() as flow:
            flow.finally_(members.tell, "over")
        assert t.queue.log.head().seq == 0
        t.run()

        assert members.calls == {}


@pytest.mark.parametrize("lost", ["nothing", "request", "reply"])
def test_a_callback_is_fired_once(
    log: HookedLog, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere two members that ended together each fired the callback, or a retried end did.

    Here the last end makes it ready, at one position of the log, on two nodes at once, and also
    when an outcome has to be sent again because its reply was lost.
    """
    monkeypatch.setattr("eventq.runner.runner.UNAVAILABLE_S", 0.001)
    members, both = Members(), threading.Barrier(2)

    @members.handlers.task
    def meet() -> None:
        both.wait(60)

    @members.handlers.task(max_retries=0)
    def meet_and_fail() -> None:
        both.wait(60)
        raise Fail("no")

    logs = [log, HookedLog(log.storage)]
    for each in logs:
        break_once(each, lost)
    one, two = (queue_on(each, workers=1, handlers=[members.handlers]) for each in logs)
    with one, two:
        for _ in range(5):
            with one.flow() as flow:
                flow.new(meet)
                flow.new(meet_and_fail)
                flow.on_failure(members.tell, "failed")
                flow.finally_(members.tell, "over")
        runs = [threading.Thread(target=each.run, kwargs={"until": "idle"}) for each in (one, two)]
        for run in runs:
            run.start()
        for run in runs:
            run.join(60)

        assert members.calls == {"failed": 5, "over": 5}
        assert one.tasks() == []
        assert verify(one.log).findings == ()


def break_once(log: HookedLog, lost: str) -> None:
    """Loses every other append of an outcome: the request, or the reply to it."""
    turns = {"n": 0}
    error = LogUnavailableError if lost == "request" else LogOutcomeUnknownError

    def lose(commit: Commit) -> None:
        kinds = {json.loads(body)["kind"] for body in commit.bodies}
        if not kinds.isdisjoint({"completed", "failed"}):
            turns["n"] += 1
            if turns["n"] % 2 == 0:
                return
            raise error("the connection was lost")

    if lost == "request":
        log.before_append = lose
    elif lost == "reply":
        log.after_append = lose


@pytest.mark.parametrize("first", ["left", "right"])
def test_no_dependant_is_forgotten_when_one_path_is_abandoned(queue: Queue, first: str) -> None:
    """Elsewhere a job after two others was deferred for ever once one of the two was cancelled.

    Here each dependant is told by the fold: it runs, or is cancelled with the cause; none waits on.
    """
    root = queue.new(key="root")
    for side in ("left", "right"):
        queue.new(key=side, after=root)
    both = ["left", "right"]
    queue.new(key="run", after=both, if_failed="run")
    queue.new(key="cancel", after=both)
    queue.new(key="behind", after="cancel")
    queue.new(key="behind run", after="run")

    queue.cancel(first)
    queue.run(lambda _ctx, task: task.key, until="idle")

    found = {key: queue.get(key) for key in (*both, "run", "cancel", "behind", "behind run")}
    states = {key: str(task.state) for key, task in found.items() if task is not None}
    assert {key for key, state in states.items() if state == "cancelled"} == {
        first, "cancel", "behind",
    }  # fmt: skip
    assert {key for key, state in states.items() if state == "completed"} == {
        *both, "run", "behind run",
    } - {first}  # fmt: skip
    cancelled, cause = found["cancel"], found[first]
    assert cancelled is not None
    assert cause is not None
    assert cancelled.cause == cause.number


def test_who_comes_after_what_has_ended_already_is_not_forgotten(queue: Queue) -> None:
    """Elsewhere a dependant that was made just after the end of its parent was never released.

    Here the end of its parent is looked up as it is made: it is ready, or called off.
    """
    queue.new(key="good")
    queue.new(key="bad")
    queue.cancel("bad")
    queue.run(lambda _ctx, _task: None, until="idle")

    ready, cancelled = queue.new(after="good"), queue.new(after="bad")
    queue.run(lambda _ctx, _task: None, until="idle")

    assert str(ready.state) == "ready"
    assert final(queue, ready.key).state == "completed"
    assert final(queue, cancelled.key).state == "cancelled"
    assert final(queue, cancelled.key).cause == final(queue, "bad").number
