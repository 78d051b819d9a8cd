"""That the benchmarks run and say what they measured; how fast anything is, is no test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_bench_prints_its_rows_as_json(tmp_path: Path) -> None:
    """``--quick --json`` prints one object, with a row for each measure asked for."""
    command = [sys.executable, "-m", "tools.bench", "--quick", "--json", "--dir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--only", "lone", "--only", "memory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    # 1 says that a row is short, which says more about the machine than about the tool.
    assert done.returncode in {0, 1}, done.stderr
    report = json.loads(done.stdout)
    assert [row["name"] for row in report["rows"]] == ["lone", "memory", "memory"]
    assert all(row["measured"] > 0 for row in report["rows"])
    assert {row["verdict"] for row in report["rows"]} <= {"pass", "short"}
    assert list(tmp_path.iterdir()) == [], "its files are removed"
