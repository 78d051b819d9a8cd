"""verify and anchor: what they say, their exit codes, the key in the environment, the bar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw
import pytest
from click.testing import Result

from eventq.anchors.keys import HmacKey
from eventq.cli.person import person
from eventq.cli.text import iso_text
from eventq.core.task import show_instant
from tests.cli.harness import FORBIDDEN, NASTY, Cli, finished, on_terminal
from tests.verify.tampering import COMMITS, LAST, body_at, resealed, with_body, write_sqlite


@pytest.fixture
def story(cli: Cli) -> Cli:
    """The command, at a small log with every kind of event."""
    write_sqlite(cli.folder / "queue.db", COMMITS)
    return cli


def spoil(cli: Cli, *, sealed: bool = False) -> None:
    """Counts two attempts wrongly, with seals as they were or computed anew."""
    commits = COMMITS
    for seq in (10, 24):
        commits = with_body(commits, seq, {**body_at(seq), "attempt": 7})
    for path in cli.folder.glob("queue.db*"):
        path.unlink()
    write_sqlite(cli.folder / "queue.db", resealed(commits) if sealed else commits)


def keep(cli: Cli, name: str, *words: str) -> str:
    """An anchor of the log as it is now, in a file; gives the path."""
    path = cli.folder / name
    path.write_text(cli.ok("anchor", "export", *words))
    return str(path)


def test_verify_tells_of_a_good_log(story: Cli) -> None:
    """Names and values, tab-separated in a pipe."""
    lines = [line.split("\t") for line in story.ok("verify").splitlines()]

    assert lines == [
        ["namespace", "default"],
        ["positions", f"1 to {LAST}"],
        ["events", str(LAST)],
        ["commits", str(len(COMMITS))],
        ["open tasks", "1"],
        ["seal", COMMITS[-1].seal.hex()],
        ["anchors", "0"],
        ["proven", "nothing, by anchors"],
        ["verified", "consistent, but not proven unaltered"],
    ]


def test_a_log_without_its_beginning_is_verified_from_there(story: Cli) -> None:
    """It says that it trusts the snapshot there; with the archive nothing is trusted."""
    anchors = [keep(story, f"{at}.json", "--at", at) for at in ("6", "12", "end")]
    story.ok("archive", "old", "--before", "12", "--yes")
    alone, row = story("verify"), story.row("verify", "--anchors", anchors[2])

    assert alone.exit_code == 0
    assert f"13 to {LAST}" in alone.stdout
    assert "up to 12 were archived" in alone.stderr
    assert "trusting the snapshot" in alone.stderr
    assert (row["begin"], row["events"], row["anchors"]) == (12, LAST - 12, 1)
    assert story("verify", "--anchors", anchors[0]).exit_code == 1
    held = story.row("verify", "--archive", "old", *(f"--anchors={path}" for path in anchors))
    assert (held["begin"], held["anchors"], held["ok"]) == (0, 3, True)
    assert [row["ok"] for row in story.rows("anchor", "check", *anchors[1:])] == [True, True]
    assert story("anchor", "check", anchors[0]).exit_code == 1
    assert story.row("anchor", "export", "--at", "12")["seq"] == 12
    assert story("anchor", "export", "--at", "11").exit_code == 1


def test_what_is_wrong_behind_a_beginning_is_found(story: Cli) -> None:
    """And a snapshot there that cannot be used leaves nothing to begin with."""
    spoil(story, sealed=True)
    story.ok("archive", "old", "--before", "12", "--yes")
    found = story("verify", "--json")
    for path in story.folder.glob("queue.db"):
        with apsw.Connection(str(path)) as connection:
            connection.execute("UPDATE snapshots SET content = x'00'")
    refused = story("verify")

    assert found.exit_code == 1
    assert json.loads(found.stdout)["findings"][0]["seq"] == 13
    assert refused.exit_code == 1
    assert "--archive" in refused.stderr


def test_a_log_that_was_archived_whole_is_verified(story: Cli) -> None:
    """There is nothing left to be wrong; its end has an anchor all the same."""
    story.ok("archive", "old", "--before", "end", "--yes")
    path = keep(story, "end.json")

    assert f"none behind {LAST}" in story.ok("verify", "--anchors", path)
    assert story("anchor", "check", path).exit_code == 0


def test_verify_names_the_first_position(story: Cli) -> None:
    """A table of what was found in one commit, 1 as exit code, and what to do for more."""
    spoil(story)

    result = story("verify")

    assert result.exit_code == 1
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[:2] for line in lines] == [["SEQ", "RULE"], ["10", "seal"], ["10", "lease"]]
    assert lines[2][2] == "attempt 7 skips, it follows 0"
    assert result.stderr == "eventq: verified 1 to 11 only; see --all\n"


def test_verify_goes_on_when_told(story: Cli) -> None:
    """With --all the rest is verified too."""
    spoil(story, sealed=True)

    result = story("verify", "--all", "--json", "--indexes", "full")

    assert result.exit_code == 1
    verdict = json.loads(result.stdout)
    assert verdict["findings"] == [
        {"seq": seq, "rule": "lease", "problem": "attempt 7 skips, it follows 0"}
        for seq in (10, 24)
    ]
    assert (verdict["ok"], verdict["complete"], verdict["seq"]) == (False, True, LAST)


def test_verify_in_json_has_every_field(story: Cli) -> None:
    """One object; a promise to programs."""
    assert list(story.row("verify")) == [
        "namespace",
        "begin",
        "seq",
        "at",
        "seal",
        "events",
        "commits",
        "counts",
        "open",
        "complete",
        "anchors",
        "findings",
        "proofs",
        "proven",
        "warning",
        "ok",
    ]


def test_verify_checks_anchors_too(story: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that hold are counted; one that does not is found though all seals are right."""
    monkeypatch.setenv("EVENTQ_ANCHOR_KEY", "k")
    files = [keep(story, "a.json", "--at", "5"), keep(story, "b.json")]
    words = [word for file in files for word in ("--anchors", file)]

    good = story.row("verify", *words)
    write_over(story, resealed([COMMITS[0], *COMMITS[1:3], *changed_by()]))
    bad = story("verify", *words, "--json")

    assert (good["ok"], good["anchors"]) == (True, 2)
    assert bad.exit_code == 1
    [finding] = json.loads(bad.stdout)["findings"]
    assert (finding["seq"], finding["rule"]) == (LAST, "anchor")
    assert finding["problem"].endswith("something was changed behind 5")


def changed_by() -> list[Any]:
    """The rest of the story, told of somebody else."""
    commits = with_body(COMMITS, 20, {**body_at(20), "by": "nobody"})
    return commits[3:]


def write_over(cli: Cli, commits: list[Any]) -> None:
    """Another log in the place of the one there was."""
    for path in cli.folder.glob("queue.db*"):
        path.unlink()
    write_sqlite(cli.folder / "queue.db", commits)


def test_verify_refuses_a_name_without_events(story: Cli) -> None:
    """A slip of the pen must not be taken for a proof."""
    line = story.one_error("verify", "--namespace", "defualt", code=1)

    assert "no events in namespace 'defualt' (there: default)" in line


def test_verify_of_a_log_that_lost_all_is_a_finding(story: Cli) -> None:
    """Where an anchor says that there was something."""
    file = keep(story, "a.json")
    write_over(story, [])

    result = story("verify", "--anchors", file, "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["findings"][0]["problem"] == (
        f"{file}:1: the log ends at 0, before the anchor's {LAST}: its tail was cut off"
    )


def test_export_says_that_a_key_is_missing(story: Cli) -> None:
    """The anchor is the one line on standard output."""
    result = story("anchor", "export", "--at", "-1")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "namespace": "default",
        "seq": 23,
        "at": COMMITS[-2].at,
        "seal": COMMITS[-2].seal.hex(),
        "by": person(),
    }
    assert "no key in EVENTQ_ANCHOR_KEY" in result.stderr


@pytest.mark.parametrize("point", ["99", "nonsense", "1"])
def test_export_refuses_a_point_that_is_none(story: Cli, point: str) -> None:
    """Behind the end, not understood, or before any commit has ended."""
    line = story.one_error("anchor", "export", "--at", point, code=2)

    assert "expected" in line


def checked(cli: Cli, monkeypatch: pytest.MonkeyPatch, key: str, *words: str) -> Result:
    """What `anchor check` says with a key, or without one when it is empty."""
    monkeypatch.setenv("EVENTQ_ANCHOR_KEY", key)
    return cli("anchor", "check", *words)


def test_anchor_alone_shows_what_it_can(story: Cli) -> None:
    """It is a wrong call."""
    result = story("anchor")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "export" in result.stderr


def test_check_wants_the_right_key(story: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong one is a finding, a missing one a wrong call; none is ever shown."""
    monkeypatch.setenv("EVENTQ_ANCHOR_KEY", "r1ght")
    file = keep(story, "a.json")

    right = checked(story, monkeypatch, "r1ght", file)
    wrong = checked(story, monkeypatch, "wr0ng", file)
    missing = checked(story, monkeypatch, "", file)

    assert right.exit_code == 0
    assert right.stdout.splitlines()[1].split("\t") == [
        f"{file}:1",
        str(LAST),
        show_instant(COMMITS[-1].at),
        f"hmac {HmacKey(b'r1ght').name}",
        person(),
        "holds",
    ]
    assert wrong.exit_code == 1
    assert "another key made the anchor" in wrong.stdout
    assert missing.exit_code == 2
    assert "set EVENTQ_ANCHOR_KEY" in missing.stderr
    said = "".join(r.stdout + r.stderr for r in (right, wrong, missing)) + Path(file).read_text()
    assert "r1ght" not in said
    assert "wr0ng" not in said


def test_check_takes_the_key_from_another_variable(
    story: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For who keeps several."""
    monkeypatch.setenv("MY_KEY", "k")
    file = keep(story, "a.json", "--key-env", "MY_KEY")

    assert story.row("anchor", "check", file, "--key-env", "MY_KEY") == {
        "place": f"{file}:1",
        "seq": LAST,
        "at": iso_text(COMMITS[-1].at),
        "kind": "hmac",
        "key": HmacKey(b"k").name,
        "by": person(),
        "ok": True,
        "position": None,
        "problem": None,
    }


def test_an_anchor_that_anybody_made_is_told(story: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a key expects it to have been used; who has none is told what that means."""
    file = keep(story, "a.json")

    without = checked(story, monkeypatch, "", file)
    with_key = checked(story, monkeypatch, "k", file)

    assert without.exit_code == 0
    assert "are not signed" in without.stderr
    assert with_key.exit_code == 1
    assert "anybody may have made it" in with_key.stdout


def test_verify_tells_of_a_forged_anchor(story: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log may be good all the same."""
    monkeypatch.setenv("EVENTQ_ANCHOR_KEY", "right")
    file = keep(story, "a.json")
    monkeypatch.setenv("EVENTQ_ANCHOR_KEY", "wrong")

    result = story("verify", "--anchors", file, "--json")

    assert result.exit_code == 1
    verdict = json.loads(result.stdout)
    assert [finding["rule"] for finding in verdict["findings"]] == ["signature"]
    assert verdict["findings"][0]["problem"].startswith(f"{file}:1: the signature does not fit")


def test_what_is_no_anchor_is_a_wrong_call(story: Cli) -> None:
    """A missing file, and one of something else."""
    path = story.folder / "log.json"
    path.write_text(NASTY)

    missing = story("anchor", "check", str(story.folder / "none.json"))
    line = story.one_error("anchor", "check", str(path), code=2)

    assert missing.exit_code == 2
    assert "expected an anchor" in line
    assert not any(bad in line for bad in FORBIDDEN)


def test_nothing_from_a_log_reaches_the_terminal_raw(story: Cli) -> None:
    """A kind or a key that somebody has made up is escaped."""
    body = {**body_at(20), "kind": NASTY}
    write_over(story, resealed(with_body(COMMITS, 20, body)))

    result = story("verify")

    assert result.exit_code == 1
    assert "20\tunknown" in result.stdout
    assert not any(bad in result.stdout for bad in FORBIDDEN)


def test_the_bar_stands_on_standard_error(story: Cli) -> None:
    """On a terminal, where it is gone at the end; the answer is not in it."""
    code, screen = on_terminal("verify", "--url", story.url, folder=story.folder)

    assert code == 0
    assert "verifying" in screen
    assert "consistent" in screen


def test_it_is_quiet_in_a_pipe(story: Cli) -> None:
    """No bar, no colour."""
    done = finished("verify", "--url", story.url, folder=story.folder)

    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert line.startswith("eventq: warning: without an anchor, a complete rewrite or a cut tail")
    assert "\x1b" not in done.stdout
