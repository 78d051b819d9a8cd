"""history, state and why: what each says, to people and to programs, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventq import Queue
from eventq.archive.copy import copy_log
from eventq.eventlog import open_log
from tests.cli.harness import Cli, finished, on_terminal
from tests.docs.test_docs import normal
from tests.servers import new_url

STEP_FIELDS = [
    "seq", "at", "task", "kind", "body", "since_us", "node", "state", "attempt", "retry_count",
    "reason", "is_damage",
]  # fmt: skip


def fill(url: str) -> None:
    """Task a beats b and c; b fails for good, c is scheduled, d waits."""
    with Queue(url, workers=1, max_retries=0) as queue:
        queue.new({"n": 1}, key="b")
        queue.new({"n": 2}, key="a", priority=5)
        queue.new({"n": 3}, key="c", delay="1h", max_age="2h")

        def work(_: object, task: object) -> None:
            if getattr(task, "key", "") == "b":
                raise OSError(5, "disk")

        queue.run(work, until="idle")
        queue.new({"n": 4}, key="d")


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """The command with such a queue in SQLite."""
    fill(cli.url)
    return cli


def test_history_as_it_stood(filled: Cli) -> None:
    """--at cuts it; the fields for programs are those of an event, and more."""
    whole = filled.rows("history", "b")
    begun = filled.rows("history", "b", "--at", str(whole[1]["seq"]))

    assert [row["kind"] for row in whole] == ["created", "leased", "failed", "expired"]
    assert begun == whole[:2]
    assert [list(row) for row in whole] == [STEP_FIELDS] * 4
    assert whole[3]["reason"] == "no retries allowed"


def test_history_on_a_terminal_is_aligned(filled: Cli) -> None:
    """Kinds and states stand below each other."""
    code, received = on_terminal(
        "history", "a", folder=filled.folder, columns=200, EVENTQ_URL=filled.url, NO_COLOR="1"
    )
    lines = received.splitlines()

    assert code == 0
    assert [line.index("  attempt") for line in lines if "  attempt" in line]
    plain = [line.replace("\x1b[32m", "").replace("\x1b[0m", "") for line in lines]
    assert [line[46:55].strip() for line in plain[1:]] == ["created", "leased", "completed"]


def test_state_of_the_queue(filled: Cli) -> None:
    """Before anybody began, and now."""
    then, now = filled.row("state", "--at", "3"), filled.row("state")

    assert then["counts"] == {
        "waiting": 0, "scheduled": 1, "ready": 2, "leased": 0, "completed": 0, "expired": 0,
        "cancelled": 0,
    }  # fmt: skip
    assert [task["key"] for task in then["ready"]] == ["a", "b"]
    assert [task["key"] for task in then["waiting"]] == ["c"]
    assert [task["key"] for task in then["expiring"]] == ["c"]
    assert (now["total"], now["counts"]["completed"], now["counts"]["expired"]) == (4, 1, 1)


def test_state_shows_leases(filled: Cli) -> None:
    """With the node and its last sign of life."""
    [held] = filled.row("state", "--at", "4")["leases"]

    assert (held["key"], held["fence"], held["seen_seq"], held["attempt"]) == ("a", 4, 4, 1)
    assert "\nleases\nKEY\tATTEMPT\tHELD FOR\tLAST SIGN\tLEASE\tNODE\na\t1\t0s\t0s ago\t30s\t" in (
        filled.ok("state", "--at", "4")
    )


def test_state_of_a_task(filled: Cli) -> None:
    """As `show` has it, at the point."""
    task = filled.row("state", "b", "--at", "1")

    assert (task["state"], task["attempt"], task["seq"]) == ("ready", 0, 1)
    assert "state\texpired\n" in filled.ok("state", "b")


def test_lists_are_cut(filled: Cli) -> None:
    """--limit cuts what is named, not what is counted."""
    state = filled.row("state", "--at", "3", "--limit", "1")
    answer = filled.row("why", "d", "--limit", "1")

    assert (len(state["ready"]), state["counts"]["ready"]) == (1, 2)
    assert answer["rank"]["place"] == 1


def test_why(filled: Cli) -> None:
    """For people: the verdict, what else is known, and the rivals."""
    text = normal(filled.ok("why", "a"))

    assert "\nit beat 1 task: 1 by higher priority\n" in text
    assert text.endswith("KEY DECIDED BY PRIORITY NUMBER SCHEDULED AT\nb priority 0 1 <time>")
    assert filled.row("why", "a")["grant"]["rank"]["behind"][0]["field"] == "priority"
    assert filled.row("why", "c")["verdict"].startswith("it is scheduled for ")
    assert "because of created at 3: to run 1h later" in filled.ok("why", "c")


def test_why_names_the_nodes_at_work(filled: Cli) -> None:
    """While b waits, the node that holds a's lease is shown."""
    text = normal(filled.ok("why", "b", "--at", "4"))

    assert "\n1 node holds 1 lease\n" in text
    assert "\n\nnodes\nNODE LEASES LAST SIGN\n<node> 1 0s ago" in text


@pytest.mark.parametrize(
    "words, code, said",
    [
        ("history nobody", 1, "no task has the key 'nobody'"),
        ("state nobody", 1, "no task has the key 'nobody'"),
        ("why nobody", 1, "no task has the key 'nobody'"),
        ("history c --at 2", 1, "no task had, at that point, the key 'c': it was created at 3, 2"),
        ("why c --at 2", 1, "it was created at 3, 2"),
        ("state c --at 0", 1, "it was created at 3, 2"),
        ("state --at 99", 2, "--at: expected a position up to "),
        ("state --at -99", 2, "--at: expected a position up to "),
        ("state --at -9d", 2, "the first event's"),
        ("why a --at 2100-01-01T00:00:00Z", 2, "not in the future"),
        ("history a --at someday", 2, "--at: expected a position like 1041"),
        ("history a --at 2026-11-31T12:00:00", 2, "--at: expected a position like 1041"),
        ("state --limit 0", 2, "'--limit'"),
    ],
)
def test_what_is_refused(filled: Cli, words: str, code: int, said: str) -> None:
    """One line that names what was wrong, and the exit code a script can use."""
    assert said in filled.one_error(*words.split(), code=code)


def test_time_ago_is_understood(filled: Cli) -> None:
    """A word that begins with a minus is a value here, not an option."""
    assert filled.row("state", "--at", "-0s")["total"] == 4
    assert filled.row("state", "--at", "-1")["total"] == 3


@pytest.fixture(params=["file", "mongo"])
def copied(request: pytest.FixtureRequest, filled: Cli, tmp_path: Path) -> str:
    """The same log at another place."""
    if request.param == "file":
        url = f"file:///{tmp_path}/copy.jsonl"
    else:
        url = new_url(request.getfixturevalue("mongod"))
    source, target = open_log(filled.url), open_log(url, create=True)
    try:
        copy_log(source, target)
    finally:
        source.close()
        target.close()
    return url


@pytest.mark.parametrize(
    "words", ["history b", "state --at 4", "state b --at 3", "why a --at 6", "why c --at 5"]
)
def test_every_log_gives_the_same_answer(filled: Cli, copied: str, words: str) -> None:
    """SQLite, MongoDB and a file: what was copied answers as what it was copied from."""
    assert filled.ok(*words.split(), "--url", copied) == filled.ok(*words.split())


def test_nothing_is_written(filled: Cli) -> None:
    """Asking leaves the log as it was, byte for byte."""
    before = Path(filled.folder, "queue.db").read_bytes()
    for words in (["history", "a"], ["state"], ["why", "d"]):
        assert finished(*words, "--url", filled.url, folder=filled.folder).returncode == 0

    assert Path(filled.folder, "queue.db").read_bytes() == before
