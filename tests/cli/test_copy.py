"""copy: what it says, its exit codes, a place on a terminal, and no password anywhere."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from eventq import Queue
from eventq.eventlog import EventLog, open_log
from tests.cli.harness import Cli, ended, finished, on_terminal, started, until
from tests.eventlog.commits import append_each, everything
from tests.servers import new_url
from tools.mongod import ReplicaSet

SECRET = "s3cretw0rd"  # noqa: S105 - guards nothing


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """A file of lines that does not exist yet."""
    return f"file:///{tmp_path}/copy.jsonl"


def test_copy_tells_what_it_did(cli: Cli, file_url: str) -> None:
    """Names and values, tab-separated in a pipe; a second copy says that nothing was left."""
    cli.ok("new", "path=a.png")
    cli.ok("new", "path=b.png")

    first = cli.ok("copy", cli.url, file_url)
    second = cli.ok("copy", cli.url, file_url)

    with closing(open_log(file_url, create=False)) as log:
        seal = log.head().seal.hex()
    assert [line.split("\t") for line in first.splitlines()] == [
        ["from", cli.url],
        ["to", file_url],
        ["resumed at", "0"],
        ["copied", "2"],
        ["position", "2"],
        ["seal", seal],
        ["verified", "same positions, seals and projection"],
    ]
    assert "resumed at\t2\ncopied\t0\nposition\t2\n" in second


def test_copy_in_json(cli: Cli, file_url: str) -> None:
    """--json gives the report as one object."""
    cli.ok("new", "path=a.png")

    row = cli.row("copy", cli.url, file_url)

    with closing(open_log(file_url, create=False)) as log:
        seal = log.head().seal.hex()
    assert row == {"resumed_at": 0, "copied": 1, "seq": 1, "seal": seal}


@pytest.mark.parametrize("where", ["option", "environment"])
def test_copy_takes_the_namespace(
    cli: Cli, file_url: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """It copies one namespace, named as for every command; --url and EVENTQ_URL play no part."""
    with Queue(cli.url, namespace="thumbs") as queue:
        queue.new_many([{"n": n} for n in range(3)])
    cli.ok("new", "path=a.png")
    if where == "environment":
        monkeypatch.setenv("EVENTQ_NAMESPACE", "thumbs")
    option = ["--namespace", "thumbs"] if where == "option" else []

    row = cli.row("copy", *option, cli.url, file_url)

    assert row["copied"] == 3
    assert cli.row("stats", "--url", file_url, "--namespace", "thumbs")["total"] == 3


def test_copy_to_mongodb_and_back(cli: Cli, mongod: ReplicaSet, tmp_path: Path) -> None:
    """The way a user moves to many hosts, and back."""
    url, back = new_url(mongod), f"sqlite:///{tmp_path}/back.db"
    cli.ok("new", "path=a.png", "--key", "a")

    there = cli.ok("copy", cli.url, url)
    cli.ok("new", "path=b.png", "--url", url)
    cli.ok("copy", url, back)

    assert f"to\t{url.partition('?')[0]}\n" in there
    assert [row["key"] for row in cli.rows("ls", "--url", back)] == ["a", "2"]


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    """A bar on standard error, gone when the copy is done; nothing of it in a pipe."""
    with closing(open_log(f"sqlite:///{tmp_path}/log.db")) as log:
        append_each(log, [1] * 20)
    words = ["copy", f"sqlite:///{tmp_path}/log.db"]

    code, shown = on_terminal(*words, f"file:///{tmp_path}/a.jsonl", folder=tmp_path)
    piped = finished(*words, f"file:///{tmp_path}/b.jsonl", folder=tmp_path)

    assert code == piped.returncode == 0
    assert "copying" in shown
    assert "copying" not in piped.stdout + piped.stderr


def test_missing_source_makes_no_target(cli: Cli, file_url: str, tmp_path: Path) -> None:
    """A source that is not there is told, and neither of the two is made."""
    error = cli.one_error("copy", f"sqlite:///{tmp_path}/none.db", file_url, code=1)

    assert "none.db" in error
    assert list(tmp_path.iterdir()) == []


def test_empty_namespace_is_told(cli: Cli, file_url: str, tmp_path: Path) -> None:
    """A name that the source does not have is a slip: those it has are named, and nothing made."""
    cli.ok("new", "path=a.png")

    error = cli.one_error("copy", "--namespace", "thumbs", cli.url, file_url, code=1)

    assert "'thumbs'" in error
    assert "(there: default)" in error
    assert not (tmp_path / "copy.jsonl").exists()


def test_target_with_something_else_is_told(cli: Cli, tmp_path: Path) -> None:
    """Another log, and a file of something else, are refused with their names."""
    other = f"sqlite:///{tmp_path}/other.db"
    (tmp_path / "diary.txt").write_text("Dear diary,\n")
    cli.ok("new", "path=a.png")
    cli.ok("new", "path=b.png", "--url", other)

    assert "other.db: holds another log" in cli.one_error("copy", cli.url, other, code=1)
    assert "diary.txt: is not a file of eventq" in cli.one_error(
        "copy", cli.url, f"file:///{tmp_path}/diary.txt", code=1
    )


def test_damage_is_told_by_position(cli: Cli, file_url: str, tmp_path: Path) -> None:
    """A damaged source is told with the position, and no traceback."""
    with closing(open_log(file_url)) as log:
        append_each(log, [1, 1])
    path = tmp_path / "copy.jsonl"
    path.write_text(path.read_text().replace('\\"n\\":0', '\\"n\\":9'))

    error = cli.one_error("copy", file_url, "memory://", code=1)

    assert "position 1" in error
    assert "seal" in error


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["sqlite:///a.db"],
        ["a.db", "b.db"],
        ["sqlite:///a.db", "sqlite:///b.db", "sqlite:///c.db"],
        ["--namespace", "$ne", "sqlite:///a.db", "sqlite:///b.db"],
        ["http://host/a", "sqlite:///b.db"],
        ["file://host/a", "sqlite:///b.db"],
        ["sqlite:///a.db", "sqlite:///a.db"],
    ],
)
def test_wrong_calls(cli: Cli, tmp_path: Path, words: list[str]) -> None:
    """What cannot be understood ends with exit code 2 and makes nothing."""
    cli.one_error("copy", *words, code=2)

    assert list(tmp_path.iterdir()) == []


def test_no_password_is_shown(cli: Cli, mongod: ReplicaSet, tmp_path: Path) -> None:
    """Neither the answer nor an error has the password of a URL."""
    cli.ok("new", "path=a.png")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    options = "serverSelectionTimeoutMS=300"
    wrong = [
        f"mongodb://me:{SECRET}@{address}/db?{options}",
        f"mongodb://me:{SECRET}@{mongod.members[0].address}/db?{options}",
        f"mongodb://me:{SECRET}@host/db?nonsense=1",
        f"mongodb://me:a@{SECRET}@host/db",
    ]

    for url in wrong:
        for words in ([cli.url, url], [url, f"sqlite:///{tmp_path}/b.db"]):
            result = cli("copy", *words)
            assert result.exit_code in {1, 2}
            assert SECRET not in result.output
            assert "mongodb://me@" in result.stderr


def test_urls_from_the_environment(
    cli: Cli, file_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """env:NAME keeps a URL, and its password, off the command line and out of errors."""
    cli.ok("new", "path=a.png")
    monkeypatch.setenv("THERE", file_url)
    monkeypatch.setenv("WRONG", f"mongodb://me:{SECRET}@host/db?nonsense=1")

    row = cli.row("copy", "env:EVENTQ_URL", "env:THERE")

    assert row["copied"] == 1
    assert "env:NONE" in cli.one_error("copy", cli.url, "env:NONE", code=2)
    assert SECRET not in cli.one_error("copy", cli.url, "env:WRONG", code=2)


@pytest.mark.parametrize("scheme", ["file", "sqlite", "mongo"])
def test_killed_copy_goes_on(tmp_path: Path, scheme: str, request: pytest.FixtureRequest) -> None:
    """A copy killed at any moment is finished by the next one, byte for byte."""
    source = f"sqlite:///{tmp_path}/source.db"
    target = f"{scheme}:///{tmp_path}/target"
    if scheme == "mongo":
        target = new_url(request.getfixturevalue("mongod"))
    with closing(open_log(source)) as before, closing(open_log(target)) as after:
        # A commit is a journey there.
        turns = 300 if scheme == "mongo" else 1_000
        commits = append_each(before, [1, 7] * turns)
        for stop_at in (100, 900):
            with started("copy", source, target, folder=tmp_path) as process:
                until(partial(reaches, after, stop_at), "the copy has got so far")
                process.kill()
                ended(process)

        done = finished("copy", source, target, "--json", folder=tmp_path)

        row = json.loads(done.stdout)
        assert row["resumed_at"] >= 900
        assert row["resumed_at"] + row["copied"] == row["seq"] == 8 * turns
        assert everything(after) == commits


def reaches(log: EventLog, position: int) -> bool:
    """Whether the log has got to the position."""
    return log.head().seq >= position


def test_torn_line_is_finished(cli: Cli, file_url: str, tmp_path: Path) -> None:
    """A torn last line of a file is cut off and copied again."""
    with Queue(cli.url) as queue:
        for n in range(4):
            queue.new({"n": n})
    cli.ok("copy", cli.url, file_url)
    path = tmp_path / "copy.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])

    row = json.loads(cli.ok("copy", "--json", cli.url, file_url))

    assert (row["resumed_at"], row["copied"]) == (3, 1)
    assert path.read_bytes() == whole
    with closing(open_log(file_url)) as copied, closing(open_log(cli.url)) as source:
        assert everything(copied) == everything(source)
