"""Rounds of an attack: options, counts that are kept, figures, and what a killed one leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.harness import until
from tools.figures import LINE_CHARACTERS, lines_of
from tools.folders import clear, own_folder, prefix_of
from tools.rounds import INTERRUPTED, WRONG, ResumeError, Rounds, make_parser, run_asked

MOST_S = 60.0


def good(_number: int) -> Counter[str]:
    """A round in which all is well."""
    return Counter(good=2)


def test_rounds_go_on_where_they_were_broken_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the counts, and without what was played; the report is one more item of a page."""
    kept, page = tmp_path / "kept.json", tmp_path / "page.md"
    page.write_text("# Figures\n")
    played: list[int] = []

    def one(number: int) -> Counter[str]:
        played.append(number)
        assert number != 1, "this one is bad"
        return Counter(good=2)

    Rounds("Test", one).run(3, resume=kept)
    rounds = Rounds("Test", one)
    failed = rounds.run(5, resume=kept)
    rounds.report(page)

    assert (played, failed) == ([0, 1, 2, 3, 4], [1])
    assert "this one is bad" in capsys.readouterr().out
    [_, line, counts] = page.read_text().splitlines()
    assert line.startswith("- Test, ")
    assert re.search(r": 5 rounds in \d+ s; 1 failed: 1\.$", line)
    assert counts == "  - good (8)"


def asked(rounds: Rounds, *words: str) -> int:
    """The exit code of an attack that is called with these words."""
    return run_asked(rounds, make_parser("tools.test", None, rounds=3).parse_args(words))


def test_who_breaks_it_off_loses_no_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the third round: the two before are kept, said, and gone on behind."""
    kept = tmp_path / "kept.json"

    def breaks(number: int) -> Counter[str]:
        if number == 2:
            raise KeyboardInterrupt
        return good(number)

    code = asked(Rounds("Test", breaks), "--resume", str(kept))
    again = Rounds("Test", good)

    assert code == INTERRUPTED
    assert capsys.readouterr().err == f"broken off; --resume {kept} goes on\n"
    assert asked(again, "--resume", str(kept)) == 0
    assert (again.done, again.outcomes) == (3, {"good": 6})


@pytest.mark.parametrize(
    "content, says",
    [
        ('{"title": "Te', "does not say how far"),
        ("[]", "does not say how far"),
        ('{"title": "Test"}', "does not say how far"),
        (
            '{"title": "Else", "done": 2, "failed": [], "spent_s": 1, "outcomes": {}}',
            "is of another attack",
        ),
    ],
)
def test_a_file_that_is_no_beginning_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, says: str
) -> None:
    """One that is damaged, or another attack's, is told of before any round, and not written."""
    kept = tmp_path / "kept.json"
    kept.write_text(content)

    code = asked(Rounds("Test", good), "--resume", str(kept))

    assert code == WRONG
    assert says in capsys.readouterr().err
    assert kept.read_text() == content
    with pytest.raises(ResumeError):
        Rounds("Test", good).run(1, resume=kept)


@pytest.mark.parametrize(
    "words",
    [
        ["--minutes", "0"],
        ["--minutes", "nan"],
        ["--minutes", "-1"],
        ["--rounds", "0"],
        ["--round", "-1"],
        ["--report", "nowhere/page.md"],
        ["--report", "."],
        ["--resume", "nowhere/kept.json"],
        ["--resume", "."],
    ],
    ids=" ".join,
)
def test_an_option_that_leads_nowhere_is_told_at_once(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not after hours, when the figures are to be written."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as raised:
        asked(Rounds("Test", good), *words)

    assert raised.value.code == WRONG
    assert f"argument {words[0]}: " in capsys.readouterr().err


def test_a_round_behind_the_last_one_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """An attack with so many cases has no others."""
    assert asked(Rounds("Test", good, end=3), "--round", "3") == WRONG
    assert capsys.readouterr().err == "--round 3: the last one is 2\n"
    assert asked(Rounds("Test", good, end=3), "--round", "2") == 0


def test_of_what_is_measured_the_highest_is_told() -> None:
    """Other counts are added up."""
    rounds = Rounds("Test", lambda number: Counter({"tasks": 2, "most MiB of WAL": 3 - number}))

    rounds.run(4)

    assert rounds.outcomes == Counter({"tasks": 8, "most MiB of WAL": 3})


def test_figures_are_lines_that_can_be_read(tmp_path: Path) -> None:
    """An item for each kind of outcomes, below that of the run; none is longer than a line."""
    page = tmp_path / "page.md"
    page.write_text("# Figures\n")
    outcomes = Counter({f"wal, cut: came to {number}": 1_000 for number in range(20)})
    rounds = Rounds("Test", lambda _: outcomes)

    rounds.run(1)
    rounds.report(page)

    assert lines_of(Counter({"at: refused": 2_000, "tasks": 3, "all": 1, "at: same": 1})) == [
        "all (1); tasks (3)",
        "at: refused (2,000); same (1)",
    ]
    lines = page.read_text().splitlines()
    assert [line for line in lines if line.startswith("  - ")] == [lines[2]]
    assert max(map(len, lines)) <= LINE_CHARACTERS
    assert " ".join(page.read_text().split()).count("(1,000)") == 20


def test_what_a_killed_attack_has_left_is_removed(tmp_path: Path) -> None:
    """Its folder, by the next one; those of processes that live, and of others, stay."""
    with subprocess.Popen(["true"]) as ended:
        pass
    names = [
        f"attack-{ended.pid}-a",
        f"{prefix_of('attack')}b",
        "attack-c-d",
        f"other-{ended.pid}-e",
    ]
    for name in names:
        (tmp_path / name / "in").mkdir(parents=True)

    with own_folder("attack", within=tmp_path) as folder:
        left = {path.name for path in tmp_path.iterdir()}

    assert left == {*names[1:], folder.name}


@pytest.mark.slow
@pytest.mark.timeout(5 * MOST_S)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells a child")
@pytest.mark.parametrize("attack", ["torture", "soak"])
def test_processes_end_with_an_attack_that_is_killed(attack: str, tmp_path: Path) -> None:
    """None of them goes on alone; the next attack takes away the folder, and its disk."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", f"tools.{attack}", "--rounds", "1"]
    name = f"eventq-{attack}"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        until(lambda: len(at_work(tmp_path)) >= 4, "it has begun")
        process.send_signal(signal.SIGKILL)
    folders = [path.name for path in tmp_path.iterdir()]

    until(lambda: not at_work(tmp_path), "its processes have ended")
    assert [each.startswith(name) for each in folders] == [True]
    clear(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def at_work(folder: Path) -> list[str]:
    """The commands of processes whose words name this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            # It has ended.
            continue
        if str(folder) in words and "\0-m\0tools." in words:
            found.append(words)
    return found
