"""``limit``, ``limits``, ``fair``, ``pause``, ``resume`` and ``pauses``; and who does it."""

from __future__ import annotations

import json

import pytest

from eventq import Queue
from eventq.cli.person import person
from tests.cli.harness import Cli


def test_a_limit_is_set_and_lifted_by_hand(cli: Cli) -> None:
    """The log keeps who did it; `limits` shows who waits."""
    cli.ok("limit", "set", "smtp", "--running", "2", "--rate", "5/1m", "--by", "ada")
    cli.ok("new", "host=mx1", "--limit", "smtp", "--exclusive", "one", "--share", "7")
    row = json.loads(cli.ok("limits", "--json").splitlines()[-1])
    cli.ok("limit", "lift", "smtp")

    assert (row["limit"], row["bound"], row["rate"], row["waiting"]) == ("smtp", 2, 5, 1)
    with Queue(cli.url) as queue:
        [event, *_] = queue.events()
        assert (event.kind, getattr(event.body, "by", None)) == ("limited", "ada")
        assert queue.limits()[-1].bound is None


def test_turns_are_set_and_lifted(cli: Cli) -> None:
    """A weight that is no number is wrongly called."""
    cli.ok("fair", "--per", "tenant", "--weight", "big=3")
    cli.one_error("fair", "--weight", "big", code=2)
    cli.ok("fair", "--lift")

    with Queue(cli.url) as queue:
        assert [event.kind for event in queue.events()] == ["shared", "shared"]


def test_what_is_paused_is_shown_and_resumed(cli: Cli) -> None:
    """In the same words; what is not paused cannot be resumed."""
    cli.ok("pause", "--lane", "mail", "--reason", "down", "--by", "ada", "--until", "2h")
    cli.ok("pause", "--tag", "tenant=7", "--until", "2100-01-01T01:00:00+01:00")
    shown = [json.loads(line) for line in cli.ok("pauses", "--json").splitlines()]
    cli.ok("resume", "--lane", "mail")
    cli.ok("resume", "--tag", "tenant=7")
    error = cli.one_error("resume", "--lane", "mail", code=2)

    assert [(each["reason"], each["by"]) for each in shown] == [("down", "ada"), ("", person())]
    assert shown[1]["until"] == "2100-01-01T00:00:00.000000Z"
    assert "what is paused" in error
    assert cli.ok("pauses").count("mail") == 0


def test_whoever_does_it_may_give_another_name(cli: Cli) -> None:
    """As a name of theirs, where many share one account."""
    cli.ok("new")
    cli.ok("update", "1", "--priority", "5", "--by", "ada")
    cli.ok("cancel", "1", "--by", "bob")
    cli.ok("retry", "1", "--by", "eve")

    rows = cli.rows("history", "1")[1:]
    assert [row["body"]["by"] for row in rows] == ["ada", "bob", "eve"]


@pytest.mark.parametrize(
    "words, told",
    [
        ("limit set smtp --running 0", "running: expected a whole number"),
        ("limit set smtp --rate 100", "rate: expected a number of leases and a duration"),
        ("limit set smtp", "expected --running or --rate"),
        ("limit set smtp --running 1 --per a-b", "per: expected a tag"),
        ("limit set exclusive --running 2", "'exclusive' is always there"),
        ("new a=1 --limit hosts", "limits: expected a tag 'host'"),
        ("new a=1 --exclusive \x01", "exclusive: expected printable text of at most 255 bytes"),
        (f"new a=1 --limit hosts={'x' * 65_536}", "limits: expected printable text"),
        ("new a=1 --after nokey", "no task has the key 'nokey'"),
        ("resume --lane mail", "what is paused, in the same words, got {'lane': 'mail'}"),
        ("resume", "what is paused, in the same words, got 'everything'"),
        ("pause --until 0s", "until: expected an instant to come"),
        ("pause --value mx1", "value: expected a `limit` beside it"),
        ("fair --per tenant --weight a=0", "weights: expected a whole number"),
        ("flow nokey", "nokey"),
        ("schedules resume nope", "schedule: expected the name of a schedule"),
    ],
)
def test_bad_input_names_what_was_wrong(cli: Cli, words: str, told: str) -> None:
    """On one line, and nothing is appended."""
    cli.ok("limit", "set", "hosts", "--running", "1", "--per", "host")

    result = cli(*words.split(" "))

    assert result.exit_code in {1, 2}
    [line] = result.stderr.splitlines()
    assert told in line
    assert len(line) < 600
    with Queue(cli.url) as queue:
        assert queue.log.head().seq == 1


def test_lists_tell_what_a_task_waits_for(cli: Cli) -> None:
    """`ls`, `stats`, `state` and a snapshot tell limits, pauses, turns and what they hold back."""
    cli.ok("limit", "set", "smtp", "--running", "1", "--per", "host")
    cli.ok("fair", "--per", "tenant", "--weight", "big=2")
    cli.ok("pause", "--lane", "mail", "--by", "ada")
    for words in ("--lane mail", "--limit smtp host=mx1", "--limit nobody", "--after 4", ""):
        cli.ok("new", *words.split())
    rows = {row["number"]: row["waits_for"] for row in cli.rows("ls")}
    state = cli.row("state")
    cli.ok("snapshot", "create")
    snapshot = cli.row("snapshot", "show", "8")

    assert rows == {
        4: "pause of lane mail",
        5: None,
        6: "limit nobody",
        7: "task 4",
        8: None,
    }
    assert [task["number"] for task in state["ready"]] == [5, 8]
    assert state["held"] == {"limit nobody": 1, "pause of lane mail": 1}
    assert [each["limit"] for each in state["limits"]] == ["nobody", "smtp"]
    assert [each["by"] for each in state["pauses"]] == ["ada"]
    assert state["turns"] == snapshot["turns"] == {"per": "tenant", "weights": {"big": 2}}
    assert [each["limit"] for each in snapshot["limits"]] == ["smtp"]
    assert [each["scope"]["lane"] for each in snapshot["pauses"]] == ["mail"]
    assert (snapshot["waits"], snapshot["flows"]) == (1, 0)
    assert "task 4" in cli.ok("ls", "--state", "waiting")
    assert "pause\tlane mail by ada" in cli.ok("snapshot", "show", "8")
    for title in ("held back", "limits", "pauses"):
        assert f"\n{title}\n" in cli.ok("state")
    stats = cli.row("stats")
    assert (stats["limits"], stats["pauses"], stats["schedules"]) == (1, 1, 0)


def test_a_difference_tells_rules(cli: Cli) -> None:
    """Limits and pauses that were said between the two points."""
    cli.ok("limit", "set", "smtp", "--running", "1")
    cli.ok("limit", "set", "smtp", "--running", "2")
    cli.ok("pause", "--lane", "mail")

    told = cli("diff", "1", "end").stdout

    assert "limit smtp\trunning\t1\t2" in told
    assert "pause of lane mail" in told
