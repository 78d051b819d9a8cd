"""``new --unique`` and ``followers``, and the archive that stops at the slowest one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventq import ArgumentError, Queue
from eventq.archive import archive_events, delete_archived, find_end
from eventq.replay.points import find_point
from tests.archive.logs import NOW
from tests.cli.harness import Cli


@pytest.fixture
def followed(cli: Cli) -> Cli:
    """A queue of ten tasks with a follower that has come to 3, and failed there."""
    with Queue(cli.url, workers=1) as queue:

        @queue.follow("alerts", kinds=["created"], names=["mail.*"], since=0)
        def _note(event: object) -> None:
            if queue.log.head().seq >= 4:
                raise OSError("the pager is off")
            del event

        for n in range(3):
            queue.new({"n": n}, name="mail.send")
        queue.run(lambda _ctx, _task: None, until="idle")
        for n in range(7):
            queue.new({"n": n}, name="mail.send")
        queue.run(lambda _ctx, _task: None, until="idle")
    return cli


def test_a_unique_value_is_one_open_task(cli: Cli) -> None:
    """The second call prints the first one's key; the others are asked for."""
    first = cli.ok("new", "n:=1", "--unique", "sun")
    again = cli.ok("new", "n:=2", "--unique", "sun")
    replaced = cli.row("new", "n:=3", "--unique", "sun", "--on-duplicate", "replace")
    words = ("new", "--unique", "sun", "--on-duplicate", "raise")

    assert first == again == "1\n"
    assert (replaced["tags"], replaced["unique"]) == ({"n": 3}, "sun")
    assert "task '1' is open" in cli.one_error(*words, code=1)
    assert "unique sun" in cli.ok("history", "1")
    assert cli.row("show", "1")["unique"] == "sun"


def test_lines_may_have_values_of_their_own(cli: Cli) -> None:
    """Also ones made of their tags."""
    lines = '{"tags": {"n": 1}, "unique": true}\n' * 2 + '{"tags": {"n": 2}, "unique": true}\n'

    keys = cli.ok("new", "--from", "-", stdin=lines)

    assert keys.split() == ["1", "1", "2"]


def test_followers_are_listed_with_what_they_lack(followed: Cli) -> None:
    """For a person in a table, for a program as JSON."""
    [row] = followed.rows("followers")
    text = followed.ok("followers")

    assert (row["name"], row["kinds"], row["names"]) == ("alerts", ["created"], ["mail.*"])
    assert (row["lag_events"], row["failures"], row["worker"]) == (10, 2, None)
    assert row["error"]["message"] == "the pager is off"
    assert row["seen_at"].endswith("Z")
    assert "the pager is off" in text
    assert "created of mail.*" in text


def test_one_is_dropped_by_name(followed: Cli) -> None:
    """And is told in the log, with who did it."""
    followed.ok("followers", "drop", "alerts", "--by", "ada")

    assert followed.rows("followers") == []
    last = json.loads(followed.ok("tail", "-n", "1", "--json"))
    said = {"follower": "alerts", "by": "ada", "via": "cli"}
    assert (last["kind"], last["body"]) == ("unfollowed", said)
    assert "name of a follower" in followed.one_error("followers", "drop", "alerts", code=2)


def test_an_archive_stops_at_the_slowest_follower(followed: Cli) -> None:
    """It says so, by name; a program that would go on is refused; dropped, it holds nothing."""
    with Queue(followed.url) as queue:
        queue.log.head()
        position = queue.followers()[0].position
        until = find_end(queue.log, find_point(queue.log, "end", now=NOW))
        folder = Path(followed.folder) / "library"
        report = archive_events(queue.log, folder, until=until)
        with pytest.raises(ArgumentError, match="follower alerts"):
            delete_archived(queue.log, folder, until=report.until, now=NOW)

    result = followed("archive", "old", "--before", "end", "--yes", "--json")

    assert result.exit_code == 0, result.output + repr(result.exception)
    assert json.loads(result.stdout)["start"] == position == 0
    assert "follower alerts is at 0" in result.stderr
    followed.ok("followers", "drop", "alerts")
    assert followed.row("archive", "old", "--before", "end", "--yes")["start"] > 10
