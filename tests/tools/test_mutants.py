"""The planted faults: all still apply, some are found each time, and where none is nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.mutants.campaign import CONTROL, Result, hunt_one, load, save
from tools.mutants.faults import MUTANTS
from tools.mutants.hunters import Find, simulate, stages
from tools.mutants.mutant import Mutant, NotApplicableError, plant, source_of
from tools.mutants.report import BEGIN, END, write_report

# How many there have to be, and what each may take, in seconds.
LEAST, MOST_S = 45, 120.0
# What is found by the first seeds.
SOON = ("released-counts", "snooze-forgotten")


def test_there_are_enough() -> None:
    """In many rooms, each of another kind."""
    assert len(MUTANTS) >= LEAST
    assert len({mutant.file for mutant in MUTANTS.values()}) > LEAST // 2
    assert len({mutant.breaks for mutant in MUTANTS.values()}) == len(MUTANTS)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_still_applies(name: str) -> None:
    """Its old text is there once, and what it leaves is Python; else it is to be written anew."""
    mutant = MUTANTS[name]

    assert mutant.new in source_of(mutant)
    assert mutant.old != mutant.new


def test_a_fault_of_other_source_is_refused() -> None:
    """One whose text is gone, is there twice, or leaves no Python."""
    seal = Mutant(name="f", breaks="", file="core/seal.py", old="genesis(", new="genesis")
    for old, new in (("no such text", ""), ("return", ""), ("def genesis(", "def genesis")):
        with pytest.raises(NotApplicableError, match="f: "):
            source_of(Mutant(name="f", breaks="", file=seal.file, old=old, new=new))


@pytest.mark.slow
@pytest.mark.parametrize("name", SOON)
def test_a_fault_is_found(name: str) -> None:
    """By the simulation, in a copy of the package; the original is as it was."""
    before = (Path("eventq") / MUTANTS[name].file).read_text(encoding="utf-8")

    result = hunt_one(name, MUTANTS[name], seconds=MOST_S)

    assert result.find is not None
    assert result.find.hunter.startswith("simulation, `--seed ")
    assert (Path("eventq") / MUTANTS[name].file).read_text(encoding="utf-8") == before


@pytest.mark.slow
def test_without_a_fault_nothing_is_found(tmp_path: Path) -> None:
    """The control."""
    plant(None, tmp_path)

    assert simulate(tmp_path, seeds=30, steps=200, compares=False) is None


def test_a_hunt_takes_no_longer_than_it_may() -> None:
    """Its stages share the time, small ones first."""
    found = list(stages(MOST_S))

    assert sum(stage.seconds for stage in found) == pytest.approx(MOST_S)
    assert found[0].seconds == min(stage.seconds for stage in found)


def test_what_was_found_is_kept_and_told(tmp_path: Path) -> None:
    """A campaign that was broken off goes on; the page has a row for each fault, and one table."""
    kept, page = tmp_path / "mutants.json", tmp_path / "page.md"
    name = next(iter(MUTANTS))
    results = {
        CONTROL: Result(CONTROL, None, 120.0),
        name: Result(name, Find("simulation, `--seed 7 --steps 300`", "history: 5", "text"), 3.0),
    }
    save(kept, results.values())
    page.write_text(f"before\n{BEGIN}\nwhat was there\n{END}\nafter\n")

    assert load(kept) == results
    write_report(page, load(kept))
    write_report(page, load(kept))

    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\nOn ")
    assert text.endswith(f"{END}\nafter\n")
    assert "1 of 1 found.\n1 by the simulation. Without a fault, nothing was found in" in text
    assert text.count(f"| `{name}` | {MUTANTS[name].breaks} | simulation, `--seed 7") == 1
    assert "what was there" not in text
    assert load(tmp_path / "none.json") == {}
