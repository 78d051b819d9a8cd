"""Answers that are whole: cut lists say so, times and tasks are told alike, all fits the screen."""

from __future__ import annotations

import time

import pytest

from eventq import Queue
from tests.cli.harness import Cli, on_terminal
from tests.support import ManualClock


@pytest.fixture
def busy(cli: Cli) -> Cli:
    """Fifteen ready tasks, and one of a key that failed with a long message."""
    with Queue(cli.url, clock=ManualClock(), workers=1, max_retries=0) as queue:
        queue.new({"n": 0}, key="order:1")

        def work(_ctx: object, _task: object) -> None:
            raise ValueError("word " * 60)

        queue.run(work, until="idle")
        queue.new_many([{"n": n} for n in range(15)])
    return cli


def test_a_list_that_was_cut_says_so(busy: Cli) -> None:
    """And how to see the rest; one that is whole says nothing."""
    cut = busy("state", "--limit", "4")
    whole = busy("state", "--limit", "20")
    last = "19"

    assert "there are more than 4 in: next; see --limit" in cut.stderr
    assert whole.stderr == ""
    assert busy.row("state", "--limit", "4")["cut"] == ["ready"]
    assert "ahead of it (the first 3 of 14; see --limit)" in busy.ok("why", last, "--limit", "3")
    assert "(the first" not in busy.ok("why", last, "--limit", "14")


def test_tail_and_replay_name_tasks_alike(busy: Cli) -> None:
    """By the caller's key where there is one, below the same titles."""
    tail = [line.split("\t") for line in busy.ok("tail", "--after", "0").splitlines()]
    replay = [line.split("\t") for line in busy.ok("replay").splitlines()]

    assert tail[0][2] == replay[0][3] == "TASK"
    assert [row[2] for row in tail] == [row[3] for row in replay]
    assert "order:1" in [row[2] for row in tail]


def test_stats_tells_the_first_and_the_last_instant(busy: Cli) -> None:
    """Of the log."""
    events = busy.rows("tail", "--after", "0")
    row = busy.row("stats")

    assert (row["first_at"], row["last_at"]) == (events[0]["at"], events[-1]["at"])
    assert "log begins\t" in busy.ok("stats")


def test_a_terminal_has_titles_and_lines_that_fit(busy: Cli) -> None:
    """What is too long stands on further lines, below its column."""
    words = ("history", "order:1", "--url", busy.url)
    code, screen = on_terminal(*words, folder=busy.folder, columns=90)

    lines = [line for line in screen.replace("\r", "").split("\n") if line]
    assert code == 0
    assert "KIND" in lines[0]
    assert "WHAT" in lines[0]
    assert all(len(line) <= 90 for line in lines[1:] if "\x1b" not in line)
    assert any(line.startswith(" " * 40) for line in lines)
    assert screen.count("word") > 20


def test_a_bare_date_is_the_persons_and_is_told_in_utc(
    busy: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a point of the log, and where an instant is asked for."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        new = busy("new", "n=1", "--at", "2030-01-31")
        past = busy("state", "--at", "2000-01-01")
    finally:
        monkeypatch.undo()
        time.tzset()

    assert new.stderr == "eventq: 2030-01-31 here is 2030-01-30 23:00:00.000Z\n"
    assert busy.row("show", new.stdout.strip())["scheduled_at"] == "2030-01-30T23:00:00.000000Z"
    assert past.exit_code == 2
    assert "--at: 2000-01-01 here is 1999-12-31 23:00:00.000Z" in past.stderr


def test_a_retry_of_what_is_ready_says_that_nothing_was_done(cli: Cli) -> None:
    """So that nobody looks for the reason in its history."""
    cli.ok("new")
    done = cli("retry", "1", "--reason", "the shop is back")

    assert (done.exit_code, done.stdout) == (0, "1 is ready, priority 0\n")
    assert "nothing was done, and no reason is kept" in done.stderr
    cli.ok("cancel", "1")
    assert cli("retry", "1").stderr == ""
