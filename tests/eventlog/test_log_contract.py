"""What every event log must keep, whatever it is stored in: appending, refusing, reading."""

from __future__ import annotations

from random import Random

import pytest

from eventq.core.commits import Commit
from eventq.core.seal import genesis, is_sealed
from eventq.errors import LogConflictError, LogCorruptError
from eventq.eventlog import EventLog, Head, StoredEvent
from tests.driver import append_texts
from tests.eventlog.commits import (
    AT,
    EMPTY,
    Opener,
    append,
    append_each,
    assert_tiles,
    commit_after,
    everything,
    head_after,
)

# -- appending and reading back ------------------------------------------------------------------


def test_new_log_is_empty(log: EventLog) -> None:
    """A log without commits ends at position 0 with the seal of its namespace."""
    head = log.head()

    assert head == EMPTY
    assert log.read(after=0) == []
    assert log.history(1) == []
    assert log.find_keys(["a"]) == {}
    assert log.namespaces() == []


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 249, 250, 251, 267, 500, 999, 1_000])
def test_commit_reads_back_equal(log: EventLog, count: int, keyed: bool) -> None:  # noqa: FBT001
    """What was appended is what is read, in every size and with or without keys."""
    append(log)
    keys = {f"key {n}": n for n in range(0, count, 3)} if keyed else {}
    commit = commit_after(log.head(), count, keys=keys)

    log.append(commit)

    assert log.read(after=1) == [commit]
    assert log.head() == head_after(commit)
    assert is_sealed(log.read(after=1)[0])


def test_odd_content_reads_back_equal(log: EventLog) -> None:
    """Any text and any number that a commit may carry comes back byte for byte."""
    bodies = [
        "{}",
        '{"kind":"x","tags":{"a":"\\u0000\\n\\ud83d\\ude00 ünïcode 漢字 \u2028 , \' --"}}',
        "",
        "x" * 70_000,
    ]
    commit = commit_after(
        EMPTY,
        bodies=bodies,
        keys={"z": 0, "ä, 'quoted' \"twice\"": 1, "a\nb\tc\\": 2, "%_*?": 3},
        tasks=[0, 2**63 - 1, 1, 1],
        at=2**62,
    )

    log.append(commit)

    assert log.read(after=0) == [commit]
    # The order of the keys is sealed too.
    assert list(log.read(after=0)[0].keys) == list(commit.keys)
    assert log.find_keys(list(commit.keys)) == commit.keys


def test_same_instant_is_no_step_back(log: EventLog) -> None:
    """Two commits may carry the same instant."""
    first = append(log)
    second = commit_after(log.head(), at=first.at)

    log.append(second)

    assert [commit.at for commit in log.read(after=0)] == [AT, AT]


def test_read_gives_whole_commits_up_to_the_limit(log: EventLog) -> None:
    """For every start and limit: from the commit holding the next position until it is enough."""
    random = Random(7)
    commits = append_each(log, [random.choice([1, 1, 2, 3, 40, 260]) for _ in range(40)])
    ends = [0, *(commit.last for commit in commits)]
    starts = sorted({*ends, *(end + 1 for end in ends), *(max(end - 1, 0) for end in ends)})
    limits = [1, 2, 3, 39, 300, 10_000]

    found = {
        (after, limit): log.read(after=after, limit=limit) for after in starts for limit in limits
    }

    for (after, limit), piece in found.items():
        rest = [commit for commit in commits if commit.last > after]
        count = 0
        while count < len(rest) and (count == 0 or rest[count].first - rest[0].first < limit):
            count += 1
        assert piece == rest[:count], f"after={after} limit={limit}"


def test_long_log_reads_in_one_call(log: EventLog) -> None:
    """A read far longer than any page a log may use inside gives all commits in order."""
    commits = append_each(log, [1_000, 999, *[1] * 120, 1_000, *[7] * 300, 1_000])

    found = log.read(after=0, limit=100_000)

    assert found == commits
    assert_tiles(found)


@pytest.mark.parametrize("after", [1, 2, 1_000_000, 2**63 - 1, 2**63, 2**80])
def test_read_beyond_the_end_gives_nothing(log: EventLog, after: int) -> None:
    """There is nothing after the last position, however large the number asked for."""
    append(log)

    found = log.read(after=after)

    assert found == []


# -- refusing ------------------------------------------------------------------------------------


def refused(name: str, log: EventLog) -> Commit:
    """A commit that does not fit a log of three commits; the last of 300 events has a fault."""
    head = log.head()
    match name:
        case "taken position":
            return commit_after(Head(head.seq - 1, 0, head.seal), 300)
        case "gap":
            return commit_after(Head(head.seq + 1, head.at, head.seal), 300)
        case "other history":
            return commit_after(Head(head.seq, head.at, genesis("another")), 300)
        case "empty log":
            return commit_after(EMPTY, 300)
        case _:
            return commit_after(head, 300, keys={"new": 0, "taken": 299})


REFUSED = ["taken position", "gap", "other history", "empty log", "taken key"]


@pytest.mark.parametrize("name", REFUSED)
def test_commit_that_does_not_fit_is_refused_whole(log: EventLog, name: str) -> None:
    """A conflict is told and leaves nothing behind: no event, no key, no moved head."""
    commits = [*append_each(log, [1, 5]), append(log, keys={"taken": 0})]
    commit = refused(name, log)

    with pytest.raises(LogConflictError) as caught:
        log.append(commit)

    assert caught.value.expected == commit.first
    assert log.head() == head_after(commits[-1])
    assert log.read(after=0) == commits
    assert log.find_keys(["new", "taken"]) == {"taken": 7}
    assert log.history(commit.last) == ([] if commit.last > 7 else log.history(7))


@pytest.mark.parametrize("name", REFUSED)
def test_log_takes_the_next_commit_after_a_refusal(log: EventLog, name: str) -> None:
    """A refused append leaves nothing open that would hold back the next one."""
    append_each(log, [1, 5])
    append(log, keys={"taken": 0})
    with pytest.raises(LogConflictError):
        log.append(refused(name, log))

    commit = append(log, keys={"new": 0})

    assert log.read(after=7) == [commit]


def test_time_never_turns_back(log: EventLog) -> None:
    """A commit dated before the last one is refused and nothing is stored."""
    append(log)
    commit = commit_after(log.head(), at=AT - 1)

    with pytest.raises(LogCorruptError):
        log.append(commit)

    assert log.head().seq == 1


# -- tasks, keys, namespaces ---------------------------------------------------------------------


def test_history_holds_one_task_in_order(log: EventLog) -> None:
    """A task's history is its own events with their envelopes, across commits, in order."""
    log.append(commit_after(log.head(), tasks=[1, 2, 1], bodies=["a", "b", "c"], at=AT))
    log.append(commit_after(log.head(), tasks=[2, 1, 0], bodies=["d", "e", "f"], at=AT + 5))

    found = log.history(1)

    assert found == [
        StoredEvent(1, AT, 1, "a"),
        StoredEvent(3, AT, 1, "c"),
        StoredEvent(5, AT + 5, 1, "e"),
    ]


def test_histories_are_those_of_each_task(log: EventLog) -> None:
    """Read at once, they are what they are one by one; tasks without events are left out."""
    log.append(commit_after(log.head(), tasks=[1, 2, 1, 4], bodies=["a", "b", "c", "d"], at=AT))
    log.append(commit_after(log.head(), tasks=[2, 1, 0, 3], bodies=["e", "f", "g", "h"], at=AT + 5))

    found = log.histories([4, 1, 2, 9, -1, 2**63, 2**80])

    assert found == {task: log.history(task) for task in (1, 2, 4)}
    assert log.histories([]) == log.histories([9]) == {}


@pytest.mark.parametrize("task", [2, -1, 99, 2**63, 2**80])
def test_history_of_no_task_is_empty(log: EventLog, task: int) -> None:
    """A number that no task has gives no events and no error."""
    append(log)

    found = log.history(task)

    assert found == []


def test_keys_are_found_exactly(log: EventLog) -> None:
    """Keys are told apart by every character; unknown and impossible ones are left out."""
    append(log, 3, keys={"a": 0, "A": 1, "a ": 2})

    found = log.find_keys(["a", "a ", "á", "", "a\0", "\ud800", "a"])

    assert found == {"a": 1, "a ": 3}


def test_many_keys_are_found_at_once(log: EventLog) -> None:
    """A lookup may ask for far more keys than a commit holds."""
    keys = {f"key-{n}": n for n in range(1_000)}
    append(log, 1_000, keys=keys)

    found = log.find_keys([f"key-{n}" for n in range(-500, 2_500)])

    assert found == {key: n + 1 for key, n in keys.items()}


def test_namespaces_are_logs_of_their_own(open_another: Opener) -> None:
    """Positions, tasks, keys and seals of one namespace are unknown in another."""
    left, right, quiet = (open_another(name) for name in ("left", "right", "quiet"))
    append(left, 2, keys={"k": 1})

    commit = append(right, 1, keys={"k": 0})

    assert commit.first == 1
    assert right.read(after=0) == [commit]
    assert (left.find_keys(["k"]), right.find_keys(["k"])) == ({"k": 2}, {"k": 1})
    assert right.history(2) == []
    assert quiet.head() == Head(0, 0, genesis("quiet"))
    assert left.namespaces() == ["left", "right"]
    assert_tiles(everything(right), "right")


def test_refused_first_commit_makes_no_namespace(log: EventLog) -> None:
    """A namespace is there from its first commit on, not from its first attempt."""
    with pytest.raises(LogConflictError):
        log.append(commit_after(Head(4, 0, genesis("default"))))

    append(log)

    assert log.namespaces() == ["default"]
    assert log.read(after=0)[0].first == 1


def test_another_log_sees_each_append(open_another: Opener) -> None:
    """Logs on the same store show each other's commits as soon as append has returned."""
    one, other = open_another(), open_another()
    mine = append(one)

    theirs = append(other)

    assert one.read(after=0) == other.read(after=0) == [mine, theirs]
    assert one.head() == other.head() == head_after(theirs)


def test_log_opened_again_holds_the_same(open_another: Opener) -> None:
    """Closing a log changes nothing in it."""
    first = open_another()
    commits = append_each(first, [1, 300, 1])
    first.close()

    again = open_another()

    assert everything(again) == commits


def test_what_a_task_caused_is_found_by_index(log: EventLog) -> None:
    """Each task once that names it as its cause; a reason that looks like one is none."""
    texts = [
        '{"kind":"cancelled","reason":"r","cause":7}',
        '{"kind":"cancelled","decided_at":1,"cause":7}',
        '{"kind":"cancelled","reason":"\\\\"cause\\\\":7"}',
        '{"kind":"cancelled","cause":8}',
        '{"kind":"updated","cause":7}',
        '{"kind":"cancelled","cause":7}',
    ]
    append_texts(log, [11, 12, 13, 14, 15, 11], *texts)
    append_texts(log, [16], texts[0])

    found = log.caused_by([7, 8, 9, 0, -(2**70), 2**70])
    assert {cause: sorted(caused) for cause, caused in found.items()} == {7: [11, 12, 16], 8: [14]}
    assert log.caused_by([8]) == {8: [14]}
    assert log.caused_by([]) == log.caused_by([9]) == {}
