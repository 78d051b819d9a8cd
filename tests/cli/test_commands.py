"""new, ls, show, history, state, why, stats, tail, cancel, retry, update: what each does."""

from __future__ import annotations

import getpass
import json
import socket
from datetime import datetime, timedelta

import pytest

from eventq import Queue
from eventq.cli import main
from tests.cli.harness import Cli

TASK_FIELDS = [
    "key",
    "number",
    "namespace",
    "name",
    "lane",
    "needs",
    "state",
    "priority",
    "tags",
    "created_at",
    "scheduled_at",
    "expires_at",
    "started_at",
    "finished_at",
    "age_us",
    "attempt",
    "retry_count",
    "lapses",
    "snoozes",
    "worker",
    "progress",
    "saved",
    "schedule",
    "due",
    "buckets",
    "share",
    "trace",
    "secret",
    "last_error",
    "result",
    "result_missing",
    "final_reason",
    "policy",
    "unique",
    "newer",
    "after",
    "if_failed",
    "given",
    "flow",
    "role",
    "cause",
]
ASKING = [["history", "1"], ["state"], ["state", "1"], ["why", "1"]]
READING = [["ls"], ["show", "1"], ["stats"], ["tail"], ["tail", "-f"], *ASKING]
MANAGING = [["cancel", "1"], ["retry", "1"], ["update", "1", "--priority", "2"]]
COMMANDS = [
    "anchor",
    "archive",
    "bisect",
    "bulk",
    "cancel",
    "catalog",
    "console",
    "copy",
    "demo",
    "diff",
    "export",
    "fair",
    "find",
    "flow",
    "followers",
    "fork",
    "handlers",
    "health",
    "history",
    "import",
    "limit",
    "limits",
    "ls",
    "metrics",
    "new",
    "outbox",
    "pause",
    "pauses",
    "relay",
    "repeat",
    "replay",
    "report",
    "rerun",
    "resume",
    "retry",
    "run",
    "schedules",
    "show",
    "snapshot",
    "sql",
    "state",
    "stats",
    "tail",
    "undo",
    "verify",
    "whatif",
    "why",
]


def expire_one(cli: Cli) -> None:
    """Leaves task 1 expired and task 2 completed."""
    with Queue(cli.url, max_retries=0) as queue:
        queue.new({"path": "bad"})
        queue.new({"path": "good"})

        def work(_: object, task: object) -> dict[str, int]:
            if getattr(task, "key", "") == "1":
                raise OSError(5, "disk")
            return {"bytes": 7}

        queue.run(work, until="idle")


def test_new_prints_the_key_alone(cli: Cli) -> None:
    """A script can keep what `new` prints."""
    assert cli.ok("new", "path=a.png") == "1\n"
    assert cli.ok("new", "--key", "mine") == "mine\n"


def test_tags_are_text_or_json(cli: Cli) -> None:
    """NAME=VALUE stays text, NAME:=JSON is decoded, and a value may hold equal signs."""
    cli.ok("new", "width=640", "height:=480", "query=a=b", 'deep:={"x": [1, null]}')

    assert cli.row("show", "1")["tags"] == {
        "width": "640",
        "height": 480,
        "query": "a=b",
        "deep": {"x": [1, None]},
    }


def test_json_tags_is_the_whole_object(cli: Cli) -> None:
    """--json-tags takes all tags at once."""
    cli.ok("new", "--json-tags", '{"a": 1, "b": "ü"}')

    assert cli.row("show", "1")["tags"] == {"a": 1, "b": "ü"}


def test_every_option_reaches_the_task(cli: Cli) -> None:
    """All options of `Queue.new` are there, and kept in the log."""
    words = "new --priority -3 --key k --delay 2h --max-age 7d --max-retries 4 --max-lapses 2"
    words += " --name docs.ocr --lane heavy"
    task = cli.row(*words.split(), "--backoff", "exponential:1s:5m", "--deadline", "90s")

    assert list(task) == TASK_FIELDS
    assert [task[n] for n in ("priority", "key", "name", "lane")] == [-3, "k", "docs.ocr", "heavy"]
    created = datetime.fromisoformat(task["created_at"])
    assert datetime.fromisoformat(task["scheduled_at"]) == created + timedelta(hours=2)
    assert datetime.fromisoformat(task["expires_at"]) == created + timedelta(days=7)
    assert task["policy"] == {
        "backoff": "exponential",
        "backoff_us": 1_000_000,
        "backoff_cap_us": 300_000_000,
        "jitter": 0.0,
        "max_retries": 4,
        "max_age_us": 604_800_000_000,
        "deadline_us": 90_000_000,
        "max_lapses": 2,
    }


def test_instants_reach_the_task(cli: Cli) -> None:
    """The other ways to say when take ISO 8601 with any time zone."""
    task = cli.row(
        "new", "--at", "2031-01-01T00:00:00+02:00", "--expires-at", "2040-01-01T00:00:00Z"
    )

    assert task["scheduled_at"] == "2030-12-31T22:00:00.000000Z"
    assert task["expires_at"] == "2040-01-01T00:00:00.000000Z"
    assert task["state"] == "scheduled"


def test_the_same_key_is_the_same_task(cli: Cli) -> None:
    """A repeated command creates nothing; other content is refused by name."""
    cli.ok("new", "a=1", "--key", "k")
    cli.ok("new", "a=1", "--key", "k")
    error = cli.one_error("new", "a=2", "--key", "k", code=1)

    assert "'k'" in error
    assert cli.row("stats")["total"] == 1


def test_new_reads_many_from_standard_input(cli: Cli) -> None:
    """Each line is a task; options on the command line hold where a line has none."""
    lines = '\ufeff{"tags": {"n": 1}, "priority": 9}\n\n{"tags": {"n": 2}, "delay": "1h"}\n{}\n'
    rows = cli.rows("new", "--from", "-", "--priority", "4", stdin=lines.encode())

    assert [row["tags"] for row in rows] == [{"n": 1}, {"n": 2}, {}]
    assert [row["priority"] for row in rows] == [9, 4, 4]
    assert [row["state"] for row in rows] == ["ready", "scheduled", "ready"]


def test_lines_take_instants_and_backoff_as_the_options_do(cli: Cli) -> None:
    """A line's fields are written as on the command line, or as JSON numbers."""
    line = {
        "scheduled_at": "2031-01-01T00:00:00Z",
        "expires_at": "2032-01-01T00:00:00Z",
        "backoff": "constant:3s",
        "deadline": 1.5,
        "key": "k",
    }
    [row] = cli.rows("new", "--from", "-", stdin=json.dumps(line))

    assert row["scheduled_at"] == "2031-01-01T00:00:00.000000Z"
    assert row["expires_at"] == "2032-01-01T00:00:00.000000Z"
    assert (row["policy"]["backoff"], row["policy"]["backoff_us"]) == ("constant", 3_000_000)
    assert (row["policy"]["deadline_us"], row["key"]) == (1_500_000, "k")


@pytest.mark.parametrize(
    "lines,said",
    [
        ('{"tags": {}}\n\n{"tags": {"1a": 1}}\n', "line 3: tags: expected tag names"),
        ('{"tags": {}}\n{"priority": true}\n', "line 2: priority: expected a whole number"),
        ("{}\n{", "line 2: expected JSON"),
        ("[]", "line 1: expected a JSON object"),
        ('{"prio": 1}', "line 1: field: expected one of after, backoff, deadline"),
        ('{"scheduled_at": "2031-01-01T00:00:00"}', "line 1: scheduled_at: expected an instant"),
        ('{"scheduled_at": 5}', "line 1: scheduled_at: expected an instant"),
        ('{"backoff": "often:1s"}', "line 1: backoff: expected a duration, constant:10s"),
        ('{"tags": {"a": NaN}}', "line 1: tags['a']: expected finite numbers, got nan"),
        ('{"tags": {"a": "\\ud800"}}', "line 1: tags: expected JSON (no lone surrogates)"),
        ('{"key": "a\\nb"}', "line 1: key: expected printable text"),
        ("[" * 100_000, "line 1: expected JSON (it nests too deep)"),
        (b'{"tags": {"a": "\xff"}}', "line 1: expected JSON"),
    ],
)
def test_one_wrong_line_creates_nothing(cli: Cli, lines: str | bytes, said: str) -> None:
    """The message names the line and the field, and no line before it has become a task."""
    cli.ok("new")
    error = cli.one_error("new", "--from", "-", code=2, stdin=lines)

    assert said in error
    assert cli.row("stats")["seq"] == 1


def test_ls_shows_open_tasks_in_dispatch_order(cli: Cli) -> None:
    """Higher priority first; in a pipe the cells are separated by tabs below their names."""
    cli.ok("new", "n=1")
    cli.ok("new", "n=2", "--priority", "5")
    cli.ok("new", "n=3", "--delay", "1h")
    lines = [line.split("\t") for line in cli.ok("ls").splitlines()]

    names = ["KEY", "STATE", "NAME", "LANE", "PRIORITY", "ATTEMPTS", "AGE", "WAITS FOR"]
    assert lines[0] == [*names, "LAST ERROR", "TAGS"]
    assert [line[0] for line in lines[1:]] == ["2", "1", "3"]
    assert [line[-1] for line in lines[1:]] == ["n=2", "n=1", "n=3"]
    assert [list(row) for row in cli.rows("ls")] == [[*TASK_FIELDS, "waits_for", "source"]] * 3


def test_ls_chooses_by_state(cli: Cli) -> None:
    """--state may come several times; all means final ones too."""
    expire_one(cli)
    cli.ok("new", "--key", "new")

    assert [row["key"] for row in cli.rows("ls")] == ["new"]
    assert [row["key"] for row in cli.rows("ls", "--state", "expired")] == ["1"]
    assert {row["key"] for row in cli.rows("ls", "--state", "all")} == {"1", "2", "new"}
    two = cli.rows("ls", "--state", "ready", "--state", "completed")
    assert {row["key"] for row in two} == {"2", "new"}


def test_ls_chooses_by_name_and_lane(cli: Cli) -> None:
    """A name may be a pattern; what nobody handles is named beside the list."""
    cli.ok("new", "--name", "mail.send", "--lane", "heavy")
    cli.ok("new", "--name", "docs.ocr")
    cli.ok("new")

    assert [row["key"] for row in cli.rows("ls", "--name", "mail.*")] == ["1"]
    assert [row["key"] for row in cli.rows("ls", "--lane", "default")] == ["2", "3"]
    assert [row["key"] for row in cli.rows("ls", "--name", "*", "--lane", "heavy")] == ["1"]
    assert cli.row("stats")["unhandled"] == {"docs.ocr": 1, "mail.send": 1}
    assert "unhandled docs.ocr\t1" in cli.ok("stats")
    assert cli.row("why", "2")["verdict"] == "no running node handles docs.ocr"
    assert "name\tmail.send" in cli.ok("show", "1")


def test_ls_chooses_by_tags(cli: Cli) -> None:
    """Text and JSON values are told apart, and all tags asked for must be there."""
    cli.ok("new", "n=1", "kind=a")
    cli.ok("new", "n:=1", "kind=a")

    assert [row["key"] for row in cli.rows("ls", "--tag", "n=1")] == ["1"]
    assert [row["key"] for row in cli.rows("ls", "--tag", "n:=1", "--tag", "kind=a")] == ["2"]
    assert cli.rows("ls", "--tag", "kind=b") == []


def test_ls_says_when_there_is_more(cli: Cli) -> None:
    """What --limit cuts off is told on standard error, and none lifts it."""
    cli.ok("new", "--from", "-", stdin="{}\n" * 3)
    cut = cli("ls", "--limit", "2")

    assert len(cut.stdout.splitlines()) == 3
    assert cut.stderr == "eventq: there are more than 2; see --limit\n"
    assert cli("ls", "--limit", "3").stderr == ""
    assert len(cli.rows("ls", "--limit", "none")) == 3


def test_show_tells_everything_about_a_task(cli: Cli) -> None:
    """The error with its traceback, the result, the reason of the end."""
    expire_one(cli)
    bad, good = cli.row("show", "1"), cli.row("show", "2")

    assert (bad["state"], bad["final_reason"]) == ("expired", "max_retries")
    assert bad["last_error"]["message"] == "[Errno 5] disk"
    assert "Traceback" in bad["last_error"]["traceback"]
    assert (good["state"], good["result"]) == ("completed", {"bytes": 7})
    shown = cli.ok("show", "1")
    assert "last error\tOSError: [Errno 5] disk\n" in shown
    assert "reason\tmax_retries\n" in shown
    assert 'result\t{"bytes":7}\n' in cli.ok("show", "2")


def test_history_is_the_story_of_one_task(cli: Cli) -> None:
    """All its events in order, for people and for programs."""
    expire_one(cli)
    rows = cli.rows("history", "1")

    assert [row["kind"] for row in rows] == ["created", "leased", "failed", "expired"]
    assert {row["task"] for row in rows} == {1}
    assert list(rows[0])[:5] == ["seq", "at", "task", "kind", "body"]
    assert rows[3]["body"] == {"reason": "max_retries"}
    assert datetime.fromisoformat(rows[0]["at"]).tzinfo is not None
    lines = cli.ok("history", "1").splitlines()
    assert lines[0] == "SEQ\tAT\tSINCE\tKIND\tSTATE\tWHAT"
    assert "\tfailed\tfailed\tran " in lines[3]
    assert lines[3].endswith("counted from its lease; OSError: [Errno 5] disk")


def test_stats_counts(cli: Cli) -> None:
    """The numbers of `Queue.stats`, with their sums."""
    expire_one(cli)
    numbers = cli.row("stats")

    assert (numbers["completed"], numbers["expired"], numbers["open"], numbers["total"]) == (
        1,
        1,
        0,
        2,
    )
    assert (numbers["attempts"], numbers["failures"], numbers["nodes"]) == (2, 1, [])
    assert "completed\t1\n" in cli.ok("stats")


def test_tail_shows_the_last_events(cli: Cli) -> None:
    """Ten unless told, or all behind a position."""
    cli.ok("new", "--from", "-", stdin="{}\n" * 15)

    assert [row["seq"] for row in cli.rows("tail")] == list(range(6, 16))
    assert [row["seq"] for row in cli.rows("tail", "-n", "2")] == [14, 15]
    assert [row["seq"] for row in cli.rows("tail", "--after", "12")] == [13, 14, 15]
    assert cli.rows("tail", "-n", "0") == []


def test_cancel_keeps_reason_and_person(cli: Cli) -> None:
    """Who called a task off, and why, stands in its history."""
    cli.ok("new")
    assert cli.ok("cancel", "1", "--reason", "wrong bucket") == "1 is cancelled, priority 0\n"

    body = cli.rows("history", "1")[-1]["body"]
    assert body["reason"] == "wrong bucket"
    assert body["by"] == f"{getpass.getuser()}@{socket.gethostname()}"


def test_retry_reopens(cli: Cli) -> None:
    """An expired task is ready again, and the log knows by whom."""
    expire_one(cli)
    task = cli.row("retry", "1")

    assert (task["state"], task["retry_count"]) == ("ready", 0)
    assert cli.rows("history", "1")[-1]["body"]["by"].startswith(getpass.getuser())


def test_update_changes_what_is_named_only(cli: Cli) -> None:
    """Other tags and the priority stay; --clear-tags drops what was there."""
    cli.ok("new", "a=1", "b=2", "--priority", "3")

    assert cli.row("update", "1", "--tag", "b:=5", "--tag", "c=6")["tags"] == {
        "a": "1",
        "b": 5,
        "c": "6",
    }
    assert cli.row("update", "1", "--delay", "1h")["state"] == "scheduled"
    after = cli.row("update", "1", "--clear-tags", "--tag", "d=7", "--priority", "8")
    assert (after["tags"], after["priority"], after["state"]) == ({"d": "7"}, 8, "scheduled")
    assert cli.row("update", "1", "--at", "2031-01-01T00:00:00Z")["scheduled_at"] == (
        "2031-01-01T00:00:00.000000Z"
    )
    assert cli.rows("history", "1")[-1]["body"]["by"].endswith(socket.gethostname())


def test_options_stand_before_or_behind_the_command(cli: Cli) -> None:
    """Both places work; the one behind wins over the one before, and both over the environment."""
    other = f"sqlite:///{cli.folder}/other.db"
    cli.ok("--url", other, "--namespace", "n1", "new", "x=1")
    cli.ok("--url", "sqlite:////nowhere/x.db", "new", "x=2", "--url", other, "--namespace", "n1")

    assert cli.ok("--json", "stats", "--url", other, "--namespace", "n1").count('"total":2') == 1
    assert not (cli.folder / "queue.db").exists()


@pytest.mark.parametrize("words", [*READING, *MANAGING], ids=" ".join)
def test_looking_creates_no_database(cli: Cli, words: list[str]) -> None:
    """A mistyped URL is told, and leaves nothing behind."""
    error = cli.one_error(*words, code=1)

    assert "queue.db: there is no log here" in error
    assert list(cli.folder.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(cli: Cli, name: str) -> None:
    """Whoever asks for help sees how the command is called."""
    text = cli.ok(name, "--help")

    assert "Example" in text
    assert f"eventq {name}" in text
    assert "--json" in text


def test_all_commands_are_there() -> None:
    """The list above is the list of commands, with update."""
    assert sorted(main.commands) == sorted([*COMMANDS, "update"])


def test_version_is_told(cli: Cli) -> None:
    """--version prints name and version."""
    assert cli.ok("--version").startswith("eventq ")


def test_sql_answers_in_lines_and_in_json(cli: Cli) -> None:
    """Rows come below their names, or as objects; what would write is wrongly called."""
    expire_one(cli)
    query = "SELECT kind, count(*) AS n FROM history WHERE kind = 'created' GROUP BY kind"

    assert cli.ok("sql", query).splitlines() == ["kind\tn", "created\t2"]
    assert json.loads(cli.ok("sql", query, "--json")) == {"kind": "created", "n": 2}
