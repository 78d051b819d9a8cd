"""``eventq schedules``: the list, and what a person does to one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eventq import Handlers, Queue, TaskSpec
from tests.cli.harness import Cli

MODULE = """
import eventq

handlers = eventq.Handlers()


@handlers.cron("0 * * * *", tz="Europe/Berlin", within="2h")
def look():
    pass


nothing = eventq.Handlers()
worker = print
"""


@pytest.fixture
def planned(cli: Cli) -> Cli:
    """A queue with two schedules, one of which is in a module."""
    Path(cli.folder, "jobs.py").write_text(MODULE, encoding="utf-8")
    handlers = Handlers()

    @handlers.cron("0 * * * *", tz="Europe/Berlin", within="2h")
    def look() -> None:
        pass

    handlers.every("90s", TaskSpec({"n": 1}), schedule="pages")
    with Queue(cli.url, handlers=[handlers]) as queue:
        queue.run(until="idle", signals=False)
    return cli


def test_schedules_are_listed_in_words(planned: Cli) -> None:
    """The name, what comes next, what came last, and when it comes."""
    text = planned.ok("schedules")
    rows = planned.rows("schedules")

    assert "at the start of every hour, Europe/Berlin" in text
    assert "every 1m30s" in text
    assert [row["schedule"] for row in rows] == ["look", "pages"]
    assert rows[0]["cron"] == "0 * * * *"
    assert rows[0]["next_at"].endswith(":00:00.000000Z")
    assert rows[1]["every_us"] == 90_000_000
    assert planned.row("schedules", "show", "look")["within_us"] == 7_200_000_000
    assert "within" in planned.ok("schedules", "show", "look")
    assert "name of a schedule" in planned.one_error("schedules", "show", "none", code=2)


def test_one_is_paused_and_resumed(planned: Cli) -> None:
    """Who did it, and why, stands in the log."""
    paused = planned.row("schedules", "pause", "look", "--by", "ada", "--reason", "down")
    text = planned.ok("schedules")
    last = json.loads(planned.ok("tail", "-n", "1", "--json"))

    assert (paused["paused"], paused["by"], paused["reason"]) == (True, "ada", "down")
    assert "paused" in text
    assert (last["kind"], last["body"]["via"]) == ("planned", "cli")
    assert not planned.row("schedules", "resume", "look")["paused"]
    error = planned.one_error("schedules", "resume", "look", code=2)
    assert "a schedule that is paused" in error
    assert "look is paused by ada: down" in planned.ok("tail", "-n", "2")


def test_what_comes_next(planned: Cli) -> None:
    """As many as are asked for."""
    rows = planned.rows("schedules", "next", "look", "-n", "3")

    assert len(rows) == 3
    assert len(planned.ok("schedules", "next", "look").splitlines()) == 5


def test_a_trigger_prints_the_task(planned: Cli) -> None:
    """Which says by which schedule it was made, and for when."""
    key = planned.ok("schedules", "trigger", "pages", "--by", "ada").strip()
    task = planned.row("show", key)
    text = planned.ok("history", key)

    assert (task["schedule"], task["tags"]) == ("pages", {"n": 1})
    assert task["due"] == task["created_at"]
    assert "made by schedule pages for" in text
    assert "schedule pages made it for" in planned.ok("why", key)
    assert "schedule" in planned.ok("show", key)
    assert planned.row("schedules", "trigger", "pages")["task"]["schedule"] == "pages"
    assert [row["key"] for row in planned.rows("ls", "--schedule", "pages")][:1] == [key]
    assert planned.rows("ls", "--schedule", "look") == []


def test_a_backfill_is_shown_first(planned: Cli) -> None:
    """And made with --yes."""
    now = datetime.now(UTC)
    until = now.replace(minute=0, second=0, microsecond=0)
    span = ["--since", f"{until - timedelta(hours=2):%FT%TZ}", "--until", f"{until:%FT%TZ}"]

    shown = planned.rows("schedules", "backfill", "look", *span)
    made = planned.rows("schedules", "backfill", "look", *span, "--yes", "--by", "ada")

    assert [row["task"] for row in shown] == [None, None]
    assert [row["due"] for row in shown] == [row["due"] for row in made]
    assert all(planned.row("show", str(row["task"]))["schedule"] == "look" for row in made)
    text = planned.ok("schedules", "backfill", "look", *span)
    assert text.count("would be made") == 2
    error = planned.one_error("schedules", "backfill", "look", *span, "--limit", "1", code=2)
    assert "limit" in error


def test_an_update_says_what_changes(planned: Cli) -> None:
    """Of nothing, it is refused."""
    row = planned.row("schedules", "update", "pages", "--every", "1h", "--within", "5m")

    assert (row["every_us"], row["within_us"]) == (3_600_000_000, 300_000_000)
    row = planned.row("schedules", "update", "pages", "--overlap", "allow", "--catch-up", "7")
    assert (row["overlap"], row["catch_up"]) == ("allow", "7")
    assert "say what to change" in planned.one_error("schedules", "update", "pages", code=2)
    assert "cron" in planned.one_error("schedules", "update", "look", "--spec", "x", code=2)


def test_what_code_does_not_define_is_shown_and_pruned(planned: Cli) -> None:
    """By the module that is named; one without schedules is refused."""
    shown = planned.ok("schedules", "prune", "jobs:handlers")
    kept = len(planned.rows("schedules"))
    pruned = planned.rows("schedules", "prune", "jobs:handlers", "--yes")

    assert shown == "pages would be forgotten\n"
    assert kept == 2
    assert pruned == [{"schedule": "pages", "forgotten": True}]
    assert [row["schedule"] for row in planned.rows("schedules")] == ["look"]
    assert "defines schedules" in planned.one_error("schedules", "prune", "jobs:nothing", code=2)
    assert "neither a queue" in planned.one_error("schedules", "prune", "jobs:worker", code=2)
    assert planned.row("schedules", "drop", "look")["dropped"] == "look"
    assert planned.rows("schedules") == []


def test_a_snapshot_and_a_difference_show_schedules(planned: Cli) -> None:
    """For people and for programs."""
    seq = str(planned.row("snapshot", "create")["seq"])
    planned.ok("schedules", "pause", "look")
    end = str(planned.row("snapshot", "create")["seq"])

    text = planned.ok("snapshot", "show", seq)
    assert "look comes at the start of every hour" in text
    shown = planned.row("snapshot", "show", seq)["schedules"]
    assert [each["schedule"] for each in shown] == ["look", "pages"]
    assert "look" in planned.ok("snapshot", "diff", seq, end)
    for command in (("snapshot", "diff"), ("diff",)):
        [schedule] = json.loads(planned(*command, seq, end, "--json").stdout)["schedules"]
        assert schedule["fields"]["paused"] == [False, True]
    planned.ok("snapshot", "verify")
