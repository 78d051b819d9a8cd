"""Rounds of attacks: they go on where they were broken off, and their figures can be read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tools.rounds import LINE_CHARACTERS, Rounds, lines_of


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
    assert line.endswith("5 rounds in 0 s; 1 failed: 1.")
    assert counts == "  - good (8)"


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

    assert lines_of(Counter({"wal: refused": 2_000, "tasks": 3, "kills": 1, "wal: same": 1})) == [
        "kills (1); tasks (3)",
        "wal: refused (2,000); same (1)",
    ]
    lines = page.read_text().splitlines()
    assert [line for line in lines if line.startswith("  - ")] == [lines[2]]
    assert max(map(len, lines)) <= LINE_CHARACTERS
    assert " ".join(page.read_text().split()).count("(1,000)") == 20
