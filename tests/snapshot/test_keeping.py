"""Snapshots beside a log: which are used, and which are told and passed over."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from eventq import ArgumentError, LogUnavailableError, SnapshotError
from eventq.core.projection import FOLD_VERSION
from eventq.eventlog import EventLog
from eventq.eventlog.contract import SnapshotEntry
from eventq.replay.fold import replay
from eventq.replay.points import Point, find_end
from eventq.snapshot import (
    create,
    create_every,
    get,
    keeping,
    load,
    newest,
    prune,
    put,
    save,
    take,
)
from eventq.snapshot.codec import decode, encode
from tests.snapshot.story import COMMITS, ends, of, told

NOW = 5_000


def plant(log: EventLog, seq: int, data: bytes) -> None:
    """Puts any bytes at a position, as nobody should."""
    log.snapshots.put(SnapshotEntry(seq, 0, bytes(32), 0, len(data)), data)


def test_what_was_put_is_got(log: EventLog) -> None:
    """The entry says what it is of, when it was taken and how large it is."""
    entry = put(log, of(log, 8), now=NOW)

    assert get(log, 8) == of(log, 8)
    assert log.snapshots.entries() == [entry]
    assert (entry.seq, entry.at, entry.seal) == (8, 1_010, of(log, 8).seal)
    assert (entry.taken_at, entry.size_bytes) == (NOW, len(encode(of(log, 8))))


def test_one_that_is_not_there_is_told(log: EventLog) -> None:
    """A position without a snapshot is a wrong argument."""
    with pytest.raises(ArgumentError, match="snapshot of this log, got 8"):
        get(log, 8)


def test_the_newest_is_chosen(log: EventLog) -> None:
    """The last one, or the last up to a position; none where there is none so early."""
    for seq in (8, 15, 5):
        put(log, of(log, seq), now=NOW)

    found = [newest(log, until=until) for until in (None, 15, 14, 8, 5, 4)]

    assert [snapshot and snapshot.seq for snapshot in found] == [15, 15, 8, 8, 5, None]


def wrong_ones(log: EventLog) -> dict[str, bytes]:
    """What may stand at position 8 and must not be used."""
    right = of(log, 8)
    other = told([*COMMITS[:1], COMMITS[1][:2], *COMMITS[1:2]][:2])
    data = encode(right)
    return {
        "empty": b"",
        "damaged": data[:-9] + b"\0" + data[-8:],
        "half": data[: len(data) // 2],
        "of something else": b"PNG" + data,
        "of a newer fold": data.replace(
            b'"fold":%d' % FOLD_VERSION, b'"fold":%d' % (FOLD_VERSION + 1)
        ),
        "of another namespace": encode(take(replay(told(namespace="other"), until=8))),
        "with another seal": encode(replace(right, seal=bytes(32))),
        "with another instant": encode(replace(right, at=right.at + 1)),
        "of another position": encode(of(log, 5)),
        "of the middle of a commit": encode(take(replay(log, until=7))),
        "of a position behind the end": encode(replace(of(log, 21), seq=10**6)),
        "of a very high position": encode(replace(of(log, 21), seq=2**63)),
        "of nothing": encode(take(replay(log, until=0))),
        "of another history": encode(replace(right, seal=other.head().seal)),
    }


@pytest.mark.parametrize("name", wrong_ones(told()))
def test_what_does_not_fit_is_told_and_passed_over(
    log: EventLog, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning says which and why, and the next older one is used."""
    put(log, of(log, 5), now=NOW)
    plant(log, 8, wrong_ones(log)[name])

    with caplog.at_level(logging.WARNING):
        found = newest(log)

    assert found == of(log, 5)
    [warning] = caplog.records
    assert warning.getMessage() == "snapshot discarded"
    assert vars(warning)["seq"] == 8
    assert "the snapshot cannot be used" in vars(warning)["error"]


@pytest.mark.parametrize("name", wrong_ones(told()))
def test_what_does_not_fit_is_not_got(log: EventLog, name: str) -> None:
    """Asked for by its position, it is refused."""
    plant(log, 8, wrong_ones(log)[name])

    with pytest.raises(SnapshotError):
        get(log, 8)


def test_a_commit_that_was_changed_vouches_for_nothing(log: EventLog) -> None:
    """The seal at the position is computed anew: what stands there must be what it covers."""
    put(log, of(log, 8), now=NOW)
    commits = log.storage.commits["default"]  # type: ignore[attr-defined]
    commits[1] = replace(commits[1], bodies=commits[1].bodies[::-1])

    with pytest.raises(SnapshotError, match="another history"):
        get(log, 8)


def test_what_does_not_fit_is_not_put(log: EventLog) -> None:
    """A snapshot of another log, or of the middle of a commit, never comes into the database."""
    for snapshot in (of(told(namespace="other"), 8), of(log, 7)):
        with pytest.raises(SnapshotError):
            put(log, snapshot, now=NOW)

    assert log.snapshots.entries() == []


def test_snapshots_that_cannot_be_read_are_no_obstacle(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log alone is enough: a warning, and none is used."""

    def fail() -> None:
        raise LogUnavailableError("no right to read this collection")

    monkeypatch.setattr(log.snapshots, "entries", fail)

    assert newest(log) is None
    assert [record.getMessage() for record in caplog.records] == ["snapshots cannot be read"]


def test_one_that_vanishes_meanwhile_is_passed_over(log: EventLog) -> None:
    """Between the list and the reading somebody may prune."""
    put(log, of(log, 5), now=NOW)
    entries = [*log.snapshots.entries(), SnapshotEntry(8, 0, bytes(32), 0, 1)]
    log.snapshots.entries = lambda: entries  # type: ignore[method-assign]

    assert newest(log) == of(log, 5)


def test_the_search_for_a_good_one_ends(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After an upgrade none may be good: looking at all of them would take longer than a replay."""
    monkeypatch.setattr(keeping, "PASSED_OVER", 2)
    for seq in (5, 8, 11, 14):
        put(log, of(log, seq), now=NOW)
    for seq in (11, 14):
        plant(log, seq, b"of another version")

    assert newest(log) is None
    assert len(caplog.records) == 2
    assert newest(log, until=13) == of(log, 8)


# Files.


def test_a_file_holds_the_same(log: EventLog, tmp_path: Path) -> None:
    """What was saved is loaded, and the file is for its owner only."""
    path = tmp_path / "a.snapshot"

    size_bytes = save(of(log, 8), path)

    assert load(path) == of(log, 8)
    assert path.stat().st_size == size_bytes
    assert path.stat().st_mode & 0o777 == 0o600
    assert decode(path.read_bytes()) == of(log, 8)


def test_a_file_is_whole_or_as_before(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails in the middle leaves what was there, and no rubbish."""
    path = tmp_path / "a.snapshot"
    save(of(log, 5), path)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save(of(log, 8), path)

    assert load(path) == of(log, 5)
    assert list(tmp_path.iterdir()) == [path]


def test_any_other_file_is_refused(tmp_path: Path) -> None:
    """A file that is no snapshot is told as one that cannot be used."""
    path = tmp_path / "a.snapshot"
    path.write_text("hello\n", encoding="utf-8")

    with pytest.raises(SnapshotError, match="not one of eventq"):
        load(path)


# Making and deleting.


def test_a_point_rounds_down_to_the_end_of_a_commit(log: EventLog) -> None:
    """Within a commit, the one before it counts; before the first there is none."""
    found = {seq: find_end(log, Point(seq, 0)).seq for seq in (0, 1, 4, 5, 6, 8, 20, 21)}

    assert found == {0: 0, 1: 0, 4: 0, 5: 5, 6: 5, 8: 8, 20: 20, 21: 21}


def test_one_is_made_at_a_point(log: EventLog) -> None:
    """Of the commit that ends there or before, whatever the instant of the point."""
    entry = create(log, Point(10, 99_999_999), now=NOW)

    assert entry.seq == 8
    assert get(log, 8) == of(log, 8)


def test_none_is_made_of_nothing(log: EventLog) -> None:
    """Before the first commit ends there is nothing to take."""
    with pytest.raises(ArgumentError, match="point"):
        create(log, Point(4, 0), now=NOW)


@pytest.mark.parametrize("events", [1, 3, 4, 7, 21, 22])
def test_a_series_is_made_in_one_go(log: EventLog, events: int) -> None:
    """One for each multiple of the distance, at the last end of a commit up to it, all right."""
    reached = []
    made = list(create_every(log, events, now=NOW, progress=lambda *place: reached.append(place)))

    wanted = {
        max((end for end in ends(log) if end <= at), default=0) for at in range(events, 22, events)
    }
    assert [entry.seq for entry in made] == sorted(wanted - {0})
    assert log.snapshots.entries() == made
    assert all(get(log, entry.seq) == of(log, entry.seq) for entry in made)
    assert all(end == 21 for _, end in reached)
    assert [seq for seq, _ in reached] == sorted(seq for seq, _ in reached)


def test_a_series_needs_a_distance(log: EventLog) -> None:
    """Nothing, or less, is no distance; told before the first is made."""
    with pytest.raises(ArgumentError, match="every"):
        create_every(log, 0, now=NOW)


@pytest.mark.parametrize(
    "options, gone",
    [
        ({"keep": 2}, [5, 8]),
        ({"keep": 0}, [5, 8, 14, 21]),
        ({"keep": 9}, []),
        ({"before": 14}, [5, 8]),
        ({"before": 15}, [5, 8, 14]),
        ({"keep": 3, "before": 14}, [5, 8]),
        ({"keep": 1, "before": 8}, [5, 8, 14]),
        ({}, []),
    ],
    ids=str,
)
def test_pruning_deletes_the_oldest(
    log: EventLog, options: dict[str, int], gone: list[int]
) -> None:
    """All but the newest so many, or those below a position; it says which."""
    kept = [5, 8, 14, 21]
    for seq in kept:
        put(log, of(log, seq), now=NOW)

    told_gone = prune(log, **options)

    assert [entry.seq for entry in told_gone] == gone
    assert [entry.seq for entry in log.snapshots.entries()] == [s for s in kept if s not in gone]
