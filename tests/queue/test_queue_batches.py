"""Keys and batches: one key is one task, and a batch is cut into commits that fit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eventq import ArgumentError, Backoff, KeyConflictError, Queue, TaskSpec, TaskState
from eventq.core.task import EPOCH
from eventq.core.values import COMMIT_BYTES
from tests.checker import check_log
from tests.support import ManualClock, Spawned


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
    """A queue with the defaults of all options; what it leaves must be a good log."""
    with Queue(url, clock=clock) as queue:
        yield queue
        check_log(queue.log)


def now(clock: ManualClock) -> datetime:
    """The clock's instant."""
    return EPOCH + timedelta(microseconds=clock.us)


class TestKeys:
    """A key is one task."""

    def test_the_same_call_again_gives_the_same_task(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        """Repeating a call appends nothing, even later, and shows the task as it is now."""
        options: dict[str, Any] = {"key": "k", "delay": 60, "max_age": "1h", "backoff": "1s"}
        first = queue.new({"b": 1, "a": [1, 2]}, **options)
        clock.advance(120)

        again = queue.new({"a": [1, 2], "b": 1}, **options)

        assert again.number == first.number
        assert again.state is TaskState.READY
        assert again.age == timedelta(seconds=120)
        assert queue.stats().seq == 1

    @pytest.mark.parametrize(
        "tags, options, differs",
        [
            ({"a": 2}, {}, "tags"),
            ({"a": True}, {}, "tags"),
            ({"a": 1}, {"priority": 1}, "priority"),
            ({"a": 1}, {"delay": 5}, "scheduled_at"),
            ({"a": 1}, {"expires_at": datetime(2999, 1, 1, tzinfo=UTC)}, "expires_at"),
        ],
    )
    def test_the_same_key_for_other_content_is_an_error(
        self, queue: Queue, tags: dict[str, Any], options: dict[str, Any], differs: str
    ) -> None:
        """The error names the key, the task that has it, and what differs."""
        queue.new({"a": 1}, key="k")

        with pytest.raises(KeyConflictError, match=differs) as caught:
            queue.new_many([TaskSpec(tags, key="k", **options)])
        assert (caught.value.key, caught.value.task, caught.value.differs) == ("k", 1, differs)
        assert queue.stats().seq == 1

    def test_a_key_outlives_a_change_of_policy(self, queue: Queue) -> None:
        """How a task is retried is not what it is: other defaults still find the task."""
        first = queue.new({"a": 1}, key="k", max_retries=1, backoff="1s")

        again = queue.new({"a": 1}, key="k", max_retries=5, max_age="1h")

        assert again.number == first.number
        assert queue.stats().seq == 1

    def test_a_final_task_keeps_its_key(self, queue: Queue) -> None:
        """The same call gives a cancelled task back as it is; it is not created anew."""
        queue.new(key="k")
        queue.cancel("k")

        task = queue.new(key="k")

        assert task.state is TaskState.CANCELLED
        assert queue.stats().total == 1

    def test_a_key_twice_in_a_batch_is_one_task(self, queue: Queue) -> None:
        """Equal specs share the task, and the others keep their places in the result."""
        queue.new({"old": 1}, key="old")

        tasks = queue.new_many(
            [
                TaskSpec({"a": 1}, key="k"),
                {"b": 2},
                TaskSpec({"a": 1}, key="k"),
                TaskSpec({"old": 1}, key="old"),
            ]
        )

        assert [task.key for task in tasks] == ["k", "3", "k", "old"]
        assert [task.number for task in tasks] == [2, 3, 2, 1]

    def test_a_key_twice_in_a_batch_with_other_content_is_an_error(self, queue: Queue) -> None:
        """The whole batch is refused."""
        with pytest.raises(KeyConflictError, match="another task of the same call"):
            queue.new_many([{"x": 0}, TaskSpec({"a": 1}, key="k"), TaskSpec({"a": 2}, key="k")])
        assert queue.stats().seq == 0

    def test_many_threads_create_one_key_once(self, queue: Queue) -> None:
        """Whoever comes first creates it; all get the same task."""
        start = threading.Barrier(8)

        def create() -> list[int]:
            start.wait()
            return [queue.new({"n": turn}, key=f"key-{turn}").number for turn in range(20)]

        threads = [Spawned(create) for _ in range(8)]
        results = [thread.result() for thread in threads]

        assert all(result == results[0] for result in results)
        assert queue.stats().total == 20


class TestNewMany:
    """Batches."""

    def test_an_empty_batch_does_nothing(self, queue: Queue) -> None:
        """No tasks, no commit."""
        assert queue.new_many([]) == []
        assert queue.stats().seq == 0

    def test_a_batch_is_one_commit(self, queue: Queue) -> None:
        """A thousand tasks, from any iterable, are appended together and in order."""
        tasks = queue.new_many({"n": number} for number in range(1_000))

        assert [task.tags["n"] for task in tasks] == list(range(1_000))
        assert len(queue.log.read(after=0)) == 1

    def test_a_large_batch_is_cut_in_order(self, queue: Queue) -> None:
        """More than a thousand tasks are commits of a thousand, one after the other."""
        tasks = queue.new_many(({"n": number} for number in range(2_500)), priority=3)

        assert [task.number for task in tasks] == list(range(1, 2_501))
        assert [len(commit.bodies) for commit in queue.log.read(after=0)] == [
            1_000, 1_000, 500,
        ]  # fmt: skip

    def test_heavy_tasks_are_cut_by_size(self, queue: Queue, clock: ManualClock) -> None:
        """No commit grows beyond a mebibyte, with every option at its longest."""
        far = now(clock) + timedelta(days=10_000)
        backoff = Backoff.exponential(1 / 3, cap="36524d23h59m59s", jitter=1 / 3)
        specs = [
            TaskSpec(
                {"a": "x" * (60_000 if index % 50 == 0 else 700)},
                key=f'"{index:0>4}' + '"' * 240,
                priority=-(2**31),
                scheduled_at=far,
                expires_at=far + timedelta(microseconds=1),
                max_retries=2**31,
                deadline="36524d23h59m59s",
                backoff=backoff,
            )
            for index in range(1_500)
        ]

        queue.new_many(specs)

        sizes = [len("".join(commit.bodies).encode()) for commit in queue.log.read(after=0)]
        assert max(sizes) <= COMMIT_BYTES
        assert min(sizes[:-1]) > COMMIT_BYTES // 3

    def test_one_bad_item_stops_all(self, queue: Queue) -> None:
        """Every item is checked before the first commit, and the error tells which one it was."""
        items: list[dict[str, Any]] = [{"n": number} for number in range(1_200)]
        items[1_100] = {"bad name": 1}

        with pytest.raises(ArgumentError, match=r"tasks\[1100\]: tags"):
            queue.new_many(items)
        assert queue.stats().seq == 0
