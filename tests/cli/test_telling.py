"""What attempts tell, as the command shows it: live, in the history, and to programs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from eventq import Context, Queue
from tests.cli.harness import Cli, ended, started
from tests.support import Gate, running, wait_until


@pytest.fixture
def queue(cli: Cli) -> Iterator[Queue]:
    """A queue on the command's database, with one task that tells and then makes two."""
    with Queue(cli.url, workers=1) as opened:

        @opened.task("scan", keep_logs="info")
        def scan(ctx: Context) -> None:
            ctx.log.info("page %d", 1)
            ctx.log.info("page %d", 2)
            ctx.progress(1, 3, "pages")
            ctx.save({"page": 2})
            gate()
            ctx.new_many([{"n": 1}, {"n": 2}], delay="1h")

        gate = Gate()
        scan.new()
        with running(opened, None):
            wait_until(lambda: (task := opened.get("1")) and task.saved)
            yield opened
            gate.open()
            wait_until(lambda: (task := opened.get("1")) and task.state == "completed")


def test_a_running_task_shows_what_it_has_told(cli: Cli, queue: Queue) -> None:
    """To people and to programs."""
    assert queue.get("1") is not None
    shown = cli.ok("show", "1")
    row = cli.row("show", "1")

    assert "progress\t1 of 3 (33 %) pages, at " in shown
    assert 'saved\t{"page":2}\n' in shown
    assert "its attempt has done 1 of 3 (33 %) pages, as it said " in cli.ok("why", "1")
    assert {**row["progress"], "at": "then"} == {
        "done": 1, "total": 3, "note": "pages", "at": "then",
    }  # fmt: skip
    assert row["saved"] == {"page": 2}


def test_events_say_what_was_told(cli: Cli, queue: Queue) -> None:
    """In the timeline and in the history."""
    assert queue.get("1") is not None
    tail = [line.split("\t")[3:] for line in cli.ok("tail").splitlines()]
    history = cli.ok("history", "1")
    bodies = {row["kind"]: row["body"] for row in cli.rows("history", "1")}

    assert tail[-3:] == [
        ["progressed", "1 of 3 (33 %) pages"],
        ["saved", 'value {"page":2}'],
        ["noted", "info: page 1 | info: page 2"],
    ]
    assert "attempt 1 has done 1 of 3 (33 %): pages" in history
    assert "a value of 10 bytes for the next attempt" in history
    assert "the worker logged 2 lines: page 1 / page 2" in history
    assert [line[1:] for line in bodies["noted"]["lines"]] == [
        ["info", "page 1"],
        ["info", "page 2"],
    ]
    assert bodies["progressed"]["skip"] is True


def test_show_follows_a_task_to_its_end(cli: Cli) -> None:
    """What it tells comes through a pipe at once; other tasks are left out."""
    gate = Gate()
    with Queue(cli.url, workers=2) as queue:

        @queue.task
        def scan(ctx: Context) -> None:
            gate()
            ctx.progress(2)
            wait_until(lambda: (task := queue.get("1")) and task.progress)
            ctx.new({"n": 1}, delay="1h")

        scan.new()
        with running(queue, None):
            wait_until(gate.reached.is_set)
            words = ("show", "-f", "1", "--json", "--url", cli.url)
            with started(*words, folder=cli.folder) as process:
                assert process.stdout is not None
                first = json.loads(process.stdout.readline())
                queue.new(delay="1h")
                gate.open()
                code, output, _ = ended(process)
    rows = [json.loads(line) for line in output.splitlines()]

    assert (first["key"], first["state"], code) == ("1", "leased", 0)
    assert [(row["task"], row["kind"]) for row in rows] == [(1, "progressed"), (1, "completed")]
    assert rows[1]["body"]["made"] == 1
    child = max(cli.rows("ls", "--state", "scheduled"), key=lambda row: row["number"])
    history = cli.ok("history", "1")
    assert f"made 1 task: {child['number']}" in history
    assert history.count("made 1 task") == 1
    assert "made by task 1, to run 1h later" in cli.ok("history", child["key"])


def test_show_follows_nothing_behind_an_end(cli: Cli) -> None:
    """A final task is shown, and that is all."""
    cli.ok("new")
    cli.ok("cancel", "1")

    assert cli.row("show", "-f", "1")["state"] == "cancelled"
