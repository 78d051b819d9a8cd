"""``find``: tasks and attempts by what happened to them, with over what it was looked."""

from __future__ import annotations

import pytest

from eventq import Queue
from tests.cli.harness import Cli
from tests.support import ManualClock


@pytest.fixture
def failing(cli: Cli) -> Cli:
    """Three tasks: one that completed, and two that failed for good, each after two attempts."""
    with Queue(cli.url, clock=ManualClock(), workers=1, max_retries=1, backoff=0) as queue:
        queue.new({"bad": False}, key="good", name="mail")
        queue.new({"bad": True}, key="bad", name="mail")
        queue.new({"bad": "true"}, key="worse", name="bill")

        def work(_ctx: object, task: object) -> None:
            if task.tags["bad"]:  # type: ignore[attr-defined]
                kind = ConnectionError if task.key == "bad" else ValueError  # type: ignore[attr-defined]
                raise kind("no route")

        queue.run(work, names=["*"], until="idle")
    return cli


def test_tasks_are_found_by_what_happened_to_them(failing: Cli) -> None:
    """Each condition by itself; all that are given must hold."""

    def keys(*words: str) -> list[str]:
        return [row["key"] for row in failing.rows("find", *words)]

    assert keys("--failed-for-good") == ["bad", "worse"]
    assert keys("--failed-for-good", "--error", "ValueError") == ["worse"]
    assert keys("--attempts", "2+") == ["bad", "worse"]
    assert keys("--tag", "bad=true") == ["bad", "worse"]
    assert keys("--name", "mail", "--ran", "0s") == ["good", "bad"]
    assert keys("--state", "completed") == ["good"]


def test_attempts_are_found_each_with_its_own_error(failing: Cli) -> None:
    """Also those that were not the last of their tasks."""
    rows = failing.rows("find", "--each", "attempt", "--error", "ConnectionError")

    assert [(row["key"], row["attempt"], row["outcome"]) for row in rows] == [
        ("bad", 1, "failed"),
        ("bad", 2, "failed"),
    ]
    assert [row["state"] for row in rows] == ["ready", "expired"]


def test_a_range_is_told_and_kept(failing: Cli) -> None:
    """By positions: tasks as they stood at its end, which changed within it."""
    answer = failing("find", "--from", "0", "--to", "3", "--json")
    later = failing.rows("find", "--from", "4")

    assert answer.stdout.count('"state":"ready"') == 3
    assert "3 tasks over events 1 to 3" in answer.stderr
    assert "by a pass over the log" in answer.stderr
    assert {row["key"] for row in later} == {"good", "bad", "worse"}


def test_counts_groups_and_columns(failing: Cli) -> None:
    """One number, a table of what they share, or the columns that were chosen."""
    assert failing.ok("find", "--count", "--name", "mail").strip() == "2"
    assert failing.row("find", "--count", "--name", "mail")["count"] == 2
    grouped = failing.ok("find", "--failed-for-good", "--group-by", "error").splitlines()
    assert grouped == ["ERROR\tCOUNT", "ConnectionError\t1", "ValueError\t1"]
    shown = failing.ok("find", "--columns", "key,state", "--name", "bill").splitlines()
    assert shown == ["KEY\tSTATE", "worse\texpired"]


def test_a_list_that_was_cut_says_so(failing: Cli) -> None:
    """And of how many."""
    assert "these are the first 1 of 3; see --limit" in failing("find", "--limit", "1").stderr


def test_the_catalog_answers_where_it_is_there(failing: Cli) -> None:
    """And gives the same answer, at another path, too; each task says what it is of."""
    words = ("find", "--failed-for-good", "--json", "--limit", "1")
    before = failing(*words)
    failing.ok("catalog", "build")
    after = failing(*words)

    assert '"source":"log"' in before.stdout
    assert before.stdout.replace('"source":"log"', '"source":"catalog"') == after.stdout
    assert "by the catalog" in after.stderr
    assert "first 1 of 2" in after.stderr


@pytest.mark.parametrize(
    "words, code, said",
    [
        (("--error", "NoSuchError"), 1, "0 tasks over events 1 to"),
        (("--from", "5", "--to", "3"), 2, "where the period begins"),
        (("--from", "2030-01-31T12:00:00Z", "--to", "4"), 2, "the period's begin"),
        (("--attempts", "3"), 2, "a number and a plus"),
        (("--columns", "nothing"), 2, "there is no column"),
        (("--columns", "fence"), 2, "see --each attempt"),
    ],
)
def test_what_cannot_be_answered(
    failing: Cli, words: tuple[str, ...], code: int, said: str
) -> None:
    """Nothing found ends with 1 and says over what it was looked; a wrong call with 2."""
    result = failing("find", *words)

    assert result.exit_code == code
    assert said in result.stderr
