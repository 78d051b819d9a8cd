"""rerun: what it says, its exit codes, and what it refuses."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from traceback import extract_tb
from types import TracebackType

import pytest

from eventq.eventlog import open_log
from tests.cli.harness import FORBIDDEN, NASTY, Cli, ended, on_terminal, started
from tests.cli.trying import JOBS, ran, worker
from tests.eventlog.commits import everything

__all__ = ["ran"]


# -- rerun -----------------------------------------------------------------------------------------


def test_rerun_of_one(ran: Cli) -> None:
    """Both outcomes, one below the other; 0 when they are the same."""
    output = ran.ok("rerun", "t1", *worker(ran, "work"))

    names = dict(line.split("\t", 1) for line in output.splitlines())
    assert names["key"] == "t1"
    assert names["verdict"] == "same"
    assert names["recorded"].startswith("failed, ValueError: bad input (")
    assert names["here"].startswith("failed, ValueError: bad input (")
    assert "traceback then" not in names


def test_rerun_with_a_fix(ran: Cli) -> None:
    """Another outcome is a finding; what the worker prints stays out of the answer."""
    result = ran("rerun", "t1", *worker(ran, "fixed"))

    assert result.exit_code == 1
    assert "verdict\tother outcome\n" in result.stdout
    assert "here\tcompleted, result 1 (" in result.stdout
    assert "traceback then\tTraceback" in result.stdout
    assert "the worker speaks" in result.stderr
    assert "the worker speaks" not in result.stdout


def test_rerun_in_json(ran: Cli) -> None:
    """One object with both outcomes."""
    row = ran.row("rerun", "t3", *worker(ran, "fixed"))

    assert row["verdict"] == "same"
    assert row["recorded"]["outcome"] == row["here"]["outcome"] == "completed"
    assert row["recorded"]["result"] == row["here"]["result"] == 3
    assert row["attempt"] == 1
    assert row["recorded_us"] > 0
    assert row["here_us"] > 0


def test_rerun_of_many(ran: Cli) -> None:
    """A table, newest first, and the numbers of verdicts on standard error."""
    result = ran("rerun", "--all", *worker(ran, "fixed"))

    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert rows[0][:3] == ["KEY", "ATTEMPT", "VERDICT"]
    assert [row[0] for row in rows[1:]] == ["t3", "t2", "t1", "t0"]
    assert [row[2] for row in rows[1:]] == ["same", "other outcome", "other outcome", "same"]
    assert "4 run again: 2 same, 2 other outcome" in result.stderr


def test_rerun_chooses(ran: Cli) -> None:
    """By state and tag, and no more than the limit."""
    expired = ran("rerun", "--all", "--state", "expired", "--json", *worker(ran, "fixed"))
    tagged = ran("rerun", "--all", "--tag", "n:=3", "--json", *worker(ran, "fixed"))
    limited = ran("rerun", "--all", "--limit", "2", "--json", *worker(ran, "work"))
    none = ran("rerun", "--all", "--state", "leased", *worker(ran, "fixed"))

    assert [json.loads(line)["key"] for line in expired.stdout.splitlines()] == ["t1"]
    assert (expired.exit_code, tagged.exit_code) == (1, 0)
    assert [json.loads(line)["key"] for line in tagged.stdout.splitlines()] == ["t3"]
    assert len(limited.stdout.splitlines()) == 2
    assert "more than 2" in limited.stderr
    assert (none.exit_code, none.stdout) == (0, "")


def test_rerun_with_handlers(ran: Cli) -> None:
    """A task is called by its handler; of many, those that no handler is for are left out."""
    module = worker(ran, "handlers")
    ran.ok("new", "n:=5", "--name", "double", "--key", "d")
    ran.ok("run", module[1], "--until-idle", "--workers", "1")
    one = ran.row("rerun", "d", *module)
    every = ran("rerun", "--all", "--json", *module)

    assert (one["verdict"], one["here"]["result"]) == ("same", 10)
    assert [json.loads(line)["key"] for line in every.stdout.splitlines()] == ["d"]
    assert "of which one is for None" in ran.one_error("rerun", "t1", *module, code=2)


def test_rerun_leaves_the_database_alone(ran: Cli) -> None:
    """Not one byte of the log is another."""
    with closing(open_log(ran.url)) as log:
        before = everything(log)
    for words in (["t1"], ["--all"], ["t0", "--attempt", "1", "--at", "end"]):
        ran("rerun", *words, *worker(ran, "work"))

    with closing(open_log(ran.url)) as log:
        assert everything(log) == before


def test_rerun_output_is_safe(cli: Cli) -> None:
    """Whatever a worker raises, nothing of it reaches the terminal as it is."""
    (cli.folder / "nasty_jobs.py").write_text(JOBS)
    cli.ok("new", "--key", "k", "--json-tags", json.dumps({"text": NASTY}), "--max-retries", "0")
    assert cli("run", "nasty_jobs:nasty", "--until-idle").exit_code == 1

    shown = cli("rerun", "k", "--worker", "nasty_jobs:nasty").output
    _, seen = on_terminal("rerun", "--all", "--worker", "nasty_jobs:nasty", folder=cli.folder)

    assert not [text for text in FORBIDDEN if text in shown]
    assert not [text for text in FORBIDDEN if text in seen]


@pytest.mark.parametrize("function", ["waits", "blocks"])
def test_ctrl_c_ends_a_rerun(ran: Cli, function: str) -> None:
    """Cleanly, whether the worker is a def or an async def: no traceback, exit code 130."""
    words = ["rerun", "t0", *worker(ran, function), "--url", ran.url]
    with started(*words, folder=ran.folder) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        code, output, errors = ended(process)

    assert (code, output, errors) == (130, "", "")


def test_ctrl_c_before_the_first_of_many_has_ended(ran: Cli) -> None:
    """It is told that there is nothing to show."""
    result = ran("rerun", "--all", *worker(ran, "interrupted"))

    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "eventq: 0 run again: no attempt has ended\n"


def test_pdb_opens_where_the_worker_raised(ran: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the run, in the worker's frame; nowhere but on a terminal."""
    frames: list[str] = []
    monkeypatch.setattr("eventq.cli.commands.rerun.is_terminal", lambda _stream=None: True)
    monkeypatch.setattr("pdb.post_mortem", lambda at: frames.append(innermost(at)))

    result = ran("rerun", "t1", *worker(ran, "work"), "--pdb")
    monkeypatch.undo()
    refused = ran.one_error("rerun", "t1", *worker(ran, "work"), "--pdb", code=2)

    assert result.exit_code == 0
    assert frames == ["work"]
    assert "terminal" in refused


def innermost(traceback: TracebackType) -> str:
    """The name of the function in which the error was raised."""
    return extract_tb(traceback)[-1].name


@pytest.mark.parametrize(
    "words, code, complaint",
    [
        ([], 2, "expected a KEY, or --all"),
        (["t1", "--all"], 2, "not both"),
        (["--all", "--attempt", "1"], 2, "--attempt"),
        (["--all", "--pdb"], 2, "--pdb"),
        (["t1", "--state", "expired"], 2, "--all"),
        (["t1", "--tag", "n:=1"], 2, "--all"),
        (["t1", "--limit", "1"], 2, "--all"),
        (["t1", "--attempt", "2"], 2, "one of the 1 attempts"),
        (["t1", "--at", "3"], 2, "a task that has been leased by position 3"),
        (["t1", "--attempt", "0"], 2, "--attempt"),
        (["later"], 2, "has been leased"),
        (["none"], 1, "no task has the key 'none'"),
        (["t1", "--at", "1"], 2, "has been leased"),
        (["t1", "--at", "9999"], 2, "--at"),
        (["--all", "--tag", "n"], 2, "NAME=VALUE"),
        (["--all", "--tag", "1=2"], 2, "tags"),
    ],
)
def test_wrong_reruns(ran: Cli, words: list[str], code: int, complaint: str) -> None:
    """Each is told on one line."""
    ran.ok("new", "--key", "later", "--delay", "1h")

    assert complaint in ran.one_error("rerun", *words, *worker(ran, "work"), code=code)


@pytest.mark.parametrize("target", ["", "jobs", "nowhere:work", "json:nothing", "json:__doc__"])
def test_wrong_workers(ran: Cli, target: str) -> None:
    """There is no such module or function, or it is none."""
    ran.one_error("rerun", "t1", "--worker", target, code=2)

    assert "--worker" in ran.one_error("rerun", "t1", code=2)
