"""Moving the beginning of a log into an archive: what a queue and a reader see after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eventq import (
    KeyConflictError,
    LogArchivedError,
    LogConflictError,
    LogCorruptError,
    LogForeignError,
    LogUnavailableError,
    Queue,
    TaskNotFoundError,
)
from eventq.archive import Archive, archive_events, delete_archived, find_end, open_archived
from eventq.archive.copy import copy_log
from eventq.eventlog import EventLog, Head
from eventq.eventlog.contract import SnapshotEntry
from eventq.host.clock import SystemClock
from eventq.node.node import Node
from eventq.replay.fold import replay
from eventq.replay.points import Point, find_point
from eventq.snapshot import create, keeping, newest, projection_at, prune
from tests.archive.logs import LOGS, NOW, Opener, content, fill, move
from tests.eventlog.commits import commit_after
from tests.support import running, wait_until

POINTS = [1, 7, 20, "end"]


@pytest.mark.parametrize("point", POINTS)
def test_archive_and_log_are_the_one_log(
    url: str, folder: Path, opened: Opener, point: object
) -> None:
    """Commits, histories and projection are the same, whatever was moved."""
    log = opened(url)
    before = content(log)
    move(log, folder, point)

    assert log.start().seq > 0
    assert content(open_archived(log, folder)) == before
    assert content(open_archived(opened(url), folder)) == before


def test_what_was_moved_is_gone(url: str, folder: Path, opened: Opener) -> None:
    """Without the archive its events are not read, and the error says where they are."""
    log = opened(url)
    head = log.head()
    move(log, folder, 20)
    start = log.start()

    assert 0 < start.seq <= 20
    assert log.head() == head
    assert log.read(after=start.seq)[0].prev == start.seal
    for after in (0, start.seq - 1):
        with pytest.raises(LogArchivedError, match=f"up to position {start.seq}"):
            log.read(after=after)


def test_a_log_moved_whole_is_empty_and_goes_on(url: str, folder: Path, opened: Opener) -> None:
    """The next commit follows the last archived one."""
    log = opened(url)
    head = log.head()
    move(log, folder)
    with Queue(url) as queue:
        task = queue.new({"n": 1})

    assert log.start().seq == head.seq == task.number - 1
    assert log.read(after=head.seq)[0].prev == head.seal
    assert log.namespaces() == ["default"]


def test_keys_stay_taken(url: str, folder: Path, opened: Opener) -> None:
    """The same content gives the archived task, another one is refused, by its number."""
    with Queue(url) as queue:
        number = queue.get("done")
    move(opened(url), folder)

    with Queue(url) as queue:
        again = queue.new({"n": 1}, key="done", max_retries=3)
        assert number is not None
        assert (again.number, again.state, again.result) == (1, "completed", {"done": True})
        with pytest.raises(KeyConflictError, match="differs in tags"):
            queue.new({"n": 6}, key="done", max_retries=3)
        # By what it was created with, not by what it was changed to.
        assert queue.new({"n": 3}, key="waiting", delay="9d", max_retries=3).number == 3


def test_archived_tasks_are_found_by_key_alone(url: str, folder: Path, opened: Opener) -> None:
    """A final task without a key is in the archive only, which the error says."""
    move(opened(url), folder)

    with Queue(url) as queue:
        task = queue.get("cancelled")
        assert task is not None
        assert task.final_reason == "for the test"
        with pytest.raises(LogArchivedError, match="--archive"):
            queue.get("8")
        with pytest.raises(LogArchivedError, match="--archive"):
            queue.history("cancelled")
        with pytest.raises(LogArchivedError, match="--archive"):
            queue.tasks(state="completed")
        assert queue.get("nobody") is None
        assert queue.get("9999") is None
    with Queue(url, archive=folder) as queue:
        found = queue.get("8")
        assert found is not None
        assert found.state == "completed"
        assert [event.kind for event in queue.history("cancelled")] == ["created", "cancelled"]
        assert len(queue.tasks(state="completed")) == 7
        with pytest.raises(TaskNotFoundError):
            queue.history("nobody")


def test_open_tasks_go_on(url: str, folder: Path, opened: Opener) -> None:
    """Tasks that were open at the cut are run, changed and cancelled like any other."""
    move(opened(url), folder)

    with Queue(url) as queue:
        assert queue.retry("waiting").state == "ready"
        assert queue.cancel("4").state == "cancelled"
        assert queue.retry("cancelled").state == "ready"
        queue.run(lambda *_: "ran", until="idle")
        for key in ("waiting", "cancelled", "failing"):
            task = queue.get(key)
            assert task is not None
            assert task.result == "ran"
        four = queue.get("4")
        assert four is not None
        assert four.state == "cancelled"
    with Queue(url, archive=folder) as queue:
        assert [e.kind for e in queue.history("4")] == ["created", "cancelled"]
        assert [e.kind for e in queue.history("cancelled")][:4] == [
            "created",
            "cancelled",
            "retried",
            "leased",
        ]


def test_cuts_follow_each_other(url: str, folder: Path, opened: Opener) -> None:
    """Again and again, with work between, all stays one log and all keys known."""
    log = opened(url)
    for round_number in range(3):
        move(log, folder)
        with Queue(url, workers=2) as queue:
            queue.new({"round": round_number}, key=f"round:{round_number}")
            queue.new({"n": 4})
            queue.run(lambda _, task: task.tags.get("round"), until="idle")
    move(log, folder)

    with Queue(url) as queue:
        results = [queue.get(f"round:{number}") for number in range(3)]
        assert [task.result for task in results if task] == [0, 1, 2]
        stats = queue.stats()
    replayed = replay(open_archived(log, folder))
    assert stats.completed == replayed.final_counts()["completed"]
    assert stats.seq == replayed.seq


def test_an_old_node_starts_anew(url: str, folder: Path, opened: Opener) -> None:
    """A node that stood still during the cut goes on from the snapshot that replaced it."""
    with Queue(url) as behind:
        behind.stats()
        with Queue(url) as other:
            other.new_many([{"n": n} for n in range(30)])
        move(opened(url), folder)

        assert behind.stats().ready == 31
        assert behind.new({"n": 0}).state == "ready"


def test_a_point_before_the_start_is_told(url: str, folder: Path, opened: Opener) -> None:
    """Positions and instants that were archived need the archive."""
    log = opened(url)
    move(log, folder, 20)
    start = log.start()

    assert find_point(log, start.seq, now=NOW).at == start.at
    for value in (1, "2001-01-01T00:00:00Z"):
        with pytest.raises(LogArchivedError):
            find_point(log, value, now=NOW)
    assert find_point(open_archived(log, folder), 1, now=NOW).seq == 1


def test_the_snapshot_at_the_start_is_not_pruned(url: str, folder: Path, opened: Opener) -> None:
    """Nothing else says which tasks are open."""
    log = opened(url)
    move(log, folder)
    prune(log, keep=0)
    snapshot = newest(log)

    assert snapshot is not None
    assert snapshot.seq == log.start().seq


def test_nor_is_it_where_the_archive_is_named(url: str, folder: Path, opened: Opener) -> None:
    """Together they are whole, but the next queue may come without the archive."""
    log = opened(url)
    move(log, folder, 20)
    create(log, find_point(log, "end", now=NOW), now=NOW)
    gone = prune(open_archived(log, folder), keep=0)

    assert [entry.seq for entry in gone] == [log.head().seq]
    assert [entry.seq for entry in log.snapshots.entries()] == [log.start().seq]


def cutting_late(log: EventLog, folder: Path) -> Callable[..., list[SnapshotEntry]]:
    """A look for snapshots that finds none, and behind which the log is cut at once."""
    look = log.snapshots.entries

    def entries() -> list[SnapshotEntry]:
        log.snapshots.entries = look  # type: ignore[method-assign]
        move(log, folder, 20)
        return []

    return entries


def test_a_cut_right_behind_the_look_for_a_snapshot(url: str, folder: Path, opened: Opener) -> None:
    """Nothing is missing then: whoever looks again finds the one at the start."""
    log, other = opened(url), opened(url)
    whole = replay(log)
    log.snapshots.entries = cutting_late(log, folder)  # type: ignore[method-assign]
    projection = projection_at(log, find_point(log, "end", now=NOW))
    other.snapshots.entries = list  # type: ignore[method-assign]

    assert projection.tasks == whole.tasks
    with pytest.raises(LogArchivedError):
        projection_at(other, find_point(other, "end", now=NOW))


def test_a_cut_while_a_node_starts(url: str, folder: Path, opened: Opener) -> None:
    """It looks again, as anybody does."""
    log = opened(url)
    whole = replay(log)
    log.snapshots.entries = cutting_late(log, folder)  # type: ignore[method-assign]
    node = Node(log, clock=SystemClock())

    with node.reading() as projection:
        assert projection.tasks == whole.tasks


def test_it_is_found_behind_any_number_of_useless_ones(
    url: str, folder: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere a search gives up and the log is folded; here that cannot be."""
    monkeypatch.setattr(keeping, "PASSED_OVER", 2)
    log = opened(url)
    move(log, folder, 20)
    start = log.start().seq
    for seq in range(start + 1, start + 4):
        log.snapshots.put(SnapshotEntry(seq, 0, bytes(32), 0, 1), b"?")

    with Queue(url) as queue:
        assert queue.stats().seq == log.head().seq


def test_without_a_snapshot_the_archive_is_enough(url: str, folder: Path, opened: Opener) -> None:
    """A queue that cannot start says so, and starts once it is given the archive."""
    log = opened(url)
    move(log, folder)
    for entry in log.snapshots.entries():
        log.snapshots.delete(entry.seq)

    with Queue(url) as queue, pytest.raises(LogArchivedError, match="archive="):
        queue.stats()
    with Queue(url, archive=folder) as queue:
        assert queue.stats().completed == 7
    start = log.start()
    create(open_archived(log, folder), Point(start.seq, start.at), now=NOW)
    with Queue(url) as queue:
        assert queue.stats().completed == 7


def test_a_copy_needs_the_archive(url: str, folder: Path, opened: Opener, tmp_path: Path) -> None:
    """A log that was cut is copied with its archive, whole, or not at all."""
    log = opened(url)
    before = content(log)
    move(log, folder, 20)
    target = opened(f"sqlite:///{tmp_path}/copy.db")

    with pytest.raises(LogArchivedError):
        copy_log(log, target)
    copy_log(open_archived(log, folder), target)
    assert content(target) == before


def test_damage_stops_the_cut(url: str, folder: Path, opened: Opener) -> None:
    """A segment that is not what was written keeps everything in the log."""
    log = opened(url)
    before = content(log)
    until = find_end(log, find_point(log, "end", now=NOW))
    report = archive_events(log, folder, until=until)
    last = report.segments[-1]
    raw = bytearray(last.read_bytes())
    raw[len(raw) // 2] ^= 1
    last.write_bytes(raw)

    with pytest.raises(LogCorruptError, match=last.name):
        delete_archived(log, folder, until=report.until, now=NOW)
    assert log.start().seq == 0
    assert content(log) == before


def test_another_logs_archive_is_refused(
    url: str, folder: Path, opened: Opener, tmp_path: Path
) -> None:
    """Neither written to nor read with."""
    other = f"sqlite:///{tmp_path}/other.db"
    fill(other)
    move(opened(other), folder)
    log = opened(url)

    with pytest.raises(LogForeignError, match="another log"):
        move(log, folder)
    assert log.start().seq == 0
    with pytest.raises(LogForeignError, match="another log"):
        Queue(url, archive=folder)


def test_one_at_a_time(url: str, folder: Path, opened: Opener) -> None:
    """Two processes do not write to one folder."""
    log = opened(url)
    folder.mkdir()

    with (
        Archive(folder, namespace="default").locked(),
        pytest.raises(LogUnavailableError, match="another process"),
    ):
        move(log, folder)
    assert log.start().seq == 0


def test_a_cut_needs_the_end_of_a_commit(url: str, opened: Opener) -> None:
    """A position in the middle, or with another seal, is refused."""
    log = opened(url)
    head = log.head()

    for until in (Head(head.seq, head.at, bytes(32)), Head(head.seq + 1, head.at, head.seal)):
        with pytest.raises(LogForeignError):
            log.cut(until)
    assert log.start().seq == 0


def test_workers_run_on(url: str, folder: Path, opened: Opener) -> None:
    """A queue that runs while its log is cut notices nothing, and loses nothing."""
    ran: list[int] = []
    with Queue(url, workers=2) as queue, running(queue, lambda _, task: ran.append(task.number)):
        log = opened(url)
        made = []
        for n in range(8):
            made += [task.number for task in queue.new_many([{"n": n} for _ in range(20)])]
            move(log, folder)
        wait_until(lambda: queue.stats().open == 8, "all to be run")

    assert sorted(number for number in ran if number in made) == made
    final = replay(open_archived(log, folder))
    final.check()
    assert final.counts["refused"] == 0


@pytest.mark.parametrize("url", LOGS, indirect=True)
def test_nobody_appends_where_the_log_was_cut(url: str, folder: Path, opened: Opener) -> None:
    """A writer that knows an old head is told of a conflict, and leaves nothing behind."""
    stale, log = opened(url), opened(url)
    head = stale.head()
    late = commit_after(head, keys={"late": 0})
    log.append(commit_after(head))
    move(log, folder)
    end = log.head()

    with pytest.raises(LogConflictError):
        stale.append(late)
    assert log.head() == opened(url).head() == end
    assert log.find_keys(["late"]) == {}
    assert log.history(late.first) == []


def test_the_archive_of_a_log_as_long_is_refused(
    url: str, folder: Path, opened: Opener, tmp_path: Path
) -> None:
    """Where a log is moved whole, the seal at its start is all there is to compare."""
    other, theirs = f"sqlite:///{tmp_path}/other.db", tmp_path / "theirs"
    fill(other)
    move(opened(other), theirs)
    log = opened(url)
    move(log, folder)

    assert log.start().seq == opened(other).start().seq
    with pytest.raises(LogForeignError, match="another log"):
        open_archived(log, theirs)
