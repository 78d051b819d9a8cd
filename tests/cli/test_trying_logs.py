"""fork and whatif: what they say, their exit codes, and what they refuse."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from eventq.eventlog import open_log
from tests.cli.harness import Cli, on_terminal
from tests.cli.trying import ran
from tests.eventlog.commits import everything
from tests.servers import new_url
from tools.mongod import ReplicaSet

__all__ = ["ran"]

SECRET = "s3cretw0rd"  # noqa: S105 - guards nothing

# -- fork ------------------------------------------------------------------------------------------


def test_fork_tells_what_it_did(ran: Cli, tmp_path: Path) -> None:
    """Names and values, and what became of a point inside a commit."""
    fork = f"sqlite:///{tmp_path}/fork.db"
    with closing(open_log(ran.url)) as log:
        commits = everything(log)
    [inside] = [c for c in commits if len(c.bodies) > 1][:1]

    output = ran.ok("fork", f"{ran.url}@{inside.first}", fork)

    lines = [line.split("\t") for line in output.splitlines()]
    assert lines[:3] == [["from", ran.url], ["to", fork], ["position", str(inside.first - 1)]]
    assert "inside a commit" in lines[3][1]
    with closing(open_log(fork, create=False)) as log:
        assert everything(log) == commits[: commits.index(inside)]


def test_fork_in_json(ran: Cli, tmp_path: Path) -> None:
    """The report; every way to write the point, and the URL by its variable."""
    for number, (words, asked) in enumerate(
        (
            ([f"{ran.url}@4"], 4),
            (["env:EVENTQ_URL@-0s"], None),
            ([f"{ran.url}@end"], None),
            ([ran.url, "--at", "3"], 3),
        )
    ):
        target = f"sqlite:///{tmp_path}/{number}.db"
        row = ran.row("fork", words[0], target, *words[1:])
        assert row["seq"] == ran.row("stats", "--url", target)["seq"]
        assert row["asked"] == asked or row["seq"] == ran.row("stats")["seq"]


def test_fork_of_an_archived_log(ran: Cli, tmp_path: Path) -> None:
    """It reads the archive; without it, nothing is made."""
    folder, without = str(tmp_path / "old"), tmp_path / "without.db"
    ran.ok("archive", folder, "--before", "4", "--yes")

    refused = ran("fork", f"{ran.url}@end", f"sqlite:///{without}")
    inside = ran.row("fork", f"{ran.url}@2", f"sqlite:///{tmp_path}/a.db", "--archive", folder)
    beyond = ran.row("fork", f"{ran.url}@end", f"sqlite:///{tmp_path}/b.db", "--archive", folder)

    assert (refused.exit_code, without.exists()) == (1, False)
    assert "--archive" in refused.stderr
    assert (inside["seq"], beyond["seq"]) == (2, ran.row("stats")["seq"])


def test_a_url_with_a_sign_needs_the_option(cli: Cli, tmp_path: Path) -> None:
    """With --at all of the word is a URL, also what looks like a point in it."""
    url = f"sqlite:///{tmp_path}/q@2.db"
    odd = f"sqlite:///{tmp_path}/q@7"
    cli.ok("new", "--url", url)
    cli.ok("new", "--url", odd)

    assert cli.row("fork", f"{url}@1", f"sqlite:///{tmp_path}/a.db")["seq"] == 1
    assert cli.row("fork", odd, f"sqlite:///{tmp_path}/b.db", "--at", "1")["seq"] == 1


def test_fork_of_mongodb(cli: Cli, mongod: ReplicaSet, tmp_path: Path) -> None:
    """To a file and back to another database."""
    url, again = new_url(mongod), new_url(mongod)
    cli.ok("new", "path=a.png", "--url", url)
    cli.ok("new", "path=b.png", "--url", url)

    file_url = f"file:///{tmp_path}/past.jsonl"
    assert cli.row("fork", f"{url}@1", file_url)["seq"] == 1
    assert cli.row("fork", f"{file_url}@end", again)["seq"] == 1
    assert cli.row("stats", "--url", again)["ready"] == 1


@pytest.mark.parametrize(
    "words, code",
    [
        (["{url}", "{new}"], 2),
        (["{url}@someday", "{new}"], 2),
        (["{url}@", "{new}"], 2),
        (["@4", "{new}"], 2),
        (["{url}@999", "{new}"], 2),
        (["{url}@0", "{new}"], 2),
        (["{url}@2000-01-01T12:00:00Z", "{new}"], 2),
        (["{url}@4"], 2),
        (["env:NONE@4", "{new}"], 2),
        (["nonsense@4", "{new}"], 2),
        (["{url}@4", "nonsense"], 2),
        (["{new}@4", "{new}"], 1),
        (["{url}@4", "{url}"], 1),
        (["{url}@4", "{new}", "--namespace", "other"], 1),
    ],
)
def test_wrong_forks(ran: Cli, tmp_path: Path, words: list[str], code: int) -> None:
    """Each is told on one line, and no target is made."""
    new = f"sqlite:///{tmp_path}/new.db"

    ran.one_error("fork", *[w.format(url=ran.url, new=new) for w in words], code=code)

    assert not (tmp_path / "new.db").exists()


def test_a_bare_instant_of_a_fork_is_told_in_utc(ran: Cli, tmp_path: Path) -> None:
    """Before the error, so that a reader sees which instant the log does not have."""
    result = ran("fork", f"{ran.url}@2000-01-01T12:00", f"sqlite:///{tmp_path}/new.db")

    assert result.exit_code == 2
    told, error = result.stderr.splitlines()
    assert "2000-01-01T12:00 here is " in told
    assert "expected an instant from" in error
    assert not (tmp_path / "new.db").exists()


def test_fork_shows_no_password(cli: Cli) -> None:
    """Also where a login was taken for a point."""
    for word in (
        f"mongodb://me:{SECRET}@host/db",
        f"mongodb://me:{SECRET}@nopoint",
        f"mongodb://me:{SECRET}@host/db@noinstant",
        f"mongodb://me:{SECRET}@12",
    ):
        result = cli("fork", word, "memory://")
        assert result.exit_code == 2, result.output
        assert SECRET not in result.output


# -- whatif ----------------------------------------------------------------------------------------


def test_whatif_in_a_pipe(ran: Cli) -> None:
    """Three accounts side by side."""
    lines = [line.split("\t") for line in ran.ok("whatif", "--workers", "2").splitlines()]
    rows = {line[0]: line[1:] for line in lines}

    assert rows[""] == ["RECORDED", "AS IT WAS", "WHAT IF"]
    assert rows["tasks"] == ["4", "4", "4"]
    assert rows["completed"] == ["2", "2", "2"]
    assert rows["workers"] == ["1", "1", "2"]
    assert {"makespan", "completed/s", "wait median", "wait p95", "wait max"} <= set(rows)


def test_whatif_in_json(ran: Cli) -> None:
    """All options at once, twice the same."""
    words = [
        *("--workers", "3", "--workers-then", "2", "--backoff", "exponential:1s:5m"),
        *("--max-retries", "none", "--max-age", "1h", "--deadline", "none"),
        *("--priority", "n:=1:5", "--priority", "kind=a:b:-3", "--fail-rate", "0.5"),
        *("--from", "1", "--to", "end", "--seed", "7"),
    ]

    first, again = ran.row("whatif", *words), ran.row("whatif", *words)

    assert first == again
    assert first["recorded"]["tasks"] == first["what_if"]["tasks"] == 3
    assert first["left_out"] == 1
    assert first["seed"] == 7
    assert [row["priority"] for row in first["what_if"]["by_priority"]] == [5, 0]


def test_whatif_on_a_terminal(ran: Cli) -> None:
    """A table, and a bar that is gone at the end."""
    code, shown = on_terminal("whatif", "--url", ran.url, folder=ran.folder)

    assert code == 0
    assert "RECORDED" in shown
    assert "replaying" in shown


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["--workers", "0"], "workers"),
        (["--workers", "-1"], "workers"),
        (["--workers", "x"], "--workers"),
        (["--max-retries", "-1"], "max_retries"),
        (["--max-retries", "x"], "--max-retries"),
        (["--max-age", "5"], "max_age"),
        (["--deadline", "-5s"], "deadline"),
        (["--backoff", "square:1s"], "backoff"),
        (["--priority", "n=1"], "--priority"),
        (["--priority", "n:5"], "NAME=VALUE"),
        (["--priority", "n:={:5"], "JSON"),
        (["--priority", "1=2:5"], "tags"),
        (["--priority", f"n=1:{2**31}"], "priority"),
        (["--fail-rate", "2"], "fail_rate"),
        (["--fail-rate", "nan"], "fail_rate"),
        (["--seed", "-1"], "seed"),
        (["--from", "999"], "--from"),
        (["--to", "-999"], "--to"),
        (["--from", "3", "--to", "3"], "--to"),
        (["--to", "2"], "--to: expected a point by which at least one attempt"),
    ],
    ids=" ".join,
)
def test_wrong_whatifs(ran: Cli, words: list[str], complaint: str) -> None:
    """Each is told on one line, with exit code 2."""
    assert complaint in ran.one_error("whatif", *words, code=2)


def test_the_commands_create_nothing(cli: Cli, tmp_path: Path) -> None:
    """Where there is no database, none is made."""
    for words in (
        ["rerun", "1", "--worker", "json:dumps"],
        ["whatif"],
        ["fork", f"{cli.url}@1", f"sqlite:///{tmp_path}/new.db"],
    ):
        assert cli(*words).exit_code in {1, 2}

    assert list(tmp_path.iterdir()) == []
