"""``whatif`` with other limits, turns and crons; the stepper's panes where rules are used."""

from __future__ import annotations

import pytest

from eventq import Queue
from eventq.audit import Cursor
from eventq.cli.stepper.panes import detail_lines, state_lines
from eventq.testing import ManualClock
from tests.cli.harness import Cli


@pytest.fixture
def ruled(cli: Cli) -> Cli:
    """A log of a limit, a pause, turns and a schedule, in which tasks have run."""
    clock = ManualClock()
    with Queue(cli.url, clock=clock, workers=1) as queue:

        @queue.task
        def tidy() -> None:
            clock.forward("1s")

        queue.every("10m", tidy, schedule="tidy")
        queue.set_limit("smtp", running=1)
        queue.set_turns(per="tenant")
        queue.new_many([{"tenant": t} for t in "aab"], limits=["smtp"])
        queue.pause(lane="mail")
        queue.new(lane="mail")
        queue.run(lambda _ctx, _task: clock.forward("1s"), until="idle", names=["*"])
        clock.forward("30m")
        queue.run(until="idle")
        clock.forward("30m")
    return cli


def test_other_rules_are_supposed(ruled: Cli) -> None:
    """In text with shares and a note about dues; in JSON with all of it."""
    words = ["--limit", "smtp:running=2,rate=none", "--fair", "tenant", "--weight", "a=2"]
    row = ruled.row("whatif", *words, "--cron", "tidy=* * * * *")
    told = ruled("whatif", *words, "--cron", "tidy=none")

    assert row["recorded"] == row["as_it_was"]
    assert [each["share"] for each in row["what_if"]["by_share"]] == ["", "a", "b"]
    [dues] = row["schedules"]
    assert (dues["schedule"], dues["recorded"]) == ("tidy", 1)
    assert dues["what_if"] > 10
    assert "share b wait median" in told.stdout
    assert "schedule tidy: 1 due made a task, 0 in the what-if" in told.stderr


@pytest.mark.parametrize(
    "words, told",
    [
        (("--limit", "smtp"), "--limit: expected NAME:running=N"),
        (("--limit", "smtp:walking=1"), "--limit: expected NAME:running=N"),
        (("--limit", "smtp:running=x"), "--limit: expected NAME:running=N"),
        (("--limit", "smtp:running=1,running=2"), "--limit: expected NAME:running=N"),
        (("--limit", "smtp:running=0"), "running: expected a whole number"),
        (("--limit", "other:none"), "limits: expected a limit of a task"),
        (("--weight", "a=1"), "--weight: expected --fair beside it"),
        (("--fair", "tenant", "--weight", "a"), "'--weight': expected SHARE=N"),
        (("--cron", "tidy"), "--cron: expected NAME=SPEC"),
        (("--cron", "other=0 * * * *"), "crons: expected a schedule that made a task"),
        (("--cron", "tidy=0 0 31 2 *"), "spec: expected a cron expression"),
    ],
)
def test_wrong_suppositions_name_the_option(ruled: Cli, words: tuple[str, ...], told: str) -> None:
    """On one line, with what was given."""
    assert told in ruled.one_error("whatif", *words, code=2)


def test_the_stepper_shows_rules(ruled: Cli) -> None:
    """At every position; what is held back stands apart from what runs next."""
    with Queue(ruled.url) as queue:
        cursor = Cursor(queue.log, now=queue._node.now())
        while cursor.forward():
            view = cursor.view()
            assert state_lines(view, changes_only=True, width=80, height=40)
            assert detail_lines(view.step)
        lines = [str(line) for line in state_lines(view, changes_only=False, width=80, height=40)]

    assert "held back  1" in lines
    assert "  1 by pause of lane mail" in lines
    assert "next to run  0" in lines
    for name in ("limits", "pauses", "schedules"):
        assert any(line.split() == [name, "1"] for line in lines)
