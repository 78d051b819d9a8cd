"""``archive``, ``export`` and ``import`` as a person and a script call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.harness import Cli, on_terminal

READING = [
    ["history", "a"],
    ["show", "1"],
    ["ls", "--state", "cancelled"],
    ["tail", "--after", "0"],
    ["export"],
]


@pytest.fixture
def cut(cli: Cli) -> Cli:
    """A queue of which the first four events were archived, to `old`."""
    cli.ok("new", "n:=1")
    cli.ok("new", "n:=2", "--key", "a")
    cli.ok("cancel", "1")
    cli.ok("cancel", "a", "--reason", "no more")
    cli.ok("new", "n:=3", "--key", "b")
    cli.ok("archive", "old", "--before", "4", "--yes")
    return cli


def test_it_says_what_it_did(cli: Cli) -> None:
    """Once as a plan, then done; a second time there is nothing left to do."""
    for n in range(3):
        cli.ok("new", f"n:={n}")
    plan = cli.row("archive", "old", "--before", "2", "--dry-run")
    untouched = list(cli.folder.glob("old/*"))
    done = cli.row("archive", "old", "--before", "2", "--yes")
    again = cli.row("archive", "old", "--before", "2", "--yes")

    assert plan == {"start": 0, "until": 2, "to_write": 2, "to_delete": 2}
    assert untouched == []
    assert (done["start"], done["segments"], done["written"], done["deleted"]) == (2, 1, 2, 2)
    assert done["text_bytes"] > 0 < done["file_bytes"]
    assert (again["start"], again["written"], again["deleted"]) == (2, 0, 0)


@pytest.mark.parametrize("point", ["2", "2020-01-01T00:00:00Z", "-9000d"])
def test_a_point_that_was_archived_before_is_nothing_new(cut: Cli, point: str) -> None:
    """A script may well ask for less than somebody has moved since."""
    again = cut.row("archive", "old", "--before", point, "--yes")

    assert (again["start"], again["written"], again["deleted"]) == (4, 0, 0)


def test_it_asks_a_person(cli: Cli) -> None:
    """Who says no keeps everything in the database; the files stay for the next time."""
    cli.ok("new", "n:=1")
    words = ("archive", "old", "--before", "end")
    code, text = on_terminal(*words, folder=cli.folder, typed="n\n", EVENTQ_URL=cli.url)

    assert code != 0
    assert "Delete 1 events" in text
    assert cli.rows("tail", "--after", "0")
    assert cli.row("archive", "old", "--before", "end", "--yes")["written"] == 0


def test_a_script_must_say_yes(cli: Cli) -> None:
    """Where nobody can be asked, nothing is written or deleted without it."""
    cli.ok("new", "n:=1")

    assert "--yes" in cli.one_error("archive", "old", "--before", "end", code=2)
    assert not (cli.folder / "old").exists()


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_reading_needs_the_archive(cut: Cli, words: list[str]) -> None:
    """Without it a clear refusal; with it, by option or environment, what there was."""
    refusal = cut.one_error(*words, code=1)
    answer = cut.ok(*words, "--archive", "old")

    assert "have been archived" in refusal
    assert "--archive" in refusal
    assert answer


def test_the_rest_needs_none(cut: Cli) -> None:
    """Open tasks, keys, numbers, new events."""
    assert [row["key"] for row in cut.rows("ls")] == ["b"]
    assert cut.row("show", "a")["final_reason"] == "no more"
    assert cut.row("stats")["cancelled"] == 2
    assert [row["seq"] for row in cut.rows("tail")] == [5]
    assert cut.row("new", "n:=2", "--key", "a")["state"] == "cancelled"
    assert "differs in tags" in cut.one_error("new", "n:=9", "--key", "a", code=1)
    assert cut.row("retry", "a")["state"] == "ready"


def test_bad_points_and_folders(cut: Cli) -> None:
    """Each is refused, naming what was wrong."""
    assert "--before" in cut.one_error("archive", "old", "--before", "soon", "--yes", code=2)
    assert "--before" in cut.one_error("archive", "old", "--before", "99", "--yes", code=2)
    assert "new" in cut.one_error("ls", "--archive", "new", code=1)
    assert "holds no archive" in cut.one_error("archive", "new", "--before", "end", "--yes", code=1)
    (cut.folder / "file").write_text("no folder")
    assert "file" in cut.one_error("archive", "file", "--before", "end", "--yes", code=1)


def test_export_and_import(cut: Cli, tmp_path: Path) -> None:
    """A whole export becomes the same log; one that is no export is refused."""
    lines = cut.ok("export", "--archive", "old")
    (tmp_path / "events.jsonl").write_text(lines)
    report = cut.row("import", "events.jsonl", "sqlite:///again.db")
    again = cut.ok("export", "--url", "sqlite:///again.db")
    (tmp_path / "single.jsonl").write_text(cut.ok("export", "b"))

    assert (report["copied"], report["redacted"]) == (5, False)
    assert again == lines
    assert "not the export" in cut.one_error("import", "single.jsonl", "sqlite:///x.db", code=1)
    assert "another log" in cut.one_error("import", "events.jsonl", f"{other(cut)}", code=1)


def other(cli: Cli) -> str:
    """The URL of another log."""
    url = f"sqlite:///{cli.folder}/other.db"
    cli.ok("new", "--url", url)
    return url


def test_a_part_is_exported_for_reading(cut: Cli) -> None:
    """One object an event, by key and between points."""
    own = [json.loads(line) for line in cut.ok("export", "a", "--archive", "old").splitlines()]
    part = cut.ok("export", "--from", "1", "--to", "3", "--archive", "old", "--redact")
    spans = [json.loads(line) for line in part.splitlines()]

    assert [(row["seq"], row["body"]["kind"]) for row in own] == [(2, "created"), (4, "cancelled")]
    assert own[1]["body"]["reason"] == "no more"
    assert [row["seq"] for row in spans] == [2, 3]
    assert "no more" not in part
    assert "no task" in cut.one_error("export", "nobody", code=1)


def test_a_redacted_export_is_marked(cut: Cli, tmp_path: Path) -> None:
    """Its first line says so, and so does the import."""
    lines = cut.ok("export", "--redact", "--archive", "old")
    (tmp_path / "shape.jsonl").write_text(lines)
    report = cut.row("import", "shape.jsonl", "sqlite:///shape.db")

    assert json.loads(lines.splitlines()[0])["redacted"] is True
    assert "no more" not in lines
    assert report["redacted"] is True
    assert cut.row("stats", "--url", "sqlite:///shape.db")["cancelled"] == 2


def test_a_whole_export_does_not_flood_a_terminal(cut: Cli) -> None:
    """It is for files; and bytes from a log do not belong on a terminal."""
    code, text = on_terminal("export", folder=cut.folder, EVENTQ_URL=cut.url)

    assert code == 2
    assert "send the output" in text


def test_an_export_that_was_cut_off_is_not_imported(cli: Cli) -> None:
    """What is left of it is a log, and nobody would notice."""
    for n in range(3):
        cli.ok("new", f"n:={n}")
    (cli.folder / "part.jsonl").write_text(cli.ok("export")[:-20])

    result = cli("import", "part.jsonl", "sqlite:///copy.db")

    assert result.exit_code == 1
    assert "in the middle of a line" in result.stderr
    assert not (cli.folder / "copy.db").exists()
