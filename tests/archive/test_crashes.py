"""Archiving that is broken off: the log is whole at any of its writes, and the call goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from eventq import LogArchivedError, Queue
from eventq.archive import folder as folders
from eventq.eventlog.sqlite import retention as sqlite_cut
from eventq.eventlog.sqlite.connection import SqliteConnection
from eventq.eventlog.sqlite.log import SqliteLog
from eventq.replay.fold import task_history, task_of
from tests.archive.logs import Opener, content, move, whole


class Crash(BaseException):
    """Stands for a process that dies."""


def crashing(
    monkeypatch: pytest.MonkeyPatch, places: list[tuple[Any, str]], steps: int
) -> Callable[[], bool]:
    """Lets so many of the calls through and raises at the next; tells whether it came to that."""
    left = [steps]
    crashed = []

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            left[0] -= 1
            if left[0] < 0:
                crashed.append(True)
                raise Crash
            return original(*args, **kwargs)

        return call

    for owner, name in places:
        monkeypatch.setattr(owner, name, wrap(getattr(owner, name)))
    return lambda: bool(crashed)


def places_of(url: str) -> list[tuple[Any, str]]:
    """Everything that writes: files of the archive, and what changes the database."""
    if url.startswith("mongodb"):
        from pymongo.collection import Collection  # noqa: PLC0415

        names = ["bulk_write", "update_one", "find_one_and_replace", "insert_one", "delete_many"]
        return [(folders, "write_whole"), *((Collection, name) for name in names)]
    return [(folders, "write_whole"), (SqliteConnection, "change")]


@pytest.mark.parametrize("url", ["sqlite", "mongo"], indirect=True)
def test_a_crash_at_any_step_leaves_a_whole_log(
    url: str, folder: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each of its writes, it can be opened and read, and the same call goes on."""
    with Queue(url) as queue:
        stats = queue.stats()
    expected = content(opened(url))
    steps = 0
    while True:
        with monkeypatch.context() as patch:
            crashed = crashing(patch, places_of(url), steps)
            with suppress(Crash):
                move(opened(url), folder)
        log = opened(url)
        assert content(whole(log, folder)) == expected, steps
        with Queue(url) as queue:
            # The first event that the database itself still has is another one.
            assert replace(queue.stats(), first_at=stats.first_at) == stats, steps
            for key in ("done", "failing", "waiting", "cancelled", "4"):
                assert queue.get(key) is not None, (steps, key)
        if not crashed():
            break
        steps += 1

    assert steps > 5
    assert log.start().seq == stats.seq
    assert task_of(log, 1) is not None
    with pytest.raises(LogArchivedError):
        task_history(log, 1)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_events_that_are_still_there_are_not_counted_twice(
    url: str, folder: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a cut deletes, a task may have lost its first events and not its last."""
    log = opened(url)
    with monkeypatch.context() as patch:
        # Up to the created event of the fifth task, and no further.
        patch.setattr(sqlite_cut.SqliteRetention, "delete_some", lambda *_: False)
        move(log, folder)
    assert isinstance(log, SqliteLog)
    log.retention.delete_some(5)

    assert [event.seq for event in log.history(5)] == [6]
    task = task_of(log, 5)
    assert task is not None
    assert (task.key, task.state) == ("cancelled", "cancelled")
