"""Comparing two projections: counts, tasks that came, went or changed, and nodes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from eventq import Queue, Task
from eventq.core.command import Draft
from eventq.core.projection import Projection
from eventq.core.queue_events import Followed, Joined, Left, Unfollowed
from eventq.core.task import Ending, Progress, Rarity, Route, TaskState
from eventq.core.values import NODE, ErrorInfo
from eventq.eventlog import open_log
from eventq.replay.fold import replay
from eventq.snapshot import TaskDifference, compare
from tests.driver import memory_log, record

URL = "memory://compared"


@pytest.fixture(scope="module")
def story() -> list[Projection]:
    """A queue's projections after each of its events: made, edited, worked on, cancelled."""
    with Queue(URL, workers=1, max_retries=0) as queue:
        queue.new({"n": 1}, key="one")
        queue.new({"n": 2})
        queue.update("one", priority=7, tags={"n": 3})
        queue.run(lambda *_: None, until="idle")
    log = open_log(URL)
    return [replay(log, until=seq) for seq in range(log.head().seq + 1)]


def changes(before: Projection, after: Projection) -> dict[str, object]:
    """The differing tasks' fields by key."""
    return {task.key: task.fields for task in compare(before, after).tasks}


def test_a_projection_equals_itself(story: list[Projection]) -> None:
    """Nothing differs between a projection and another fold of the same events."""
    again = replay(open_log(URL), until=4)

    found = compare(story[4], again)

    assert found.is_empty
    assert (found.tasks, found.holders) == ([], [])


def test_new_tasks_appear(story: list[Projection]) -> None:
    """A task that is open in the second only has its state there, and None before."""
    found = compare(story[0], story[2])

    assert [(task.number, task.key, task.fields) for task in found.tasks] == [
        (1, "one", {"state": (None, "ready")}),
        (2, "2", {"state": (None, "ready")}),
    ]
    assert all(task.appeared and not task.vanished for task in found.tasks)
    assert found.counts["ready"] == (0, 2)
    assert found.events["created"] == (0, 2)
    assert not found.is_empty


def test_changed_fields_have_both_values(story: list[Projection]) -> None:
    """Of a task open in both, only what differs is told; tags are values."""
    assert changes(story[2], story[3]) == {
        "one": {"priority": (0, 7), "tags": ({"n": 1}, {"n": 3})}
    }


def test_final_tasks_vanish(story: list[Projection]) -> None:
    """A task that became final has no state in the second, and is in its counts."""
    found = compare(story[3], story[-1])

    assert {task.key: task.fields for task in found.tasks} == {
        "one": {"state": ("ready", None)},
        "2": {"state": ("ready", None)},
    }
    assert all(task.vanished for task in found.tasks)
    assert found.counts["completed"] == (0, 2)


def test_a_lease_is_a_change_of_task_and_node(story: list[Projection]) -> None:
    """State, attempt, fence and worker change, and the node appears among the holders."""
    leased = next(p for p in story if p.leased_count)
    [task] = leased.leased()

    found = compare(story[3], leased)

    assert changes(story[3], leased)["one"] == {
        "state": ("ready", "leased"),
        "attempt": (0, 1),
        "fence": (0, task.fence),
        "worker": (None, task.worker),
        "started_at_us": (None, task.started_at_us),
    }
    [holder] = found.holders
    assert holder.worker == task.worker
    assert holder.fields["leases"] == (None, 1)
    assert holder.fields["seen_seq"] == (None, task.fence)


def test_time_alone_makes_a_task_ready() -> None:
    """Two views of one position differ where an instant lies between them."""
    with Queue("memory://becoming-ready") as queue:
        queue.new(delay="1h")
        early, late = replay(queue.log), replay(queue.log)
    late.advance_to(late.at + 3_600_000_000)

    found = compare(early, late)

    assert found.tasks == [TaskDifference(1, "1", {"state": ("scheduled", "ready")})]
    assert (found.counts["scheduled"], found.counts["ready"]) == ((1, 0), (0, 1))


OTHER_VALUES: dict[str, object] = {
    "namespace": "other",
    "caller_key": "other",
    "priority": 99,
    "tags_json": b'{"n":99}',
    "policy": msgspec.UNSET,
    "created_at_us": 99,
    "scheduled_at_us": 99,
    "expires_at_us": 99,
    "recorded_state": TaskState.LEASED,
    "attempt": 99,
    "retry_count": 99,
    "fence": 99,
    "worker": "other",
    "last_error": ErrorInfo("OSError"),
    "route": Route("other"),
    "started_at_us": 99,
    "ending": Ending(99),
    "rarity": Rarity(lapses=99),
}
# What a part holds is told by the names that Task has for it.
PARTS: dict[str, dict[str, Any]] = {
    "name": {"route": Route("other")},
    "lane": {"route": Route(None, "other")},
    "needs": {"route": Route(needs=("other",))},
    "lapses": {"rarity": Rarity(lapses=99)},
    "snoozes": {"rarity": Rarity(snoozes=99)},
    "newer": {"rarity": Rarity(newer=(9, "other"))},
    "progress": {"rarity": Rarity(progress=Progress(1, 2, "other", 99))},
    "saved_json": {"rarity": Rarity(saved_json=b"1")},
    "finished_at_us": {"ending": Ending(99)},
}


@pytest.mark.parametrize("name", sorted(set(Task.__struct_fields__) - {"number", "seen_at_us"}))
def test_every_field_of_a_task_is_compared(story: list[Projection], name: str) -> None:
    """Whichever field differs is found, so that a field added later is not forgotten."""
    old = story[2]
    new = replay(open_log(URL), until=2)
    new.tasks[1] = msgspec.structs.replace(new.tasks[1], **{name: OTHER_VALUES[name]})

    [found] = compare(old, new).tasks

    told = {
        "tags_json": "tags",
        "recorded_state": "state",
        "route": "name",
        "ending": "finished_at_us",
        "rarity": "lapses",
    }.get(name, name)
    assert found.number == 1
    assert list(found.fields) == [told]


@pytest.mark.parametrize("name", PARTS)
def test_what_a_part_of_a_task_holds_is_told_by_its_name(
    story: list[Projection], name: str
) -> None:
    """Readers of a difference know no parts."""
    new = replay(open_log(URL), until=2)
    new.tasks[1] = msgspec.structs.replace(new.tasks[1], **PARTS[name])

    [found] = compare(story[2], new).tasks

    assert list(found.fields) == [name]


def test_nodes_that_joined_are_compared() -> None:
    """Who came, who said something else, and who left."""
    first = Joined("anna", 30, 4, "1", names=("a",))
    log = memory_log()
    projection = Projection("default")
    record(log, projection, [(NODE, first), (NODE, Joined("bert", 30, 4, "1"))], now=1)
    before = replay(log)
    second = Joined("anna", 30, 4, "1", names=("b",))
    drafts: list[Draft] = [(NODE, second), (NODE, Left("bert")), (NODE, Joined("cleo", 30, 4, "1"))]
    record(log, projection, drafts, now=2)

    found = compare(before, projection)

    assert not found.is_empty
    assert {member.worker: member.fields["seq"] for member in found.members} == {
        "anna": (1, 3),
        "bert": (2, None),
        "cleo": (None, 5),
    }
    assert found.members[0].fields["names"] == (("a",), ("b",))


def test_followers_that_differ_are_told() -> None:
    """What each has come to, and those that only one side has."""
    log = memory_log()
    after = Projection(log.namespace)
    record(
        log, after, [(NODE, Followed("a", 0, "n", 30)), (NODE, Followed("b", 0, "n", 30))], now=100
    )
    before = replay(log)
    moved = Followed("a", 2, "n", 30, error=ErrorInfo("OSError"), failures=1)
    record(log, after, [(NODE, moved), (NODE, Unfollowed("b"))], now=200)

    found = compare(before, after)

    fields = {each.follower: each.fields for each in found.followers}
    assert fields["a"] == {
        "seq": (1, 3),
        "position": (0, 2),
        "error": (None, ErrorInfo("OSError")),
        "failures": (0, 1),
    }
    assert fields["b"]["seq"] == (2, None)
    assert fields["b"]["position"] == (0, None)
    assert compare(after, after).followers == []


def test_logs_whose_followers_alone_differ_are_not_equal() -> None:
    """As many events of each kind are no proof."""
    one, other = (Projection("default") for _ in range(2))
    for projection, node in ((one, "n"), (other, "m")):
        record(memory_log(), projection, [(NODE, Followed("a", 0, node, 30))], now=100)

    assert not compare(one, other).is_empty
