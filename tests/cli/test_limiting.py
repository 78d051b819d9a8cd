"""``limit``, ``limits``, ``fair``, ``pause``, ``resume`` and ``pauses``; and who does it."""

from __future__ import annotations

import json

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
    cli.ok("pause", "--tag", "tenant=7")
    shown = [json.loads(line) for line in cli.ok("pauses", "--json").splitlines()]
    cli.ok("resume", "--lane", "mail")
    cli.ok("resume", "--tag", "tenant=7")
    error = cli.one_error("resume", "--lane", "mail", code=2)

    assert [(each["reason"], each["by"]) for each in shown] == [("down", "ada"), ("", person())]
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
