"""The health file of a run: written while all is well, with what is wrong else, gone at the end."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventq import ArgumentError, LogUnavailableError, Queue
from eventq.runner.health import HEALTH_S, FoundHealth, look_up_health
from eventq.runner.pool import Pool
from eventq.runner.runner import Runner
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    look,
    nudge,
    pass_time,
    queue_on,
    runner_of,
    running,
    wait_until,
)

# It nests deeper than Python reads.
DEEP = b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"


@pytest.fixture
def clock() -> ManualClock:
    """The clock under the queue."""
    return ManualClock()


@pytest.fixture
def log() -> HookedLog:
    """The log under the queue."""
    return HookedLog()


@pytest.fixture
def queue(log: HookedLog, clock: ManualClock) -> Iterator[Queue]:
    """A queue of one worker."""
    with queue_on(log, clock=clock, workers=1) as queue:
        yield queue


def said(path: Path) -> dict[str, Any]:
    """What the file says; nothing while there is none."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_run_says_that_it_lives(queue: Queue, clock: ManualClock, tmp_path: Path) -> None:
    """At once, and again every few seconds, as a new file; it takes it away when it ends."""
    path = tmp_path / "health"
    gate = Gate()
    queue.new()
    with running(queue, lambda *_: gate(), health=path) as run:
        wait_until(lambda: said(path))
        first = path.stat().st_ino
        wait_until(gate.reached.is_set)
        pass_time(queue, clock, HEALTH_S - 1)
        look(queue)
        assert path.stat().st_ino == first
        pass_time(queue, clock, 1)
        look(queue)
        wait_until(lambda: said(path).get("running") == 1)
        assert said(path) == {
            "pid": os.getpid(), "node": runner_of(queue)._node.name, "running": 1, "slots": 1,
            "problem": None,
        }  # fmt: skip
        assert [each.name for each in tmp_path.iterdir()] == ["health"]
        gate.open()
        queue.stop()
        run.result()

    assert not path.exists()


def test_an_idle_run_says_so_in_time(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rests for no longer than until the file is to be written again."""
    pauses: list[float] = []
    rest = Runner._rest

    def noted(runner: Runner, pause_s: float) -> None:
        pauses.append(pause_s)
        rest(runner, pause_s)

    monkeypatch.setattr(Runner, "_rest", noted)
    with running(queue, lambda *_: None, health=tmp_path / "health"):
        look(queue)

    assert 0 < max(pauses) <= HEALTH_S


def test_a_run_that_breaks_off_takes_it_away(queue: Queue, log: HookedLog, tmp_path: Path) -> None:
    """Nothing runs any more, whatever ended it."""

    def fails(*_: object) -> None:
        raise ValueError("broken")

    queue.new()
    log.before_append = fails
    with pytest.raises(ValueError, match="broken"):
        queue.run(lambda *_: None, health=str(tmp_path / "health"))

    assert list(tmp_path.iterdir()) == []


def test_a_log_that_is_away_is_said(
    queue: Queue, log: HookedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and so is that it is back."""
    path = tmp_path / "health"

    def away(**_: object) -> None:
        raise LogUnavailableError("no route")

    with running(queue, lambda *_: None, health=path):
        wait_until(lambda: said(path))
        with monkeypatch.context() as patch:
            patch.setattr(log, "read", away)
            nudge(queue)
            wait_until(lambda: said(path)["problem"] == "the log is unavailable: no route")
        nudge(queue)
        wait_until(lambda: said(path)["problem"] is None)

    assert not path.exists()


def test_stuck_workers_are_said(queue: Queue, clock: ManualClock, tmp_path: Path) -> None:
    """Once all of them ignore that they should end, until one has ended."""
    path = tmp_path / "health"
    gate = Gate()
    queue.new(deadline="1s", max_retries=0)
    with running(queue, lambda *_: gate(), health=path):
        wait_until(gate.reached.is_set)
        pass_time(queue, clock, 1.5)
        look(queue)
        pass_time(queue, clock, 1.5)
        wait_until(lambda: "all workers are stuck" in str(said(path)["problem"]))
        gate.open()
        wait_until(lambda: not runner_of(queue).attempts.strays)
        pass_time(queue, clock, 1)
        wait_until(lambda: said(path)["problem"] is None)

    assert not path.exists()


def test_a_blocked_loop_is_said(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of its slots is of any use then."""
    path = tmp_path / "health"
    monkeypatch.setattr(Pool, "is_behind", lambda _: True)
    with running(queue, lambda *_: None, health=path):
        wait_until(lambda: said(path))
        runner_of(queue).attempts.pools[0].pace.stalled = True
        nudge(queue)
        wait_until(lambda: said(path)["problem"] == "the event loop is blocked")

    assert not path.exists()


def test_a_file_that_cannot_be_written_does_not_end_the_run(
    queue: Queue, clock: ManualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is warned of, once."""
    folder = tmp_path / "gone"
    folder.mkdir()
    with running(queue, lambda *_: None, health=folder / "health"):
        wait_until(lambda: said(folder / "health"))
        (folder / "health").unlink()
        folder.rmdir()
        for _ in range(3):
            pass_time(queue, clock, HEALTH_S)
            look(queue)

    warned = [each for each in caplog.records if each.levelno == logging.WARNING]
    missing = f"[Errno 2] No such file or directory: '{folder}/.health.{os.getpid()}'"
    assert [each.getMessage() for each in warned] == [
        f"the health file cannot be written: {missing}"
    ]


@pytest.mark.parametrize("path", ["", 3, "/", "/nowhere/at/all/health", "\0"])
def test_what_cannot_be_a_file_is_refused(queue: Queue, path: Any) -> None:  # noqa: ANN401
    """Before anything runs."""
    with pytest.raises(ArgumentError, match="health"):
        queue.run(lambda *_: None, until="idle", health=path)


def test_a_file_is_believed_while_it_is_new(tmp_path: Path) -> None:
    """Without a file, with an old one, with one that is something else, nothing runs."""
    path = tmp_path / "health"
    missing = look_up_health(path, max_age_s=30)
    path.write_text("{}")
    strange = look_up_health(path, max_age_s=30)
    path.write_text('{"pid":1,"node":"n","running":0,"slots":1,"problem":null}')
    good = look_up_health(path, max_age_s=30)
    os.utime(path, (1, 1))
    old = look_up_health(path, max_age_s=30)
    path.write_text('{"pid":1,"node":"n","running":0,"slots":1,"problem":"odd"}')
    bad = look_up_health(path, max_age_s=30)

    assert [each.healthy for each in (missing, strange, good, old, bad)] == [
        False, False, True, False, False,
    ]  # fmt: skip
    assert missing == FoundHealth(
        str(path), healthy=False, problem="no run writes it: No such file or directory"
    )
    assert strange.problem == "it is no health file"
    assert str(old.problem).startswith("the run has said nothing for ")
    assert bad.problem == "odd"


@pytest.mark.parametrize(
    "content", [b"SQLite format 3\0...", b"a letter", b"[1]", b'{"pid":1}', DEEP]
)
def test_a_file_of_something_else_is_left_alone(
    queue: Queue, tmp_path: Path, content: bytes
) -> None:
    """A run would replace it, and delete it in the end: the log itself, perhaps."""
    (tmp_path / "mine").write_bytes(content)

    with pytest.raises(ArgumentError, match="health: expected a health file of an earlier run"):
        queue.run(lambda _ctx, _task: None, until="idle", health=tmp_path / "mine")

    assert (tmp_path / "mine").read_bytes() == content


def test_what_is_no_plain_file_is_not_replaced(queue: Queue, tmp_path: Path) -> None:
    """A device, say, which root could replace: here a pipe."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ArgumentError, match="health: expected a"):
        queue.run(lambda _ctx, _task: None, until="idle", health=tmp_path / "pipe")

    assert (tmp_path / "pipe").is_fifo()


def test_what_a_killed_run_has_left_is_replaced(queue: Queue, tmp_path: Path) -> None:
    """Its health file, also an empty one, as some make to have a mode of their own."""
    for content in (b'{"pid":1,"node":"a","running":0,"slots":4,"problem":null}\n', b""):
        (tmp_path / "health").write_bytes(content)

        queue.run(lambda _ctx, _task: None, until="idle", health=tmp_path / "health")

        assert not (tmp_path / "health").exists()


def test_a_file_that_nests_too_deep_is_no_health_file(tmp_path: Path) -> None:
    """However large: it is told as any other file would be."""
    (tmp_path / "deep").write_bytes(DEEP)

    assert look_up_health(tmp_path / "deep", max_age_s=60).problem == "it is no health file"
