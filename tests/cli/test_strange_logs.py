"""The questions on logs that no eventq has written: an answer or one clear line, never a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventq.eventlog import EventLog, open_log
from tests.audit.nasty import nasty_log
from tests.cli.harness import FORBIDDEN, Cli
from tests.eventlog.commits import commit_after

CREATED = '{"kind":"created","policy":{"backoff":"linear","backoff_us":1},"tags":{}'
FAR = 2**62


def strange(log: EventLog) -> None:
    """Commands to the terminal, instants that no calendar has, tags that are a list, early leases.

    Task 9 is leased before its instant, task 11 was due before all time.
    """
    for commit in nasty_log().read(after=0):
        log.append(commit)
    bodies = [
        f'{CREATED},"scheduled_at":{FAR},"expires_at":{FAR}}}',
        f'{{"kind":"leased","attempt":1,"worker":"w","ttl_us":{FAR}}}',
        f'{CREATED},"scheduled_at":{-FAR}}}',
        '{"kind":"future","of":"the queue"}',
    ]
    tasks = [9, 9, 11, 11]
    head = log.head()
    log.append(commit_after(head, bodies=bodies, tasks=tasks, at=head.at + 1))


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command with such a log in SQLite."""
    made = Cli(tmp_path_factory.mktemp("strange"))
    log = open_log(made.url, create=True)
    strange(log)
    log.close()
    return made


@pytest.mark.parametrize(
    "words",
    [
        "replay",
        "replay --json",
        "replay --tag a=b",
        "state",
        "state --json",
        "state 8",
        "state 9 --json",
        "history 8",
        "history 9",
        "history 11",
        "why 8",
        "why 9 --json",
        "why 11",
        "ls",
        "show 8",
        "tail",
        "diff 2 end --json",
        "diff 0 end --all",
        "bisect --expr task(9)",
    ],
)
def test_every_question_is_answered(cli: Cli, words: str) -> None:
    """With exit code 0, or 1 for what differs; nothing of the log takes hold of the terminal."""
    result = cli(*words.split())

    assert result.exit_code == (1 if words.startswith("diff") else 0), result.output
    assert [bad for bad in FORBIDDEN if bad in result.output] == []


def test_a_lease_that_came_too_early_is_told(cli: Cli) -> None:
    """The rules forbid it, so that is the answer."""
    assert "too early: it was scheduled for 9999-12-31 23:59:59.999Z" in cli.ok("why", "9")


@pytest.mark.parametrize("words", [["replay", "--task", "9" * 5_000], ["history", "9" * 900]])
def test_a_key_longer_than_any(cli: Cli, words: list[str]) -> None:
    """Each command looks a key up in the same way."""
    line = cli.one_error(*words, code=2)

    assert "key: expected text of at most 255 bytes" in line


@pytest.mark.parametrize(
    "words", [["replay", "--task", "1"], ["bisect", "--expr", "task(1)"], ["history", "1"]]
)
def test_a_number_whose_task_has_a_key(cli: Cli, words: list[str]) -> None:
    """A task is found by one name only, and each command says which."""
    line = cli.one_error(*words, code=1)

    assert "the task with that number has the key 'cat'" in line


def test_a_history_with_an_illegal_move_is_a_finding(tmp_path: Path) -> None:
    """It is shown to its end, and the exit code tells a script."""
    cli = Cli(tmp_path)
    log = open_log(cli.url, create=True)
    bodies = [f"{CREATED}}}", '{"kind":"completed","fence":3}']
    log.append(commit_after(log.head(), bodies=bodies, tasks=[1, 1]))
    log.close()

    told, rows = cli("history", "1"), cli("history", "1", "--json")

    assert [told.exit_code, rows.exit_code] == [1, 1]
    assert "damage: task 1 is scheduled, so completed is no legal move" in told.output
    assert '"is_damage":true' in rows.output
