"""run, handlers and health: the handlers of a module's queue, and whether a run of it lives."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from eventq import Queue
from tests.cli.harness import ended, finished, started, until

JOBS = """
import eventq

queue = eventq.Queue("sqlite:///own.db", max_retries=0)
aio = queue.aio
handlers = eventq.Handlers()

@queue.task(
    "mail.send", lane="mail", deadline="5m", priority=2, max_retries=3,
    retry={ConnectionError: eventq.Backoff.exponential("1s", cap="5m"), ValueError: eventq.Fail},
    result="strict", backoff=eventq.Backoff.linear("2s", cap="1m"),
)
def send(to: str, *, copies: int = 1) -> str:
    return to

@queue.task(unique="path", keep_logs="info")
async def index(ctx: eventq.Context, path: str) -> None:
    await ctx.sleep("1ms")

@handlers.task("lone", isolate=True, recycle=9, memory="1GiB", kill_after="3s")
def lone(n: int) -> int:
    return n

def work(ctx, task):
    return "plain"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with jobs.py, and tasks of each kind in its own and in the default database."""
    (tmp_path / "jobs.py").write_text(JOBS)
    for name in ("own", "eventq"):
        with Queue(f"sqlite:///{tmp_path}/{name}.db") as queue:
            queue.new({"to": "a@b"}, name="mail.send", lane="mail")
            queue.new({"path": "x"}, name="index")
            queue.new({"n": 1}, name="lone")
            queue.new()
    return tmp_path


def left(folder: Path, name: str = "own") -> list[str | None]:
    """The names of the tasks that have not ended."""
    with Queue(f"sqlite:///{folder}/{name}.db", create=False) as queue:
        return [task.name for task in queue.tasks()]


def completed(done: Any) -> int:  # noqa: ANN401 - a finished process
    """How many tasks the run has completed."""
    assert done.returncode == 0, done.stderr
    count: int = json.loads(done.stdout)["completed"]
    return count


RUN = ("--until-idle", "--json")


@pytest.mark.parametrize("target", ["jobs:queue", "jobs:aio"])
def test_a_queue_runs_its_handlers(folder: Path, target: str) -> None:
    """In its own database, and nothing else."""
    done = finished("run", target, *RUN, folder=folder)

    assert completed(done) == 2
    assert left(folder) == ["lone", None]
    assert len(left(folder, "eventq")) == 4


def test_handlers_without_a_queue_run_where_the_command_says(folder: Path) -> None:
    """As a function does."""
    done = finished("run", "jobs:handlers", *RUN, "--url", "sqlite:///eventq.db", folder=folder)

    assert completed(done) == 1
    assert left(folder, "eventq") == ["mail.send", "index", None]


@pytest.mark.parametrize(
    "words, stay",
    [
        (["--lane", "mail", "--processes", "1"], ["index"]),
        (["--lane", "mail=1", "--lane", "other=2", "--processes", "1"], ["index"]),
        (["--lane", "default"], ["mail.send"]),
        (["--name", "mail.*"], ["index"]),
        (["--name", "index", "--name", "mail.send", "--processes", "1"], []),
        (["--name", "index", "--lane", "mail"], ["index", "mail.send"]),
    ],
)
def test_lanes_and_names_choose(folder: Path, words: list[str], stay: list[str]) -> None:
    """What is not chosen is left, also by child processes."""
    done = finished("run", "jobs:queue", *RUN, *words, folder=folder)

    assert completed(done) == 2 - len(stay)
    assert sorted(str(name) for name in left(folder) if name in {"index", "mail.send"}) == stay


def test_a_function_takes_names_and_lanes_as_well(folder: Path) -> None:
    """Those that it is given, and what has no name without any."""
    named = finished("run", "jobs:work", *RUN, "--name", "*", "--lane", "mail", folder=folder)
    plain = finished("run", "jobs:work", *RUN, folder=folder)

    assert (completed(named), completed(plain)) == (1, 1)
    assert left(folder, "eventq") == ["index", "lone"]


@pytest.mark.parametrize("processes", [[], ["--processes", "2"]], ids=["alone", "children"])
def test_a_queue_says_itself_where_it_is(folder: Path, processes: list[str]) -> None:
    """A place on the command line contradicts it; one of the environment is for others."""
    for option in ("--url", "--namespace", "--archive"):
        words = ["run", "jobs:queue", *RUN, option, "sqlite:///x.db", *processes]
        done = finished(*words, folder=folder)
        assert done.returncode == 2
        assert "jobs:queue is a queue, and its module says where: leave out " in done.stderr
        assert option in done.stderr
    assert len(left(folder)) == 4


@pytest.mark.parametrize(
    "words, problem",
    [
        (["jobs:send"], "jobs:send is the handler mail.send: name its queue instead"),
        (["jobs:queue", "--lane", "a=1", "--lane", "b"], "--lane takes LANE=N each time"),
        (["jobs:queue", "--lane", "a=1", "--lane", "a=2"], "--lane takes LANE=N each time"),
        (["jobs:queue", "--lane", "a=0"], "lanes['a']: expected a whole number"),
        (["jobs:queue", "--lane", "!"], "lanes: expected"),
        (["jobs:queue", "--name", "nobody"], "names: expected the name of a handler"),
        (["jobs:queue", "--health", "/nowhere/health"], "health: expected a file"),
    ],
)
def test_wrong_words_are_refused(folder: Path, words: list[str], problem: str) -> None:
    """With the reason, before anything runs."""
    done = finished("run", *words, *RUN, folder=folder)

    assert done.returncode == 2
    assert problem in done.stderr
    assert len(left(folder)) == 4


def test_workers_may_be_fewer_than_the_modules(folder: Path) -> None:
    """``--workers`` says how many tasks of a module's queue run at a time."""
    path = folder / "health"
    words = ["run", "jobs:queue", "--workers", "3", "--health", str(path)]
    with started(*words, folder=folder) as process:
        until(path.exists, "the run says that it lives")
        slots = json.loads(path.read_text())["slots"]
        process.send_signal(signal.SIGTERM)
        ended(process)

    assert slots == 3


def test_handlers_are_listed(folder: Path) -> None:
    """With arguments and options, sorted by name; nothing is run."""
    text = finished("handlers", "jobs:queue", folder=folder).stdout
    lines = finished("handlers", "jobs:queue", "--json", folder=folder).stdout.splitlines()
    lone = finished("--json", "handlers", "jobs:handlers", folder=folder).stdout
    lone_text = finished("handlers", "jobs:handlers", folder=folder).stdout

    assert [line.split("\t")[0] for line in text.splitlines()] == ["NAME", "index", "mail.send"]
    assert json.loads(lines[1]) == {
        "name": "mail.send",
        "lane": "mail",
        "signature": "(to: str, *, copies: int = 1)",
        "async": False,
        "context": False,
        "options": {
            "deadline": "5m", "priority": 2, "max_retries": 3, "backoff": "linear:2s:1m",
        },
        "unique": None,
        "retry": ["ConnectionError: exponential 1s, cap 5m", "ValueError: fail"],
        "result": "strict",
        "keep_logs": None,
        "isolation": None,
    }  # fmt: skip
    index = json.loads(lines[0])
    assert (index["async"], index["unique"], index["keep_logs"]) == (True, "path", "info")
    assert "async, unique path, keeps logs from info" in text
    assert "isolated, kill_after 3s, memory 1 GiB, recycle 9" in lone_text
    assert json.loads(lone)["name"] == "lone"
    assert json.loads(lone)["isolation"]["recycle"] == 9
    assert len(left(folder)) == 4


def test_what_has_no_handlers_is_refused(folder: Path) -> None:
    """With what it is instead."""
    done = finished("handlers", "jobs:work", folder=folder)
    other = finished("handlers", "jobs", folder=folder)

    assert (done.returncode, other.returncode) == (2, 2)
    assert "jobs:work is neither a queue nor eventq.Handlers, but a function" in done.stderr
    assert "expected MODULE:QUEUE" in other.stderr


def test_health_is_the_exit_code(folder: Path) -> None:
    """0 while a run writes its file, 1 once it has been killed or has ended."""
    path = folder / "health"
    dead = finished("health", "health", folder=folder)
    with started("run", "jobs:queue", "--health", "health", folder=folder) as process:
        until(path.exists, "the run says that it lives")
        alive = finished("health", "health", "--json", folder=folder)
        old = finished("health", "health", "--max-age", "1us", folder=folder)
        process.send_signal(signal.SIGTERM)
        ended(process)
    gone = finished("health", "health", folder=folder)

    assert [done.returncode for done in (dead, alive, old, gone)] == [1, 0, 1, 1]
    assert dead.stdout == "health: unhealthy, no run writes it: No such file or directory\n"
    assert json.loads(alive.stdout)["said"]["slots"] > 0
    assert "the run has said nothing for" in old.stdout


def test_health_of_several_processes(folder: Path) -> None:
    """Each has a file of its own; all must live."""
    paths = [folder / "health.1", folder / "health.2"]
    words = ["run", "jobs:queue", "--processes", "2", "--health", "health"]
    with started(*words, folder=folder) as process:
        until(lambda: all(path.exists() for path in paths), "both say that they live")
        alive = finished("health", "health", folder=folder)
        # Nobody writes it anew meanwhile.
        os.killpg(process.pid, signal.SIGSTOP)
        paths[0].write_text("half")
        ill = finished("health", "health", folder=folder)
        os.killpg(process.pid, signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        ended(process)

    assert (alive.returncode, len(alive.stdout.splitlines())) == (0, 2)
    assert ill.returncode == 1
    assert not any(path.exists() for path in paths)


def test_attempts_and_repeats(folder: Path) -> None:
    """What became of each lease is listed, and a task like a final one is made."""
    finished("run", "jobs:queue", *RUN, folder=folder)
    place = ("--url", "sqlite:///own.db")
    listed = finished("show", "1", "--attempts", "--json", *place, folder=folder)
    table = finished("show", "1", "--attempts", *place, folder=folder)
    made = finished("repeat", "1", *place, folder=folder)
    refused = finished("repeat", "4", *place, folder=folder)

    attempt = json.loads(listed.stdout)
    assert (attempt["attempt"], attempt["outcome"], attempt["error"]) == (1, "completed", None)
    assert attempt["started_at"].endswith("Z")
    assert table.stdout.splitlines()[1].startswith("1\t")
    assert "is ready, priority 0" in made.stdout
    assert refused.returncode == 1
    assert "cannot repeat task '4': it is ready" in refused.stderr
    assert left(folder) == ["lone", None, "mail.send"]
