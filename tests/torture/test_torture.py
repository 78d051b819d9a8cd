"""Torture: a short round of `tools.torture`, and that it finds a worker that does not fence."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.mutants.faults import MUTANTS
from tools.mutants.mutant import plant
from tools.torture.playing import play

# A round on a disk that is full or broken; some without faults, in any of which whoever stood still
# may hear first that it is too late.
BROKEN, WHOLE_ROUNDS = 2, (0, 3, 6)
MOST_S = 300.0


@pytest.mark.slow
@pytest.mark.timeout(MOST_S)
def test_nothing_is_lost_or_doubled_under_torture() -> None:
    """All kinds of processes are killed and stopped on a broken disk; all ends, and is sealed."""
    outcomes = play(BROKEN, kills=2)

    assert outcomes["kills"] == 2
    assert outcomes["overtaken"] == outcomes["logs removed"] == 1
    assert outcomes["tasks"] > 20


@pytest.mark.slow
@pytest.mark.timeout(MOST_S)
def test_a_worker_that_does_not_fence_is_found(tmp_path: Path) -> None:
    """With the fault in a copy of eventq, who comes late ends what another is at, and is seen."""
    plant(MUTANTS["fence-not-asked"], tmp_path)
    for number in WHOLE_ROUNDS:
        done = subprocess.run(
            [sys.executable, "-m", "tools.torture", "--round", str(number), "--kills", "1"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            break

    assert done.returncode == 1
    assert re.search(r"findings: .*invariant (6|15) at", done.stderr)
