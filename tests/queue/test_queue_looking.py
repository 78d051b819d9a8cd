"""Looking at a queue and managing it: get, tasks, history, events, stats, cancel, retry, update."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from eventq import (
    ArgumentError,
    Cancel,
    NotAllowedError,
    Queue,
    QueueClosedError,
    Retry,
    Task,
    TaskNotFoundError,
    TaskState,
)
from eventq.core.lease import Renew
from tests.checker import check_log
from tests.support import ManualClock, Spawned, node_of, wait_until


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new queue may be."""
    return f"sqlite:///{tmp_path}/eventq.db" if request.param == "sqlite" else "memory://"


@pytest.fixture
def clock() -> ManualClock:
    """A clock to move."""
    return ManualClock()


@pytest.fixture
def queue(url: str, clock: ManualClock) -> Iterator[Queue]:
    """A queue of one worker without retries; what it leaves must be a good log."""
    with Queue(url, clock=clock, workers=1, max_retries=0) as queue:
        yield queue
        check_log(queue.log)


def drain(queue: Queue) -> None:
    """Runs all tasks by what their tag ``end`` says."""

    def worker(_: object, task: Task) -> object:
        end = task.tags.get("end")
        if end == "cancel":
            raise Cancel("pointless")
        if end == "fail":
            raise ValueError("broken")
        return end

    queue.run(worker, until="idle")


def keys(tasks: list[Task]) -> list[str]:
    """The keys of the tasks, in their order."""
    return [task.key for task in tasks]


class TestLooking:
    """Questions."""

    def test_get_finds_by_key_or_number_open_or_final(self, queue: Queue) -> None:
        """A keyed task is found by its key only, another by its number; None means none."""
        queue.new(key="mine")
        queue.new({"end": "well"})

        assert [queue.get("mine"), queue.get("2")] == queue.tasks()
        drain(queue)
        found = queue.get("2")
        assert found is not None
        assert (found.state, found.result) == (TaskState.COMPLETED, "well")
        assert [queue.get(key) for key in ("1", "3", "0", "007", "9" * 255, "other")] == [None] * 6

    def test_number_zero_is_no_task_whatever_the_nodes_did(self, queue: Queue) -> None:
        """Events about nodes are kept under number 0, which is nobody's task."""
        task = queue.new()
        append_renewal(queue)

        assert queue.get("0") is None
        with pytest.raises(TaskNotFoundError):
            queue.history("0")
        with pytest.raises(TaskNotFoundError):
            queue.cancel("0")
        assert keys(queue.tasks()) == [task.key]

    def test_tasks_come_in_dispatch_order(self, queue: Queue, clock: ManualClock) -> None:
        """Highest priority first, then the earliest instant, then the lowest number."""
        for key, priority, delay in (
            ("late", 9, 60), ("low", -1, 0), ("first", 5, 0), ("soon", 0, 30), ("second", 5, 0),
        ):  # fmt: skip
            queue.new(key=key, priority=priority, delay=delay)

        assert keys(queue.tasks()) == ["first", "second", "low", "soon", "late"]
        clock.advance(60)
        assert keys(queue.tasks()) == ["late", "first", "second", "soon", "low"]

    def test_tasks_are_filtered_by_state(self, queue: Queue) -> None:
        """One state, several, as enum or text; final ones come from the log, newest first."""
        for end in ("well", "cancel", "fail", "fine"):
            queue.new({"end": end}, key=end)
        drain(queue)
        queue.new(key="ready")
        queue.new(key="later", delay="1h")

        assert keys(queue.tasks()) == ["ready", "later"]
        assert keys(queue.tasks(state="ready")) == ["ready"]
        assert keys(queue.tasks(state=TaskState.SCHEDULED)) == ["later"]
        assert keys(queue.tasks(state="completed")) == ["fine", "well"]
        assert keys(queue.tasks(state="expired")) == ["fail"]
        assert keys(queue.tasks(state=["cancelled", TaskState.SCHEDULED])) == ["later", "cancel"]
        assert queue.tasks(state="leased") == queue.tasks(state=[]) == []

    def test_a_running_task_is_listed_as_leased(self, queue: Queue) -> None:
        """While a worker has a task, it is leased, with its attempt and node."""
        queue.new()
        seen: list[Task] = []

        queue.run(lambda _ctx, _task: seen.extend(queue.tasks(state="leased")), until="idle")

        assert [(task.state, task.attempt) for task in seen] == [(TaskState.LEASED, 1)]
        assert seen[0].worker == node_of(queue).name

    def test_tasks_are_filtered_by_tags_and_limited(self, queue: Queue) -> None:
        """All tags asked for must be there with these values, as JSON compares them."""
        queue.new({"size": [1, 2], "kind": "a"}, key="one")
        queue.new({"size": [1, 2], "kind": "b"}, key="two")
        queue.new({"size": 1}, key="three")

        assert keys(queue.tasks(tags={"size": [1, 2]})) == ["one", "two"]
        assert keys(queue.tasks(tags={"size": (1, 2), "kind": "b"})) == ["two"]
        assert keys(queue.tasks(tags={"size": True})) == []
        assert keys(queue.tasks(tags={"other": None})) == []
        assert keys(queue.tasks(tags={}, limit=2)) == ["one", "two"]
        assert keys(queue.tasks(state=["ready", "completed"], limit=9)) == ["one", "two", "three"]

    def test_history_tells_the_whole_story(self, queue: Queue, clock: ManualClock) -> None:
        """Every event of the task in order, with positions and instants, also when final."""
        task = queue.new({"end": "fail"}, key="k", max_retries=1, backoff=0)
        queue.new()
        clock.advance(1)
        drain(queue)

        history = queue.history("k")
        assert [event.kind for event in history] == [
            "created", "leased", "failed", "retried", "leased", "failed", "expired",
        ]  # fmt: skip
        assert {event.task for event in history} == {task.number}
        assert [event.seq for event in history] == sorted(event.seq for event in history)
        assert history[1].at == history[0].at + 1_000_000

    def test_history_of_an_unknown_key_is_an_error(self, queue: Queue) -> None:
        """The error names the key."""
        with pytest.raises(TaskNotFoundError, match="'nobody'"):
            queue.history("nobody")

    def test_events_begin_behind_a_position(self, queue: Queue) -> None:
        """Also in the middle of a commit; behind the end there are none."""
        queue.new_many([{}] * 5)
        queue.cancel("2")

        assert [event.seq for event in queue.events()] == [1, 2, 3, 4, 5, 6]
        assert [event.seq for event in queue.events(after=3)] == [4, 5, 6]
        assert [event.kind for event in queue.events(after=5)] == ["cancelled"]
        assert list(queue.events(after=6)) == list(queue.events(after=2**63)) == []

    def test_following_waits_for_what_others_append(self, queue: Queue) -> None:
        """A follower gets what is there, then each event soon after another thread appended it."""
        queue.new()
        events = queue.events(follow=True)
        assert next(events).seq == 1
        waiting = Spawned(lambda: list(islice(events, 3)))

        queue.new_many([{}, {}])
        queue.new()

        assert [event.seq for event in waiting.result()] == [2, 3, 4]

    def test_following_ends_when_the_queue_is_closed(self, url: str) -> None:
        """A thread that waits for events does not wait for ever on a closed queue."""
        queue = Queue(url)
        queue.new()
        waiting = Spawned(lambda: list(queue.events(follow=True)))
        wait_until(lambda: queue.log.head().seq == 1)

        queue.close()
        waiting.wait()

        assert isinstance(waiting.error, QueueClosedError)

    def test_stats_count_states_and_what_happened(self, queue: Queue) -> None:
        """Tasks by state now, and attempts and failures so far."""
        for end in ("well", "cancel", "fail", "fail"):
            queue.new({"end": end})
        drain(queue)
        queue.new()
        queue.new(delay=60)

        stats = queue.stats()
        assert (stats.scheduled, stats.ready, stats.leased) == (1, 1, 0)
        assert (stats.completed, stats.expired, stats.cancelled) == (1, 2, 1)
        assert (stats.open, stats.total, stats.attempts) == (2, 6, 4)
        assert (stats.failures, stats.refused, stats.nodes) == (3, 0, [])
        assert stats.seq == queue.log.head().seq


def append_renewal(queue: Queue) -> None:
    """Lets the log hold an event about a node."""

    def worker(ctx: object, task: Task) -> None:
        del ctx, task
        node = node_of(queue)
        node.execute(Renew(node.name, 1_000_000))
        raise Retry(delay=0)

    queue.run(worker, until="idle")
    queue.retry("1")


class TestManaging:
    """Commands by hand."""

    def test_cancel_is_final_and_says_who_and_why(self, queue: Queue) -> None:
        """A cancelled task keeps reason and author; cancelling again changes nothing."""
        queue.new(key="k")

        task = queue.cancel("k", reason="typo", by="ada")

        assert (task.state, task.final_reason) == (TaskState.CANCELLED, "typo")
        assert queue.cancel("k", reason="again").final_reason == "typo"
        [_, cancelled] = queue.history("k")
        assert "ada" in repr(cancelled)

    @pytest.mark.parametrize(
        "command, end",
        [
            ("cancel", "well"),
            ("cancel", "fail"),
            ("retry", "well"),
            ("update", "well"),
            ("update", "cancel"),
        ],
    )
    def test_final_tasks_refuse(self, queue: Queue, command: str, end: str) -> None:
        """What the state does not permit is an error naming command, task and state."""
        queue.new({"end": end}, key="k")
        drain(queue)
        before = queue.stats().seq

        with pytest.raises(NotAllowedError, match=f"cannot {command} task 'k'"):
            getattr(queue, command)("k")
        assert queue.stats().seq == before

    @pytest.mark.parametrize("end, state", [("fail", "expired"), ("cancel", "cancelled")])
    def test_retry_reopens_with_fresh_retries(
        self, queue: Queue, clock: ManualClock, end: str, state: str
    ) -> None:
        """An expired or cancelled task is ready again; its age limit counts anew."""
        queue.new({"end": end}, key="k", max_age="1h", max_retries=1, backoff=0)
        drain(queue)
        before = queue.get("k")
        assert before is not None
        assert before.state == state
        clock.advance(7_200)

        task = queue.retry("k", by="ada")

        assert (task.state, task.retry_count) == (TaskState.READY, 0)
        assert task.expires_at == task.scheduled_at + timedelta(hours=1)
        assert task.attempt == before.attempt
        assert task.created_at == before.created_at
        assert keys(queue.tasks()) == ["k"]

    def test_retry_makes_a_waiting_task_ready(self, queue: Queue) -> None:
        """A scheduled task need not wait; one that is ready stays as it is."""
        queue.new(key="k", delay="1h")

        assert queue.retry("k").state is TaskState.READY
        assert queue.retry("k").state is TaskState.READY
        assert queue.stats().seq == 2

    def test_a_running_task_refuses_edits(self, queue: Queue) -> None:
        """A task that a worker has can be neither edited nor retried."""
        queue.new(key="k")
        errors = []

        def worker(ctx: object, task: Task) -> None:
            del ctx
            for command in (queue.retry, queue.update):
                with pytest.raises(NotAllowedError) as caught:
                    command(task.key)
                errors.append(caught.value.state)

        queue.run(worker, until="idle")

        assert errors == ["leased", "leased"]

    def test_update_changes_what_is_given(self, queue: Queue, clock: ManualClock) -> None:
        """Priority, tags and schedule change one by one; tags are replaced as a whole."""
        queue.new({"a": 1, "b": 2}, key="k", priority=1)

        queue.update("k", priority=7)
        queue.update("k", tags={"c": 3}, by="ada")
        queue.update("k", delay="30s")
        task = queue.update("k")

        assert (task.priority, task.tags) == (7, {"c": 3})
        assert task.scheduled_at == task.created_at + timedelta(seconds=30)
        assert task.state is TaskState.SCHEDULED
        assert [event.kind for event in queue.history("k")] == ["created", *["updated"] * 3]
        clock.advance(30)
        assert keys(queue.tasks(state="ready")) == ["k"]

    def test_update_moves_a_task_in_the_order(self, queue: Queue) -> None:
        """A new priority or instant is what counts from then on."""
        for key in ("one", "two", "three"):
            queue.new(key=key)

        queue.update("three", priority=1)
        queue.update("two", scheduled_at=datetime(2020, 1, 1, tzinfo=UTC))

        assert keys(queue.tasks()) == ["three", "two", "one"]

    def test_update_cannot_move_a_task_past_its_expiry(self, queue: Queue) -> None:
        """It could never run; the error names the argument."""
        queue.new(key="k", max_age="1h")

        with pytest.raises(ArgumentError, match="scheduled_at"):
            queue.update("k", delay="2h")

    @pytest.mark.parametrize("command", ["cancel", "retry", "update", "history"])
    def test_unknown_tasks_are_named(self, queue: Queue, command: str) -> None:
        """Every command tells the key nobody has."""
        with pytest.raises(TaskNotFoundError, match="'nobody'"):
            getattr(queue, command)("nobody")


def test_a_forked_child_can_use_the_queue(queue: Queue, url: str) -> None:
    """A child gets a node of its own and works; the parent goes on unharmed."""
    queue.new(key="before")
    name = node_of(queue).name
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            queue.new(key="child")
            found = [node_of(queue).name, *keys(queue.tasks())]
            os.write(write_end, " ".join(found).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read_end) as pipe:
        child_name, *child_keys = pipe.read().split()

    queue.new(key="after")
    assert status == 0
    assert child_name != name
    assert node_of(queue).name == name
    assert child_keys == ["before", "child"]
    shared = ["child"] if url.startswith("sqlite") else []
    assert keys(queue.tasks()) == ["before", *shared, "after"]
