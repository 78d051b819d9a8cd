"""That the benchmarks run and say what they measured; how fast anything is, is no test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tools.bench import chart
from tools.bench.report import Floor, Report, Row
from tools.bench.sample import MEASURES
from tools.mongod import Missing
from tools.mongod.replica_set import find_program

ROOT = Path(__file__).parents[2]
# These may be nothing at all, and that is good; of few tasks one node may have done all.
MAY_BE_NOTHING = {"% off the mean", "a commit", "of fastest"}


def bench(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """What the benchmarks write down when they run like this, in tiny sizes."""
    written, folder = tmp_path / "bench.json", tmp_path / "databases"
    folder.mkdir()
    options = ["--quick", "--json", str(written), "--dir", str(folder), *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # 1 says that a row is short, which says more about the machine than about the tool.
    assert done.returncode in {0, 1}, done.stderr
    assert list(folder.iterdir()) == [], "its files are removed"
    report: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return report


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_gives_positive_figures(tmp_path: Path, name: str) -> None:
    """Each measure runs, and each of its figures is a number above nothing."""
    report = bench(tmp_path, "--only", name)

    for row in report["rows"]:
        assert row["name"] == name
        assert row.get("failures", []) == []
        if "skipped" in row:
            skip_here(row["skipped"])
        assert row["median"] > 0 or (row["median"] == 0 and row["unit"] in MAY_BE_NOTHING)


def skip_here(reason: str) -> None:
    """Skips a test, except in CI for the want of a server that belongs there."""
    try:
        find_program()
    except Missing:
        assert os.environ.get("CI") != "true", reason
    pytest.skip(reason)


def test_two_checkouts_are_measured_in_one_run(tmp_path: Path) -> None:
    """The figures of the other checkout come from the eventq that lies there."""
    other = tmp_path / "other"
    shutil.copytree(ROOT / "eventq", other / "eventq")
    with (other / "eventq" / "__init__.py").open("a", encoding="utf-8") as package:
        package.write(f"\nopen({str(tmp_path / 'seen')!r}, 'a').close()\n")

    report = bench(tmp_path, "--against", str(other), "--only", "frames", "--rounds", "2")

    (row,) = report["rows"]
    assert len(row["samples"]) == len(row["before"]) == 2
    assert row["ratio"] == pytest.approx(1, rel=0.5)
    assert (tmp_path / "seen").exists()


def test_a_chart_shows_each_row_that_has_a_floor() -> None:
    """The drawing is XML, with a bar for each side of such a row and its name."""
    floor = Floor(1.5, at_most=True)
    rows = [
        Row(name="a", measure="A & B", unit="ms", floor=floor, samples=[1.0, 2.0], before=[0.0]),
        Row(name="b", measure="for information", unit="ms", samples=[1.0]),
        Row(name="c", measure="skipped", skipped="no server"),
    ]

    drawn = ET.fromstring(chart.draw(Report({"cores": "2"}, rows), []))  # noqa: S314 - our own

    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[-3:] == ["A & B", "0 ms", "1.5 ms"]
