"""``catalog``: built, shown and deleted; and ``ls``, which says by what it found final tasks."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from eventq import Queue
from tests.cli.harness import Cli, ended, started, until
from tests.servers import new_url
from tools.mongod import ReplicaSet


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """A database with three tasks, of which two are cancelled: five events."""
    for number in range(3):
        cli.ok("new", f"n={number}", "--key", f"k{number}")
    cli.ok("cancel", "k0")
    cli.ok("cancel", "k2")
    return cli


def test_build_makes_it_and_goes_on(filled: Cli, tmp_path: Path) -> None:
    """The row says where it is, how far it has come, and what it holds."""
    made = filled.row("catalog", "build")
    filled.ok("new")
    behind = filled.row("catalog", "info")
    again = filled.row("catalog", "build")

    assert list(made) == ["path", "seq", "at", "behind", "begins", "tasks", "size_bytes"]
    assert made["path"] == str(tmp_path / "queue.db.catalog")
    assert (made["seq"], made["behind"], made["begins"], made["tasks"]) == (5, 0, 0, 3)
    assert made["size_bytes"] > 0
    assert (behind["seq"], behind["behind"]) == (5, 1)
    assert (again["seq"], again["behind"], again["tasks"]) == (6, 0, 4)


def test_an_empty_log_has_an_empty_one(cli: Cli) -> None:
    """It is built, too, and it is said that nothing is there."""
    with Queue(cli.url) as queue:
        queue.stats()

    result = cli("catalog", "build", "--json")

    assert result.exit_code == 0
    row = json.loads(result.stdout)
    assert (row["seq"], row["at"], row["tasks"]) == (0, None, 0)


def test_one_that_is_elsewhere_is_used_where_it_is_named(
    filled: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an option of the commands that look for tasks, or for all by the environment."""
    there = ("--catalog", str(tmp_path / "there.catalog"))
    filled.ok("catalog", "build", *there)
    words = (
        ("find", "--state", "cancelled"),
        ("ls", "--state", "cancelled"),
        ("bulk", "retry", "--state", "cancelled"),
    )

    without = {row["source"] for word in words for row in filled.rows(*word)}
    named = {row["source"] for word in words for row in filled.rows(*word, *there)}
    monkeypatch.setenv("EVENTQ_CATALOG", there[1])
    by_environment = {row["source"] for word in words for row in filled.rows(*word)}

    assert (without, named, by_environment) == ({"log"}, {"catalog"}, {"catalog"})
    for command in ("ls", "find"):
        assert filled(command, "--catalog", str(tmp_path / "queue.db")).exit_code == 2


def test_drop_deletes_it_and_a_second_time_nothing(filled: Cli, tmp_path: Path) -> None:
    """The log is as it was; whether there was one is said."""
    filled.ok("catalog", "build")

    first, second = filled.row("catalog", "drop"), filled.row("catalog", "drop")

    assert (first["dropped"], second["dropped"]) == (True, False)
    assert not list(tmp_path.glob("*.catalog*"))
    assert len(filled.rows("ls", "--state", "cancelled")) == 2


def test_info_without_one_ends_with_1(filled: Cli) -> None:
    """It says on standard error how to make one."""
    result = filled("catalog", "info")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("queue.db.catalog: there is none; see: eventq catalog build\n")


def test_a_path_of_its_own(filled: Cli, tmp_path: Path) -> None:
    """With --catalog it lies elsewhere; a file that can be none is refused."""
    path = str(tmp_path / "other" / "some.catalog")

    assert filled.row("catalog", "build", "--catalog", path)["path"] == path
    assert filled.row("catalog", "info", "--catalog", path)["tasks"] == 3
    assert filled.row("catalog", "drop", "--catalog", path) == {"path": path, "dropped": True}
    line = filled.one_error("catalog", "build", "--catalog", "precious.txt", code=2)
    assert ".catalog" in line


def test_one_of_another_log_is_built_anew_and_said(filled: Cli, tmp_path: Path) -> None:
    """A restored or rewritten log is another one."""
    filled.ok("catalog", "build")
    for file in tmp_path.glob("queue.db*"):
        if not file.name.startswith("queue.db.catalog"):
            file.unlink()
    filled.ok("new")

    shown = filled("catalog", "info")
    built = filled("catalog", "build", "--json")

    assert shown.exit_code == 1
    assert "lost its end" in shown.stderr
    assert "built anew, since it is of another log" in built.stderr
    assert json.loads(built.stdout)["tasks"] == 1


def test_ls_says_by_what_it_found_final_tasks(filled: Cli) -> None:
    """The same rows with and without a catalog, but for their source."""
    words = ("ls", "--state", "cancelled", "--limit", "5")
    before = filled.rows(*words)
    filled.ok("catalog", "build")
    after = filled.rows(*words)

    assert [row.pop("source") for row in before] == ["log", "log"]
    assert [row.pop("source") for row in after] == ["catalog", "catalog"]
    for row in before + after:
        del row["age_us"]
    assert before == after
    assert [row["key"] for row in after] == ["k2", "k0"]


def test_a_follower_goes_on_until_ctrl_c(filled: Cli) -> None:
    """It keeps up with the log, and ends as any command does that is interrupted."""
    url = {"EVENTQ_URL": filled.url}
    with started("catalog", "build", "--follow", folder=filled.folder, **url) as process:
        until(lambda: filled("catalog", "info").exit_code == 0, "it is built")
        filled.ok("new")
        until(lambda: filled.row("catalog", "info")["behind"] == 0, "it has caught up")
        process.send_signal(signal.SIGINT)

        assert ended(process)[0] == 130


def test_a_log_on_mongodb_has_its_own_in_the_cache_folder(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongod: ReplicaSet
) -> None:
    """There is no place beside it; `ls` finds it there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cli.url = new_url(mongod)
    cli.ok("new", "--key", "k")
    cli.ok("cancel", "k")

    built = cli.row("catalog", "build")
    [listed] = cli.rows("ls", "--state", "cancelled", "--limit", "5")

    assert Path(built["path"]).parent == tmp_path / "cache" / "eventq"
    assert (built["tasks"], listed["source"], listed["key"]) == (1, "catalog", "k")
