"""How the stepper starts, and what keeps it from starting: each with a message and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from eventq import Queue
from eventq.archive import archive_events, delete_archived
from eventq.cli.place import Place
from eventq.cli.stepper import open as stepping
from eventq.cli.stepper.app import Stepper
from eventq.errors import ArgumentError, LogArchivedError
from eventq.eventlog import open_log
from eventq.replay.points import Point, find_end
from tests.support import ManualClock


def test_a_pipe_is_refused() -> None:
    """Without a terminal there is nothing to draw on."""
    with pytest.raises(click.UsageError, match="needs a terminal"):
        stepping.step(Place("memory://"), at=None)


def test_json_is_refused() -> None:
    """A screen has no JSON."""
    with pytest.raises(click.UsageError, match="--json"):
        stepping.step(Place("memory://", as_json=True), at=None)


def test_a_missing_textual_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(stepping, "is_terminal", lambda *_: True)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    monkeypatch.delitem(sys.modules, "eventq.cli.stepper.app", raising=False)

    with pytest.raises(click.ClickException, match=r"pip install 'eventq\[step\]'"):
        stepping.step(Place("memory://"), at=None)


def test_a_point_that_is_none_is_told_before_the_screen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The command ends with its name and what it expects."""
    monkeypatch.setattr(stepping, "is_terminal", lambda *_: True)
    with Queue(f"sqlite:///{tmp_path}/queue.db") as queue:
        queue.new()
        place = Place(queue.url)

    with pytest.raises(ArgumentError, match="--from: expected a position up to 1"):
        stepping.step(place, at="7")


def test_times_ago_are_counted_by_the_clock_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """As every command counts them: this host's clock may be wrong."""
    log, clock = open_log("memory://"), ManualClock()
    monkeypatch.setattr(log, "clock_offset_us", lambda: 5)

    stepper = Stepper(log, clock=clock, start="0")

    assert stepper.cursor.now == clock.now_us() + 5


def test_a_log_is_stepped_through_from_where_it_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of one whose beginning is archived, that is the first event that it still has."""
    begun: list[str] = []
    monkeypatch.setattr(stepping, "is_terminal", lambda *_: True)
    monkeypatch.setattr(Stepper, "run", lambda self: begun.append(self._start))
    with Queue(f"sqlite:///{tmp_path}/queue.db") as queue:
        for _ in range(4):
            queue.new()
        until = find_end(queue.log, Point(2, 0))
        archive_events(queue.log, tmp_path / "archive", until=until)
        delete_archived(queue.log, tmp_path / "archive", until=until, now=queue.log.head().at)
        stepping.step(Place(queue.url), at=None)
        stepping.step(Place(queue.url), at="2")

        with pytest.raises(LogArchivedError):
            stepping.step(Place(queue.url), at="1")

    assert begun == ["3", "2"]
