"""A task that waits to run may be moved to another lane, as its priority may be changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from eventq import ArgumentError, AsyncQueue, Context, Handlers, NotAllowedError, Queue, Task
from eventq.catalog.catalog import Catalog
from eventq.catalog.passing import pass_over
from eventq.catalog.selector import Selector
from eventq.replay.fold import replay
from eventq.replay.points import Point
from eventq.snapshot import take
from eventq.snapshot.codec import decode, encode
from tests.checker import check_log
from tests.support import ManualClock

SOON_S = 60.0


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """A queue in a file; the log must be right."""
    with Queue(f"sqlite:///{tmp_path}/log.db", clock=ManualClock(), workers=1) as queue:
        yield queue
        check_log(queue.log)


def lane_of(queue: Queue, key: str) -> str:
    """The lane that a task is in now."""
    task = queue.get(key)
    assert task is not None
    return task.lane


def run_lane(queue: Queue, lane: str) -> list[str]:
    """The keys of the tasks that a run of one lane takes, in order."""
    seen: list[str] = []

    def work(_ctx: Context, task: Task) -> None:
        seen.append(task.key)

    queue.run(work, names=["*"], lanes=[lane], until="idle", signals=False)
    return seen


def test_it_runs_where_it_was_moved(queue: Queue) -> None:
    """Nodes of its new lane take it in their order, and those of the old one no more."""
    queue.new({}, key="stays")
    queue.new({}, key="moves", priority=5)
    queue.new({}, key="heavy", lane="heavy")
    queue.new({}, key="back", lane="heavy")

    before = queue.update("moves", lane="heavy", by="ada")
    queue.update("back", lane="default")

    assert (before.lane, lane_of(queue, "back")) == ("heavy", "default")
    assert run_lane(queue, "heavy") == ["moves", "heavy"]
    assert run_lane(queue, "default") == ["stays", "back"]
    assert lane_of(queue, "moves") == "heavy"


def test_only_what_changes_is_said(queue: Queue) -> None:
    """The same lane makes no event; "default" is a lane like others, and no lane is none."""
    queue.new({}, key="one")
    queue.update("one", lane="default")
    head = queue.log.head().seq
    queue.update("one", lane="mail")
    queue.update("one", lane="mail", priority=3)
    bodies: list[Any] = [event.body for event in queue.history("one")]

    assert head == 1
    assert [(body.lane, body.priority) for body in bodies[1:]] == [("mail", None), (None, 3)]


@pytest.mark.parametrize("lane", ["", "a b", "x" * 129, "-x", 7])
def test_a_lane_is_a_name(queue: Queue, lane: Any) -> None:  # noqa: ANN401 - what is none
    """As where a task is made."""
    queue.new({}, key="one")

    with pytest.raises(ArgumentError, match="lane"):
        queue.update("one", lane=lane)
    with pytest.raises(ArgumentError, match="lane"):
        queue.select(key="one").update(lane=lane)
    assert queue.log.head().seq == 1


def test_what_runs_or_is_final_stays_in_its_lane(queue: Queue) -> None:
    """The same rule as for priorities."""
    refused: list[str] = []

    def work(_ctx: Context, task: Task) -> None:
        with pytest.raises(NotAllowedError) as caught:
            queue.update(task.key, lane="mail")
        refused.append(str(caught.value))

    queue.new({}, key="one")
    queue.run(work, until="idle", signals=False)
    with pytest.raises(NotAllowedError, match="it is completed"):
        queue.update("one", lane="mail")

    assert ["leased" in each for each in refused] == [True]


def test_it_is_kept_through_a_task_s_life(queue: Queue) -> None:
    """By its key it is still the same task; a retry, a repeat and a snapshot have the new lane."""
    queue.new({"n": 1}, key="one", lane="mail")
    first = queue.new({}, key="first")
    queue.new({}, key="waits", after=[first])
    queue.update("one", lane="heavy")
    queue.update("waits", lane="heavy")
    again = queue.new({"n": 1}, key="one", lane="mail")
    queue.cancel("one")
    queue.retry("one")
    reopened: Any = queue.history("one")[-1].body
    queue.cancel("one")
    twin = queue.repeat("one")
    projection = replay(queue.log)

    assert again.number == 1
    assert (reopened.reopens.lane, twin.lane) == ("heavy", "heavy")
    assert projection.waits.counts == {("heavy", None): 1}
    assert decode(encode(take(projection))) == take(projection)
    projection.check()


def test_many_are_moved_and_it_is_taken_back(queue: Queue) -> None:
    """Each goes back to the lane that it had; what is there already has moved on."""
    for lane in ("mail", "heavy", "default"):
        queue.new({}, key=lane, lane=lane)
    plan = queue.select(state="ready").update(lane="heavy")
    done = plan.apply(by="ada")
    moved = [lane_of(queue, key) for key in ("mail", "heavy", "default")]
    undone = queue.undo(done.id).apply()
    back = [lane_of(queue, key) for key in ("mail", "heavy", "default")]
    queue.undo(undone.id).apply()
    bulk: Any = queue.log.read(after=3, limit=1)[0].bodies[0]

    assert (plan.count, done.changed, moved) == (3, 2, ["heavy"] * 3)
    assert '"lane":"heavy"' in bulk
    assert back == ["mail", "heavy", "default"]
    assert [lane_of(queue, key) for key in ("mail", "heavy", "default")] == moved


def test_one_edit_is_taken_back(queue: Queue) -> None:
    """With its other fields, exactly; what it has not changed it does not name."""
    queue.new({}, key="one", priority=1)
    queue.update("one", lane="mail", priority=2)
    queue.undo(2).apply()
    task = queue.get("one")
    queue.update("one", priority=2)
    queue.undo(queue.log.head().seq).apply()
    last: Any = queue.history("one")[-1].body

    assert task is not None
    assert (task.lane, task.priority) == ("default", 1)
    assert (last.priority, last.lane) == (1, None)


def test_limits_pauses_and_turns_go_by_the_new_lane(queue: Queue) -> None:
    """It is held by the pause of the lane that it has come to, and by no other one."""
    queue.set_limit("smtp", running=1)
    queue.fair(per="tenant")
    queue.pause(lane="mail")
    for key, lane in (("in", "default"), ("out", "mail"), ("stays", "mail")):
        queue.new({"tenant": key}, key=key, lane=lane, limits=["smtp"])
    queue.update("in", lane="mail")
    queue.update("out", lane="heavy")
    taken = [run_lane(queue, lane) for lane in ("default", "mail", "heavy")]
    queue.resume(lane="mail")

    assert taken == [[], [], ["out"]]
    assert run_lane(queue, "mail") == ["in", "stays"]


def test_a_run_that_rests_is_woken(tmp_path: Path) -> None:
    """In this process and through another node on the same file."""
    url, done = f"sqlite:///{tmp_path}/log.db", threading.Semaphore(0)
    handlers = Handlers()

    @handlers.task("work")
    def work() -> None:
        done.release()

    with Queue(url, workers=1, handlers=[handlers]) as queue, Queue(url) as other:
        for key in ("one", "two"):
            queue.new({}, key=key, name="work")
        run = threading.Thread(target=lambda: queue.run(lanes=["heavy"], signals=False))
        run.start()
        queue.update("one", lane="heavy")
        is_woken = done.acquire(timeout=SOON_S)
        other.update("two", lane="heavy")
        is_woken_by_other = done.acquire(timeout=SOON_S)
        queue.stop()
        run.join()
        check_log(queue.log)

    assert (is_woken, is_woken_by_other) == (True, True)


def test_asyncio_has_the_same(tmp_path: Path) -> None:
    """One task, and many."""

    async def use() -> list[str]:
        async with AsyncQueue(f"sqlite:///{tmp_path}/log.db") as queue:
            await queue.new({}, key="one")
            task = await queue.update("one", lane="mail")
            plan = await queue.select(lane="mail").update(lane="heavy")
            await plan.apply()
            last = await queue.get("one")
            assert last is not None
            return [task.lane, last.lane]

    assert asyncio.run(use()) == ["mail", "heavy"]


def test_the_catalog_has_the_lane_of_each_moment(queue: Queue, tmp_path: Path) -> None:
    """Filters and records at any position, with the catalog and by a pass without one."""
    queue.new({}, key="one", name="send")
    queue.new({}, key="two", name="send", lane="mail")
    queue.update("one", lane="mail")
    queue.update("two", lane="default")
    queue.update("one", lane="default")
    queue.update("one", lane="heavy")
    wanted = {
        2: (["one"], ["two"], []),
        3: ([], ["one", "two"], []),
        4: (["two"], ["one"], []),
        5: (["one", "two"], [], []),
        6: (["two"], [], ["one"]),
    }
    at = queue.log.head().at
    with closing(Catalog.open(queue.log, tmp_path / "x.catalog")) as catalog:
        catalog.catch_up()
        for seq, keys in wanted.items():
            point = Point(seq, at)
            for lane, expected in zip(("default", "mail", "heavy"), keys, strict=True):
                for selector in (Selector(lanes=(lane,)), Selector(("ready",), lanes=(lane,))):
                    found = catalog.find(selector, point)
                    assert [record.key for record in found] == expected, (seq, lane)
                    assert {record.lane for record in found} <= {lane}
                    assert list(pass_over(queue.log, selector, point)) == found
                named = Selector(names=("send",), lanes=(lane,))
                assert [r.key for r in pass_over(queue.log, named, point)] == expected


def test_failures_are_counted_in_the_lane_that_they_came_in(queue: Queue, tmp_path: Path) -> None:
    """Whatever lane the task is in since."""

    def fail(_ctx: Context, _task: Task) -> None:
        raise ValueError

    queue.new({}, key="one", max_retries=0)
    queue.update("one", lane="mail")
    queue.run(fail, lanes=["mail"], until="idle", signals=False)
    queue.retry("one")
    queue.update("one", lane="heavy")
    with closing(Catalog.open(queue.log, tmp_path / "x.catalog")) as catalog:
        catalog.catch_up()
        found = [len(catalog.errors(lanes=[lane])) for lane in ("mail", "heavy", "default")]

    assert found == [1, 0, 0]
