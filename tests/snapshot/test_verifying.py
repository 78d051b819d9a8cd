"""Proving snapshots by a replay: what was forged is found and named, in one fold for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from eventq import LogCorruptError, Task
from eventq.core.holders import Holder
from eventq.core.values import ErrorInfo
from eventq.eventlog import EventLog
from eventq.snapshot import (
    Flaw,
    Snapshot,
    create_every,
    load,
    put,
    save,
    verify,
)
from eventq.snapshot.codec import decode, encode
from eventq.snapshot.verifying import find_flaw, stored_sources
from tests.snapshot.story import CAPPED, of, tell, told
from tests.snapshot.test_starting import CountingLog

Change = Callable[[Snapshot], Snapshot]


def plant(log: EventLog, snapshot: Snapshot) -> None:
    """Puts a forged snapshot into the log's database; its checksum is right."""
    put(log, snapshot, now=0)


def test_right_ones_are_proven(log: EventLog) -> None:
    """All in the database, in their order."""
    list(create_every(log, 3, now=0))

    verdicts = verify(log)

    assert [verdict.seq for verdict in verdicts] == [5, 8, 11, 15, 17, 21]
    assert all(verdict.is_proven for verdict in verdicts)


def test_none_are_nothing_to_prove(log: EventLog) -> None:
    """Without snapshots there is no verdict, and nothing is folded."""
    assert verify(log) == []


OTHER: dict[str, Any] = {
    "namespace": "other",
    "caller_key": "forged",
    "priority": 99,
    "tags_json": b'{"n":99}',
    "policy": CAPPED,
    "created_at_us": 99,
    "scheduled_at_us": 99,
    "expires_at_us": 99,
    "seen_at_us": 99,
    "attempt": 99,
    "retry_count": 99,
    "last_error": ErrorInfo("Forged"),
}


@pytest.mark.parametrize("field", sorted(OTHER.keys() - {"namespace"}))
def test_a_forged_task_is_found(log: EventLog, field: str) -> None:
    """Whichever field was changed, with a checksum that is right, it is named with its task."""
    right = of(log, 8)
    task = replace(right.tasks[3], **{field: OTHER[field]})
    plant(log, replace(right, tasks={**right.tasks, 3: task}))

    [verdict] = verify(log)

    assert not verdict.is_proven
    assert (verdict.name, verdict.seq, verdict.problem) == ("8", 8, None)
    assert verdict.flaw == Flaw(field, 3, OTHER[field], getattr(right.tasks[3], field))


def forged_lease(right: Snapshot) -> Snapshot:
    """A lease more, with all that goes with one."""
    holders = {**right.holders, "zoe": Holder(1, 2, 3, {3})}
    task = replace(right.tasks[3], recorded_state="leased", worker="zoe", fence=4)
    return replace(right, tasks={**right.tasks, 3: task}, holders=holders)


def without_lease(right: Snapshot) -> Snapshot:
    """A lease less."""
    task = replace(right.tasks[4], recorded_state="scheduled", worker=None, fence=0)
    holders = {"anna": right.holders["anna"]}
    return replace(right, tasks={**right.tasks, 4: task}, holders=holders)


def signed(right: Snapshot) -> Snapshot:
    """Another last sign of life."""
    anna = replace(right.holders["anna"], seen_at=7)
    return replace(right, holders={**right.holders, "anna": anna})


def without_task(right: Snapshot) -> Snapshot:
    """A task less, and the counts made to fit."""
    tasks = {number: task for number, task in right.tasks.items() if number != 3}
    return replace(right, tasks=tasks, counts={**right.counts, "completed": 1})


def with_task(right: Snapshot) -> Snapshot:
    """A task more, and the counts made to fit."""
    tasks = {**right.tasks, 7: replace(right.tasks[3], number=7)}
    return replace(right, tasks=tasks, counts={**right.counts, "created": 6})


FORGERIES: dict[str, tuple[Change, str, int | None]] = {
    "a lease more": (forged_lease, "recorded_state", 3),
    "a lease less": (without_lease, "recorded_state", 4),
    "a sign of life": (signed, "holders.anna.seen_at", None),
    "a task less": (without_task, "counts.completed", None),
    "a task more": (with_task, "counts.created", None),
    "a count": (lambda s: replace(s, counts={**s.counts, "refused": 5}), "counts.refused", None),
    "a reopening": (
        lambda s: replace(
            s,
            reopened={**s.reopened, "expired": 1},
            counts={**s.counts, "expired": 1},
        ),
        "counts.expired",
        None,
    ),
    "an unknown kind": (lambda s: replace(s, unknown=(3, "new")), "unknown", None),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_projection_is_found(log: EventLog, name: str) -> None:
    """Whatever else was changed in a way that fits together is named too."""
    change, field, task = FORGERIES[name]
    plant(log, change(of(log, 8)))

    [verdict] = verify(log)

    assert verdict.flaw is not None
    assert (verdict.flaw.field, verdict.flaw.task) == (field, task)


def test_a_missing_task_alone_is_named(log: EventLog) -> None:
    """Where the counts fit by chance, the number is what differs."""
    right = of(log, 8)
    less = replace(right, tasks={n: task for n, task in right.tasks.items() if n != 3})

    assert find_flaw(less, right) == Flaw("number", 3, None, 3)
    assert find_flaw(right, less) == Flaw("number", 3, 3, None)
    assert find_flaw(right, right) is None


def test_a_reopening_alone_is_named(log: EventLog) -> None:
    """It is compared by itself, although the counts seldom fit without it."""
    right = of(log, 8)
    other = replace(right, reopened={**right.reopened, "expired": 1})

    assert find_flaw(other, right) == Flaw("reopened.expired", None, 1, 0)


def test_a_node_that_is_missing_is_named(log: EventLog) -> None:
    """A node's leases are compared with their numbers."""
    right = of(log, 8)
    less = replace(right, holders={"bert": right.holders["bert"]})

    found = find_flaw(less, right)

    assert found == Flaw("holders.anna", None, None, right.holders["anna"])


def test_every_field_can_be_a_flaw(log: EventLog) -> None:
    """A field that Task gains is compared as well."""
    task = of(log, 8).tasks[4]

    for name in Task.__struct_fields__:
        other = replace(
            of(log, 8), tasks={**of(log, 8).tasks, 4: replace(task, **{name: "forged"})}
        )
        found = find_flaw(other, of(log, 8))
        assert found is not None
        assert found.field == name


def test_what_cannot_be_used_has_its_reason(log: EventLog, tmp_path: Path) -> None:
    """Damaged ones, and such as are of another log, stand among the others with their problem."""
    entry = put(log, of(log, 8), now=0)
    log.snapshots.put(entry, b"rubbish")
    put(log, of(log, 14), now=0)
    save(of(told(namespace="other"), 8), tmp_path / "other.snapshot")
    sources = [*stored_sources(log), ("file", lambda: load(tmp_path / "other.snapshot"))]

    verdicts = verify(log, sources)

    assert [(v.name, v.seq, v.is_proven) for v in verdicts] == [
        ("8", None, False),
        ("14", 14, True),
        ("file", None, False),
    ]
    assert verdicts[0].problem == "it is not one of eventq"
    assert verdicts[2].problem == "it is of the namespace 'other'"


def test_all_are_proven_by_one_fold(tmp_path: Path) -> None:
    """However many and in whatever order: the log is read through once, up to the last of them."""
    log = CountingLog()
    tell(log)
    list(create_every(log, 1, now=0))
    save(of(log, 11), tmp_path / "a.snapshot")
    sources = list(stored_sources(log, [17, 8]))
    sources += [("file", lambda: decode((tmp_path / "a.snapshot").read_bytes()))]
    places: list[tuple[int, int]] = []

    verdicts = verify(log, sources, progress=lambda *place: places.append(place))

    assert [(v.name, v.seq) for v in verdicts] == [("17", 17), ("8", 8), ("file", 11)]
    assert places == [(8, 17), (11, 17), (17, 17)]


def test_a_damaged_log_is_told(log: EventLog) -> None:
    """Snapshots of a log that is damaged before them cannot be proven."""
    put(log, of(log, 21), now=0)
    commits = log.storage.commits["default"]  # type: ignore[attr-defined]
    commits[2] = replace(commits[2], bodies=[*commits[2].bodies[:-1], '{"kind":"renewed"}'])

    with pytest.raises(LogCorruptError, match="position 9"):
        verify(log)


def test_a_forgery_survives_bytes(log: EventLog) -> None:
    """The forged ones above are what a reader of the database meets."""
    for change, _, _ in FORGERIES.values():
        forged = change(of(log, 8))
        assert decode(encode(forged)) == forged
