"""What the log in a file does beyond the contract: torn lines, full disks, strange places."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from eventq import ArgumentError, Queue, Task
from eventq.core.commits import Commit
from eventq.errors import (
    LogConflictError,
    LogCorruptError,
    LogForeignError,
    LogLostError,
    LogUnavailableError,
    QueueClosedError,
)
from eventq.eventlog import EventLog, file, open_log
from eventq.eventlog import lines as file_lines
from eventq.eventlog.contract import SnapshotEntry
from tests.eventlog.commits import (
    EMPTY,
    append,
    append_each,
    commit_after,
    everything,
    head_after,
    writer_slot,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that does not exist yet."""
    return tmp_path / "log.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[EventLog]:
    """An empty log in the file."""
    with closing(open_log(f"file:///{path}")) as opened:
        yield opened


def another(path: Path) -> EventLog:
    """One more log on the file."""
    return open_log(f"file:///{path}", create=False)


def failing(times: int, *, after_bytes: int = 0) -> Callable[..., int]:
    """A write that fails this many times, with a part of it on the disk."""
    left = [times]

    def write(descriptor: int, data: bytes, offset: int) -> int:
        if left[0]:
            left[0] -= 1
            os.pwrite(descriptor, data[:after_bytes], offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.pwrite(descriptor, data, offset)

    return write


class Calls:
    """The module ``os`` with some of its functions replaced."""

    def __init__(self, **replaced: Callable[..., Any]) -> None:
        self._replaced = replaced

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401, D105 - whatever os has
        return self._replaced.get(name) or getattr(os, name)


def refuse(*_: object) -> None:
    """A call that the disk answers with an error."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


# -- making and opening --------------------------------------------------------------------------


def test_file_is_private(log: EventLog, path: Path) -> None:
    """Nobody but its owner may read what tasks carry."""
    append(log)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_missing_file_is_not_made_unless_asked(path: Path) -> None:
    """With ``create=False`` nothing is made, and an empty file stays empty."""
    with pytest.raises(LogUnavailableError, match="No such file"):
        another(path)
    assert not path.exists()

    path.touch()
    with pytest.raises(LogUnavailableError, match="no eventq log"):
        another(path)
    assert path.read_bytes() == b""


def test_strange_places(tmp_path: Path) -> None:
    """A directory, a pipe, a device and a path through a file are told, and do not hang."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for name in [tmp_path, tmp_path / "pipe", Path("/dev/null")]:
        with pytest.raises(LogForeignError, match="not a file"):
            open_log(f"file:///{name}")
    for name in [tmp_path / "file" / "log", tmp_path / "none" / "log"]:
        with pytest.raises(LogUnavailableError):
            open_log(f"file:///{name}")


def test_read_only_file_can_be_read(
    log: EventLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not write may look; appending is refused in plain words."""
    commit = append(log)

    def deny(name: str, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return os.open(name, flags, *mode)

    monkeypatch.setattr(file, "os", Calls(open=deny))
    with closing(another(path)) as reading:
        assert reading.read(after=0) == [commit]
        with pytest.raises(LogUnavailableError, match="may not be written to"):
            append(reading)


def test_file_knows_no_sql(log: EventLog) -> None:
    """A question in SQL is told to be the wrong kind of question."""
    with pytest.raises(ArgumentError, match="SQL"):
        log.query("SELECT 1")


def work(_context: object, _task: Task) -> None:
    """A worker that is never called."""


def test_no_queue_runs_on_a_file(path: Path) -> None:
    """A file is read and copied; the refusal names what queues run on."""
    with Queue(f"file:///{path}") as queue:
        queue.new()
        with pytest.raises(ArgumentError, match="SQLite or MongoDB, on which queues run"):
            queue.run(work, until="idle")
        with pytest.raises(ArgumentError, match="SQLite or MongoDB, on which queues run"):
            next(queue.events(after=1, follow=True))

        assert [event.kind for event in queue.events()] == ["created"]


def test_file_takes_no_snapshot_and_is_not_cut(log: EventLog) -> None:
    """It holds all its events and nothing else; the refusals name what does more."""
    head = head_after(append(log, 2))
    entry = SnapshotEntry(2, head.at, head.seal, 1, 1)

    assert (log.start(), log.find_kept([1]), log.find_stray()) == (EMPTY, {}, None)
    assert (log.snapshots.entries(), log.snapshots.get(2)) == ([], None)
    assert not log.snapshots.delete(2)
    with pytest.raises(ArgumentError, match="can keep snapshots"):
        log.snapshots.put(entry, b"x")
    with pytest.raises(ArgumentError, match="can be cut"):
        log.cut(head)
    with pytest.raises(ArgumentError, match="can be cut"):
        log.keep([])


# -- torn and failed writes ----------------------------------------------------------------------


def test_history_reads_no_line_but_its_own(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools ask for the histories of many tasks: none of them reads the whole file."""
    append_each(log, [1] * 20)
    to_commit, read = file_lines.to_commit, list[int]()

    def counted(line: bytes, position: int) -> Commit:
        read.append(position)
        return to_commit(line, position)

    monkeypatch.setattr(file_lines, "to_commit", counted)

    found = log.history(7)

    assert [event.seq for event in found] == read == [7]


def test_number_that_is_no_task(log: EventLog, path: Path) -> None:
    """A line written by hand, whose task has a larger number than any log gives."""
    append(log)
    path.write_text(path.read_text().replace('"tasks":[1]', f'"tasks":[{2**63}]'))

    with closing(another(path)) as opened, pytest.raises(LogCorruptError, match="larger than any"):
        opened.head()


def test_torn_line_of_another_is_not_remembered(log: EventLog, path: Path) -> None:
    """Who looked at a torn line reads afresh what was written over it."""
    commits = append_each(log, [1, 2])
    torn = b'{"id":"' + b"f" * 5_000
    with closing(another(path)) as reading:
        with path.open("ab") as file_of_a_victim:
            file_of_a_victim.write(torn)
        assert everything(reading) == commits

        commits.append(append(log, 3))

        assert everything(reading) == commits
    assert torn[:20] not in path.read_bytes()


@pytest.mark.parametrize("after_bytes", [0, 1, 100, 10_000])
def test_full_disk_leaves_nothing_behind(
    log: EventLog, path: Path, monkeypatch: pytest.MonkeyPatch, after_bytes: int
) -> None:
    """An append that fails is not in the log, and the next one is."""
    commits = append_each(log, [1, 2])
    before = path.read_bytes()
    monkeypatch.setattr(file, "os", Calls(pwrite=failing(1, after_bytes=after_bytes)))

    with pytest.raises(LogUnavailableError, match="No space left"):
        log.append(commit_after(log.head(), 3))

    assert path.read_bytes() == before
    commits.append(append(log))
    with closing(another(path)) as reading:
        assert everything(reading) == everything(log) == commits


def test_disk_that_cannot_flush(log: EventLog, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that may not be on the disk is taken back; where that fails too, it is told."""
    append(log)
    monkeypatch.setattr(file, "os", Calls(fsync=refuse))

    with pytest.raises(LogUnavailableError, match="not known"):
        append(log)

    monkeypatch.undo()
    with closing(another(path)) as reading:
        assert reading.head().seq == 1


def test_file_that_was_replaced_or_cut(log: EventLog, path: Path) -> None:
    """What nobody could find, or would follow a hole, is not appended."""
    append_each(log, [1, 1])
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(LogLostError, match="replaced or cut"):
        append(log)

    path.write_bytes(whole)
    path.rename(path.with_suffix(".old"))
    with pytest.raises(LogLostError, match="deleted or moved"):
        append(log)
    path.write_bytes(whole)
    with pytest.raises(LogLostError, match="replaced or cut"):
        append(log)

    assert path.read_bytes() == whole


def test_key_taken_by_another(log: EventLog, path: Path) -> None:
    """A key that somebody else has appended meanwhile is taken."""
    append(log, keys={"a": 0})
    with closing(another(path)) as other:
        append(other, keys={"b": 0})

        with pytest.raises(LogConflictError):
            log.append(commit_after(other.head(), keys={"b": 0}))

    assert log.find_keys(["a", "b", "c"]) == {"a": 1, "b": 2}


def test_forked_child_appends_too(log: EventLog, path: Path) -> None:
    """A child has a descriptor of its own, so the turn its parent was in does not bind it."""
    first = append(log)

    log.after_fork()
    second = append(log)

    with closing(another(path)) as parent, writer_slot(parent) as head:
        assert head.seq == 2
        assert everything(parent) == everything(log) == [first, second]


def test_closed_log(log: EventLog) -> None:
    """After closing, which may come twice, everything says so."""
    log.close()
    log.close()

    for call in (log.head, lambda: log.read(after=0), lambda: append(log), log.namespaces):
        with pytest.raises(QueueClosedError):
            call()
