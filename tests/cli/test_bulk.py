"""``bulk`` and ``undo``: shown before it is done, done to just what was shown, and taken back."""

from __future__ import annotations

from tests.cli.harness import Cli


def test_many_are_changed_and_it_is_taken_back(cli: Cli) -> None:
    """Nothing happens without --apply; the history tells who did it, why, and from where."""
    for number in range(3):
        cli.ok("new", f"n={number}", "--name", "mail")
    shown = cli.row("bulk", "cancel", "--name", "mail", "--tag", "n=1")
    head = cli.row("stats")["seq"]
    done = cli.row("bulk", "cancel", "--name", "mail", "--apply", "--by", "ada", "--reason", "why")
    [listed] = cli.rows("bulk")
    undone = cli.row("undo", str(done["id"]), "--apply")

    assert (shown["count"], shown["sample"], head) == (1, ["2"], 3)
    assert (done["changed"], listed["changed"], undone["changed"]) == (3, 3, 3)
    last = cli.rows("history", "1")[1]
    assert (last["body"]["by"], last["body"]["via"], last["body"]["bulk"]) == ("ada", "cli", 4)
    assert "in bulk 4 from the command line: why" in cli.ok("history", "1")


def test_one_is_moved_to_another_lane(cli: Cli) -> None:
    """All else of it stays; the listing of events says so too."""
    cli.ok("new", "--priority", "8")
    moved = cli.row("update", "1", "--lane", "mail", "--by", "ada")

    assert (moved["lane"], moved["priority"]) == ("mail", 8)
    assert "lane default to mail by ada" in cli.ok("history", "1")
    assert "lane mail by ada" in cli.ok("replay")


def test_many_are_moved_to_another_lane(cli: Cli) -> None:
    """Of one lane, to another: --lane says which are meant, --to-lane where they go."""
    for lane in ("mail", "heavy"):
        cli.ok("new", "--lane", lane)
    done = cli.row("bulk", "update", "--lane", "mail", "--to-lane", "slow", "--apply")

    assert done["changed"] == 1
    assert [row["lane"] for row in cli.rows("ls")] == ["slow", "heavy"]
    assert cli("bulk", "update", "--lane", "mail").exit_code == 2
    assert cli("bulk", "update", "--lane", "slow", "--to-lane", "a b").exit_code == 2


def test_what_cannot_be_done_ends_as_it_should(cli: Cli) -> None:
    """Nothing that fits: 1; no selector, no reason, no such event: 2; not undoable: 1."""
    cli.ok("new", "--name", "mail")

    assert cli("bulk", "retry", "--state", "expired").exit_code == 1
    assert cli("bulk", "cancel").exit_code == 2
    assert cli("bulk", "cancel", "--name", "mail", "--apply", "--require-reason").exit_code == 2
    assert cli("undo", "99").exit_code == 2
    assert cli("undo", "1").exit_code == 1
