"""What changed between two points of a log, and between two logs: compared with whole folds."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from eventq import ArgumentError, Queue, Task, TaskState
from eventq.audit.diff import (
    LogDifference,
    common_position,
    diff_logs,
    diff_points,
    ended_otherwise,
    find_until,
    passed_tasks,
)
from eventq.core.command import NEW, Draft
from eventq.core.events import Cancelled, Created, Reopening, Retried
from eventq.core.moves import fold_events
from eventq.core.projection import Projection
from eventq.core.task import FINAL
from eventq.core.values import Policy
from eventq.eventlog import EventLog, open_log
from eventq.replay.fold import replay, task_history
from eventq.replay.points import Point, find_point
from eventq.snapshot import TaskDifference, compare
from tests.driver import memory_log, record
from tests.support import ManualClock

FIRST, SECOND = "memory://first-log", "memory://second-log"


def begin(url: str, clock: ManualClock) -> Queue:
    """A queue with tasks that end, are reopened and end again."""
    queue = Queue(url, clock=clock, workers=1, max_retries=0)
    queue.new({"n": 1}, key="one")
    queue.new({"n": 2})
    queue.new({"n": 3, "end": "fail"})
    queue.cancel("2")
    queue.retry("2")
    queue.run(worker, until="idle")
    clock.advance(10)
    queue.retry("3")
    queue.new({"n": 4}, key="four")
    queue.cancel("four")
    queue.retry("four")
    queue.cancel("four")
    queue.update("3", priority=7)
    queue.new({"n": 5}, key="five", delay="1h")
    clock.advance(10)
    return queue


def worker(_: object, task: Task) -> object:
    """Does what the tags say."""
    if task.tags.get("end") == "fail":
        raise ValueError("broken")
    return task.tags["n"]


@pytest.fixture(scope="module")
def logs() -> Iterator[tuple[EventLog, EventLog]]:
    """Two logs that part: what is open in both ends differently."""
    clock = ManualClock()
    with begin(FIRST, clock) as queue, Queue(SECOND, clock=clock, max_retries=0) as other:
        log, copy = queue.log, other.log
        for commit in log.read(after=0):
            copy.append(commit)
        queue.cancel("3", reason="enough")
        other.update("3", tags={"n": 3})
        other.run(worker, until="idle")
        queue.new({"n": 6}, key="mine")
        other.new({"n": 7}, key="both")
        queue.update("five", priority=1)
        queue.cancel("mine")
        queue.new({"n": 7, "more": 1}, key="both")
        other.new({"n": 8}, key="theirs")
        yield log, copy


def stories(log: EventLog, seq: int) -> dict[int, Task]:
    """All tasks, final ones too, as they stood at a position."""
    found = {}
    for number in range(1, seq + 1):
        history = [event for event in task_history(log, number) if event.seq <= seq]
        task = fold_events(log.namespace, history)
        if task is not None:
            found[number] = task
    return found


def point(log: EventLog, value: int | str) -> Point:
    """A point of the log; the end is its last instant."""
    return find_point(log, value, now=0)


def test_two_points_are_what_whole_folds_say(logs: tuple[EventLog, EventLog]) -> None:
    """Every pair of positions: what is open, what became of the rest, and what passed."""
    log, _ = logs
    last = log.head().seq
    for before, after in itertools.combinations_with_replacement(range(last + 1), 2):
        old, new = stories(log, before), stories(log, after)
        found = diff_points(log, point(log, before), point(log, after))

        assert found.open == compare(replay(log, until=before), replay(log, until=after))
        for task in found.open.tasks:
            if task.vanished:
                assert found.elsewhere[task.key] == new[task.number]
            elif task.appeared:
                assert found.elsewhere.get(task.key) == old.get(task.number)
        passed = [
            task
            for number, task in new.items()
            if task.recorded_state in FINAL
            and is_final(old.get(number))
            and any(before < event.seq <= after for event in task_history(log, number))
        ]
        listed = list(passed_tasks(log, point(log, before), point(log, after)))
        assert sorted(listed, key=lambda task: task.number) == passed
        counted = Counter(str(task.recorded_state) for task in passed)
        assert found.passed == {state: counted[state] for state in found.passed}
        assert found.is_empty == (before == after)
        assert found.same_until == before


def is_final(task: Task | None) -> bool:
    """Whether it was not open: final, or not there."""
    return task is None or task.recorded_state in FINAL


def test_points_in_the_wrong_order(logs: tuple[EventLog, EventLog]) -> None:
    """A difference has a direction."""
    log, _ = logs

    with pytest.raises(ArgumentError, match="a point after A, position 5"):
        diff_points(log, point(log, 5), point(log, 4))


def test_time_alone_is_a_difference() -> None:
    """The same position, and an instant later a task is ready."""
    clock = ManualClock()
    with Queue("memory://later", clock=clock) as queue:
        queue.new(delay="1h")
        log = queue.log
        found = diff_points(log, point(log, 1), Point(1, clock.now_us() + 3_600_000_000))

    [task] = found.open.tasks
    assert task.fields == {"state": ("scheduled", "ready")}
    assert not found.is_empty


def between(logs: tuple[EventLog, EventLog]) -> LogDifference:
    """What is different at the end of the second log."""
    return diff_logs(logs[0], point(logs[0], "end"), logs[1], point(logs[1], "end"))


def test_logs_are_the_same_until_they_part(logs: tuple[EventLog, EventLog]) -> None:
    """The last position they share is found, whatever is asked about."""
    first, second = logs
    parted = max(
        commit.last
        for commit, other in zip(first.read(after=0), second.read(after=0), strict=False)
        if commit == other
    )

    limit = min(log.head().seq for log in logs)
    assert [common_position(first, second, n) for n in range(limit + 1)] == [
        min(n, parted) for n in range(limit + 1)
    ]
    assert between(logs).same_until == parted
    assert diff_logs(first, point(first, parted), second, point(second, parted)).is_empty
    assert common_position(first, open_log("memory://third-log"), 0) == 0


def test_tasks_of_two_logs_are_the_same_by_their_keys(logs: tuple[EventLog, EventLog]) -> None:
    """Also where their numbers differ; what is open in one only is told with its end."""
    found = between(logs)

    changes = {task.key: task for task in found.open.tasks}
    assert set(changes) == {"both", "five", "theirs"}
    assert changes["both"].fields["tags"] == ({"n": 7, "more": 1}, {"n": 7})
    assert changes["five"].fields == {"priority": (1, 0)}
    assert changes["theirs"].appeared
    assert found.elsewhere == {}
    assert not found.is_empty


def test_open_in_one_log_and_final_in_the_other(logs: tuple[EventLog, EventLog]) -> None:
    """The end in the other log stands beside it, in both directions."""
    first, second = logs
    parted = between(logs).same_until
    there = diff_logs(first, point(first, parted), second, point(second, "end"))
    back = diff_logs(second, point(second, "end"), first, point(first, parted))

    for found in (there, back):
        assert found.elsewhere["3"].state is TaskState.COMPLETED
        assert not found.is_empty
        assert "3" not in ends(logs if found is there else logs[::-1], found, one_sided=True)
    assert {task.key: task.vanished for task in there.open.tasks}["3"] is True
    assert {task.key: task.appeared for task in back.open.tasks}["3"] is True


def ends(
    logs: tuple[EventLog, EventLog], found: LogDifference, *, one_sided: bool
) -> dict[str, object]:
    """The states in both logs of tasks that ended otherwise, by key; each comes once."""
    listed: list[TaskDifference] = list(ended_otherwise(*logs, found, one_sided=one_sided))
    assert len({task.key for task in listed}) == len(listed)
    return {task.key: task.fields["state"] for task in listed}


def test_tasks_that_ended_otherwise(logs: tuple[EventLog, EventLog]) -> None:
    """Final in both, but not the same; what exists in one only is told when asked for."""
    found = between(logs)
    first, second = logs
    back = diff_logs(second, point(second, "end"), first, point(first, "end"))

    assert ends(logs, found, one_sided=False) == {"3": ("cancelled", "completed")}
    assert ends(logs, found, one_sided=True) == {
        "3": ("cancelled", "completed"),
        "mine": ("cancelled", None),
    }
    assert ends((second, first), back, one_sided=True) == {
        "3": ("completed", "cancelled"),
        "mine": (None, "cancelled"),
    }


def test_ended_before_the_parting_and_reopened_in_one_log() -> None:
    """It ended in the first log long ago, and otherwise in the second one since."""
    clock = ManualClock()
    urls = ("memory://reopened-1", "memory://reopened-2")
    with Queue(urls[0], clock=clock) as queue, Queue(urls[1], clock=clock) as other:
        logs = queue.log, other.log
        queue.new(key="one")
        queue.cancel("one")
        for commit in logs[0].read(after=0):
            logs[1].append(commit)
        other.retry("one")
        other.run(lambda *_: "done", until="idle")
        found = between(logs)

        assert ends(logs, found, one_sided=False) == {"one": ("cancelled", "completed")}


def test_finding_by_key_at_a_position(logs: tuple[EventLog, EventLog]) -> None:
    """By a caller's key or a number, but never a keyed task by its number."""
    log, _ = logs
    end = log.head().seq

    assert [find_until(log, key, 1) is None for key in ("one", "1", "2", "four")] == [
        False,
        True,
        True,
        True,
    ]
    assert [find_until(log, key, end) for key in ("0", "999", "no", "٢", "9" * 30)] == [None] * 5


def test_other_ends_with_equal_numbers_are_a_difference() -> None:
    """Two logs whose numbers and open tasks are the same, but not their histories."""
    clock = ManualClock()
    with Queue("memory://equal-1", clock=clock) as one, Queue("memory://equal-2") as other:
        logs = one.log, other.log
        one.new(key="a")
        logs[1].append(logs[0].read(after=0)[0])
        one.cancel("a", reason="here")
        other.cancel("a", reason="there")
        found = between(logs)

        assert found.open.is_empty
        assert not found.is_empty


POLICY = Policy("constant", 1)


def test_ends_inside_commits_and_ends_again() -> None:
    """A point between two ends of one commit, and a task that is reopened twice."""
    log = memory_log()
    reopens = Reopening("cancelled", POLICY, 0, 0)
    projection = Projection(log.namespace)
    again: list[Draft] = [(3, Retried(0, reopens=reopens)), (3, Cancelled())]
    new: Draft = (NEW, Created(POLICY))
    ends: list[Draft] = [(number, Cancelled()) for number in (1, 2, 3)]
    record(log, projection, [new, new, new], now=1)
    record(log, projection, ends, now=1)
    record(log, projection, [*again, *again], now=2)

    passed: dict[int, list[int]] = {}
    for before in range(log.head().seq + 1):
        found = diff_points(log, point(log, before), point(log, "end"))
        listed = list(passed_tasks(log, found.before, found.after))
        assert found.passed["cancelled"] == len(listed)
        passed[before] = [task.number for task in listed]
    # Each open task ends, and is no passed one; what has ended before counts if it is reopened.
    assert passed == {
        0: [1, 2, 3],
        1: [2, 3],
        2: [3],
        3: [],
        4: [],
        5: [],
        6: [3],
        7: [],
        8: [3],
        9: [],
        10: [],
    }
