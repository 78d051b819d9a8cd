"""``replay``, ``diff`` and ``bisect`` as commands: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eventq import Queue
from tests.cli.harness import FORBIDDEN, NASTY, Cli, finished, on_terminal
from tests.recipes import LOG
from tests.servers import new_url
from tests.support import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """The clock of what is in the queue: far in the past."""
    return ManualClock()


@pytest.fixture
def filled(cli: Cli, clock: ManualClock) -> Cli:
    """A queue in which one task completes, one expires, one waits and one was edited."""
    with Queue(cli.url, clock=clock, workers=1, max_retries=0) as queue:
        queue.new({"path": "a.png"}, key="one")
        queue.new({"path": "b.txt"})
        clock.advance(60)
        queue.run(worker, until="idle")
        clock.advance(60)
        queue.new({"path": "c.png"}, priority=3, delay="1h", key="late")
        queue.new({"path": NASTY})
        queue.update("late", priority=4)
    return cli


def worker(_: object, task: Any) -> str:  # noqa: ANN401 - a Task
    """Takes pictures only."""
    if not task.tags["path"].endswith(".png"):
        raise ValueError(f"not a picture: {NASTY}")
    return "done"


def lines(text: str) -> list[list[str]]:
    """The cells of each line."""
    return [line.split("\t") for line in text.splitlines()]


def test_replay_prints_a_line_an_event(filled: Cli) -> None:
    """Position, instant, gap, key, kind and what; nothing that a terminal would obey."""
    output = filled.ok("replay")

    [names, *rows] = lines(output)
    assert names == ["SEQ", "AT", "GAP", "TASK", "KIND", "WHAT"]
    assert [int(row[0]) for row in rows] == list(range(1, 11))
    assert [row[2] for row in rows] == ["-", "+0s", "+1m", *["+0s"] * 4, "+1m", "+0s", "+0s"]
    assert [row[4] for row in rows if row[3] == "2"] == ["created", "leased", "failed", "expired"]
    assert rows[-1][3:] == ["late", "updated", "priority 4"]
    assert not any(mark in output for mark in FORBIDDEN)


@pytest.mark.parametrize(
    "words, seqs",
    [
        (("--kind", "failed", "--kind", "expired"), "failed expired"),
        (("--task", "one"), "created leased completed"),
        (("--tag", "path=b.txt", "--to", "2"), "created"),
        (("--from", "2", "--to", "2"), "created"),
        (("--from", "-1"), "updated"),
        (("--from", "end"), ""),
        (("--worker", "nobody"), ""),
    ],
)
def test_replay_shows_what_is_wanted(filled: Cli, words: tuple[str, ...], seqs: str) -> None:
    """Each option narrows what is shown."""
    rows = filled.rows("replay", *words)

    assert [row["kind"] for row in rows] == seqs.split()


def test_replay_gives_events_as_json(filled: Cli) -> None:
    """An event as `tail` gives it, with its key and the gap."""
    tailed = filled.rows("tail", "--after", "0")
    replayed = filled.rows("replay")

    assert [row.pop("gap_us") for row in replayed][:3] == [None, 0, 60_000_000]
    assert [row.pop("key") for row in replayed][:3] == ["one", "2", "one"]
    assert replayed == tailed


def test_replay_on_a_terminal(filled: Cli) -> None:
    """It is aligned, and nothing from a task reaches the terminal as a command."""
    code, output = on_terminal("replay", folder=filled.folder, EVENTQ_URL=filled.url)

    assert code == 0
    assert "+1m" in output
    assert not any(mark in output for mark in FORBIDDEN)


@pytest.mark.parametrize(
    "words, complaint",
    [
        (("replay", "-f", "--to", "3"), "--follow has no end"),
        (("replay", "--step", "--kind", "failed"), "--step takes --from alone"),
        (("replay", "--kind", "made"), "'made' is not one of"),
        (("replay", "--from", "99"), "--from: expected a position up to"),
        (("replay", "--from", "5", "--to", "3"), "--to, position 3, lies before --from"),
        (("replay", "--to", "soon"), "--to: expected a position like"),
        (("diff", "1"), "Missing argument 'B'"),
        (("diff", "1", "99"), "B: expected a position up to"),
        (("diff", "5", "2"), "B: expected a point after A, position 5"),
        (("diff", "-99", "2"), "A: expected a position up to"),
        (("diff", "-9000d", "end"), "A: expected an instant from"),
        (("diff", "-x", "end"), "No such option '-x'"),
        (("diff", "--from", "1", "--to", "5"), "no options here: eventq diff 1041 end"),
        (("bisect",), "Missing option '--expr'"),
        (("bisect", "--expr", "1 +"), "--expr: expected a value at column 4"),
        (("bisect", "--expr", "eval(1)"), "--expr: expected a function: task(...)"),
        (("bisect", "--expr", "total < 9"), "does not hold at the good point, position 0"),
        (("bisect", "--expr", "total > 9", "--good", "5", "--bad", "2"), "lies before --good"),
    ],
)
def test_wrong_calls(filled: Cli, words: tuple[str, ...], complaint: str) -> None:
    """Exit code 2, and one line that says what was wrong."""
    assert complaint in filled.one_error(*words, code=2)


def test_unknown_tasks(filled: Cli) -> None:
    """Exit code 1, and the key is named."""
    assert "no task has the key 'two'" in filled.one_error("replay", "--task", "two", code=1)
    condition = 'task("two").attempt > 1'
    assert "no task has the key 'two'" in filled.one_error("bisect", "--expr", condition, code=1)


def changed(output: str) -> list[list[str]]:
    """The rows about tasks, without their head."""
    rows = lines(output)
    return rows[rows.index(["KEY", "WHAT", "CHANGES"]) + 1 :]


def test_diff_tells_what_changed(filled: Cli) -> None:
    """Exit code 1; numbers, and each task with its end or its fields."""
    result = filled("diff", "2", "10")

    assert result.exit_code == 1
    rows = lines(result.stdout)
    assert ["completed", "0", "1", "+1"] in rows
    assert ["failed events", "0", "1", "+1"] in rows
    [one, two, late, nine] = changed(result.stdout)
    assert one == ["one", "completed", 'state ready -> completed: "done"']
    assert two == ["2", "expired", "state ready -> expired: max_retries"]
    assert late[1:] == ["appeared", "state - -> scheduled"]
    assert nine[:2] == ["9", "appeared"]
    assert not any(mark in result.output for mark in FORBIDDEN)


def test_diff_of_fields(filled: Cli) -> None:
    """A task that is open at both points has old and new values."""
    assert changed(filled("diff", "-1", "10").stdout)[0] == ["late", "changed", "priority 3 -> 4"]


def test_diff_of_nothing(filled: Cli) -> None:
    """Exit code 0 when nothing differs."""
    assert filled.ok("diff", "3", "3") == "nothing differs\n"
    assert filled.row("diff", "3", "3")["equal"] is True


def test_diff_counts_what_came_and_went(filled: Cli) -> None:
    """They are in the numbers, and listed with --all."""
    brief = filled("diff", "0", "10", "--json")
    full = filled("diff", "0", "10", "--json", "--all")

    [summary, *tasks] = [json.loads(line) for line in full.stdout.splitlines()]
    assert summary["passed"] == {"completed": 1, "expired": 1, "cancelled": 0}
    assert brief.stdout.splitlines() == full.stdout.splitlines()[:-2]
    assert [(task["key"], task["what"], task["final"]["state"]) for task in tasks[-2:]] == [
        ("one", "passed", "completed"),
        ("2", "passed", "expired"),
    ]


def test_diff_takes_times_ago_and_limits(filled: Cli) -> None:
    """A time ago is no option, also behind one; what is left out is said."""
    result = filled("diff", "--limit", "1", "-9", "-0s", "--all")

    assert result.exit_code == 1
    assert len(changed(result.stdout)) == 1
    assert "there are more than 1 tasks" in result.stderr


def test_times_ago_are_no_options(filled: Cli) -> None:
    """``-2h`` as an argument is not ``-h``, whose answer would be the help."""
    assert filled("diff", "-2h", "end").stdout == "nothing differs\n"
    assert ["position", "10", "10"] in lines(filled("snapshot", "diff", "-2h", "end").stdout)


def test_diff_of_two_databases(filled: Cli, tmp_path: Path, clock: ManualClock) -> None:
    """A copy is equal; what went another way there is told, also for final tasks."""
    there = f"sqlite:///{tmp_path}/other.db"
    filled.ok("copy", filled.url, there)
    same = filled("diff", "end", "end", "--other-url", there)
    assert (same.exit_code, same.stdout) == (0, "nothing differs\n")

    position = filled.row("stats")["seq"]
    with Queue(there, clock=clock) as queue:
        queue.retry("2")
        queue.cancel("2", reason="pointless")
    result = filled("diff", "end", "end", "--other-url", there)

    assert result.exit_code == 1
    assert ["same until", f"position {position}"] in lines(result.stdout)
    [row] = changed(result.stdout)
    assert row[:2] == ["2", "changed"]
    assert "state expired -> cancelled" in row[2]


def test_diff_of_two_namespaces(filled: Cli) -> None:
    """They have nothing in common but keys."""
    filled.ok("new", "--namespace", "other", "--key", "one")
    result = filled("diff", "1", "end", "--other-namespace", "other", "--json")

    [summary, task] = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert summary["same_until"] == 0
    assert task["fields"]["tags"] == [{"path": "a.png"}, {}]


def test_bisect_names_the_event(filled: Cli) -> None:
    """Its position, its task, what it changed there and in the numbers."""
    output = filled.ok("bisect", "--expr", "expired > 0")
    found = filled.row("bisect", "--expr", "expired > 0")

    rows = lines(output)
    assert found["event"]["kind"] == "expired"
    assert ["position", str(found["event"]["seq"])] in rows
    assert ["task", "2"] in rows
    assert ["changed", "state failed -> expired"] in rows
    assert ["expired", "0", "1", "+1"] in rows
    assert (found["before"]["expired"], found["after"]["expired"]) == (0, 1)
    assert found["task_after"]["final_reason"] == "max_retries"
    assert not any(mark in output for mark in FORBIDDEN)


def test_bisect_finds_nothing(filled: Cli) -> None:
    """Exit code 1, nothing on standard output, and a note."""
    events = filled.row("stats")["seq"]

    assert filled.one_error("bisect", "--expr", "refused > 0", code=1) == (
        f"eventq: the condition holds after none of {events} events"
    )
    by_time = 'task("late").state == "ready"'
    assert "time alone" in filled.one_error("bisect", "--expr", by_time, "--good", "-1", code=1)


def test_bisect_takes_times_ago(filled: Cli) -> None:
    """As points of both options."""
    row = filled.row("bisect", "--expr", "total == 2", "--good", "0", "--bad", "-0s")

    assert row["event"]["seq"] == 2


def test_commands_make_no_database(cli: Cli) -> None:
    """Looking at what is not there is an error, and leaves nothing behind."""
    for words in (("replay",), ("diff", "0", "end"), ("bisect", "--expr", "total > 0")):
        assert "eventq: " in cli.one_error(*words, code=1)

    assert list(cli.folder.iterdir()) == []


def test_a_reader_that_goes_away(filled: Cli) -> None:
    """A timeline into a pipe that closes is no error message."""
    done = finished("replay", "--json", folder=filled.folder, EVENTQ_URL=filled.url)

    assert done.returncode == 0
    assert done.stderr == ""


@pytest.fixture(params=["sqlite", "file", "mongodb"])
def recipes(request: pytest.FixtureRequest, cli: Cli) -> str:
    """The URL of the log of the recipes, in each kind of place."""
    if request.param == "file":
        return f"file:///{LOG}"
    mongodb = request.param == "mongodb"
    url = new_url(request.getfixturevalue("mongod")) if mongodb else cli.url
    cli.ok("copy", f"file:///{LOG}", url)
    return url


def test_all_logs_are_read_alike(recipes: str, cli: Cli) -> None:
    """A timeline, a difference and a search answer the same, wherever the log is."""
    place = ("--url", recipes)

    shown = cli.rows("replay", "--tag", "kind=film", "--kind", "refused", *place)
    assert [(row["seq"], row["key"]) for row in shown] == [(16, "3")]
    assert cli.row("bisect", "--expr", "refused > 0", *place)["event"]["seq"] == 16
    result = cli("diff", "3", "15", *place)
    assert result.exit_code == 1
    assert [row[:2] for row in changed(result.stdout)] == [
        ["1", "completed"],
        ["2", "expired"],
        ["3", "changed"],
    ]
    assert cli.ok("diff", "end", "end", "--other-url", f"file:///{LOG}", *place) == (
        "nothing differs\n"
    )
