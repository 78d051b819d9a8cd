"""Lists of final tasks: read from the end of the log, newest first, and no further than needed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from eventq import ArgumentError, Cancel, LogArchivedError, NotAllowedError, Queue, Task
from eventq.archive import archive_events, delete_archived, find_end
from eventq.core.commits import Commit
from eventq.eventlog.memory import MemoryLog, MemoryStorage
from eventq.replay import query
from eventq.replay.fold import BACK_EVENTS
from eventq.replay.points import find_point
from tests.support import ManualClock, node_of, queue_on

FINAL = ["completed", "expired", "cancelled"]


class CountingLog(MemoryLog):
    """A log in memory that counts the events it has given."""

    given = 0

    def read(self, *, after: int, limit: int = 10_000) -> list[Commit]:
        """See EventLog.read."""
        commits = super().read(after=after, limit=limit)
        self.given += sum(len(commit.bodies) for commit in commits)
        return commits


def worker(_: object, task: Task) -> object:
    """Ends a task as its tag says."""
    if task.tags["end"] == "cancel":
        raise Cancel
    if task.tags["end"] == "fail":
        raise ValueError
    return task.number


def keys(tasks: list[Task]) -> list[str]:
    """The keys of the tasks, in order."""
    return [task.key for task in tasks]


@pytest.fixture
def log() -> CountingLog:
    """An empty log."""
    return CountingLog(MemoryStorage(), url="memory://", namespace="n")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lookups", [0, 3, 1_000])
def test_any_limit_gives_the_beginning_of_the_whole_list(
    log: CountingLog, monkeypatch: pytest.MonkeyPatch, seed: int, lookups: int
) -> None:
    """Tasks end, are brought back, end otherwise, or are open; the order is by their last end."""
    draw = random.Random(seed)
    queue = queue_on(log, workers=1, max_retries=0, clock=ManualClock())
    for _ in range(12):
        specs = [{"end": draw.choice(["", "cancel", "fail"]), "n": n} for n in range(8)]
        made = queue.new_many(specs)
        for task in draw.sample(made, 2):
            queue.cancel(task.key)
        queue.run(worker, until="idle")
        for task in draw.sample(queue.tasks(state=["expired", "cancelled"]), 3):
            queue.retry(task.key)
            if draw.random() < 0.5:
                queue.cancel(task.key)
    queue.new({"end": "open"})

    for states in (
        FINAL,
        ["expired"],
        ["cancelled"],
        ["completed", "expired"],
        ["expired", "ready"],
    ):
        for tags in (None, {"n": 3}, {"end": "fail", "n": 1}, {"n": 77}):
            monkeypatch.setattr(query, "LOOKUPS", -1)
            whole = queue.tasks(state=states, tags=tags)
            monkeypatch.setattr(query, "LOOKUPS", lookups)
            for limit in (1, 2, 7, 1_000, None):
                assert queue.tasks(state=states, tags=tags, limit=limit) == whole[:limit]
    queue.close()


def test_a_short_list_reads_the_end_alone(log: CountingLog) -> None:
    """However long the log is; and where no such task is, nothing."""
    queue = queue_on(log, workers=8, max_retries=0)
    queue.new({"end": "fail"}, key="old")
    for _ in range(4):
        queue.new_many([{"end": ""}] * 1_000)
        queue.run(worker, until="idle")
    queue.new({"end": "fail"}, key="late")
    queue.run(worker, until="idle")
    assert queue.stats().seq > 12_000
    log.given = 0

    assert keys(queue.tasks(state="expired", limit=1)) == ["late"]
    assert len(queue.tasks(state=FINAL, limit=10)) == 10
    assert queue.tasks(state="cancelled") == []
    # A piece begins with a whole commit.
    assert log.given <= 2 * (BACK_EVENTS + 1_000)
    assert keys(queue.tasks(state="expired")) == ["late", "old"]
    queue.close()


def test_a_late_outcome_changes_nothing(log: CountingLog) -> None:
    """What comes after a task's end without changing it is passed over."""
    queue = queue_on(log, workers=1, max_retries=0)
    queue.new({"end": ""}, key="k")
    queue.run(lambda *_: queue.cancel("k").key, until="idle")
    queue.new({"end": ""}, key="l")
    queue.run(worker, until="idle")

    assert queue.stats().refused == 1
    assert keys(queue.tasks(state=FINAL, limit=5)) == ["l", "k"]
    assert keys(queue.tasks(state="cancelled", limit=5)) == ["k"]
    queue.close()


def test_what_is_archived_is_asked_for_only_when_needed(tmp_path: Path) -> None:
    """A short list of what the log holds is given; one that goes further names the archive."""
    url, folder = f"sqlite:///{tmp_path}/eventq.db", tmp_path / "old"
    with Queue(url, workers=1, max_retries=0) as queue:
        queue.new_many([{"end": "fail"}] * 3)
        queue.run(worker, until="idle")
        log = queue.log
        until = find_end(log, find_point(log, "end", now=node_of(queue).now(), argument="until"))
        queue.new({"end": "fail"}, key="late")
        queue.run(worker, until="idle")
        archive_events(log, str(folder), until=until)
        delete_archived(log, str(folder), until=until, now=node_of(queue).now())

        assert keys(queue.tasks(state="expired", limit=1)) == ["late"]
        with pytest.raises(LogArchivedError):
            queue.tasks(state="expired", limit=2)
    with Queue(url, archive=folder) as queue:
        assert len(queue.tasks(state="expired", limit=2)) == 2
        assert len(queue.tasks(state="expired")) == 4


class TestSlips:
    """What newcomers write, and what they are told."""

    @pytest.mark.parametrize("limit", [0, -1, True, "5", 1.0])
    def test_a_wrong_limit_says_how_to_have_none(self, limit: object) -> None:
        """0 might mean none or all, so it is neither."""
        with Queue("memory://") as queue, pytest.raises(ArgumentError) as found:
            queue.tasks(limit=limit)  # type: ignore[arg-type]

        assert found.value.expected == "a whole number of at least 1, or None for no limit"

    @pytest.mark.parametrize("name", ["get", "history", "cancel", "retry", "update"])
    def test_a_number_as_key_is_told_to_be_text(self, name: str) -> None:
        """With the very word to write."""
        with Queue("memory://") as queue, pytest.raises(ArgumentError) as found:
            getattr(queue, name)(5)

        assert str(found.value) == (
            "key: expected text; a task's number too is given as text, '5', got 5"
        )

    def test_tags_may_be_named(self) -> None:
        """``new(tags=...)`` is what many write first."""
        with Queue("memory://") as queue:
            task = queue.new(tags={"a": "b"}, priority=1)  # type: ignore[call-overload]
            assert task.tags == {"a": "b"}

    def test_a_task_that_is_final_is_told_by_its_own_error(self) -> None:
        """Not by that of a queue that is running."""
        with Queue("memory://") as queue:
            queue.new({"end": ""}, key="k")
            queue.run(worker, until="idle")
            with pytest.raises(NotAllowedError):
                queue.cancel("k")
