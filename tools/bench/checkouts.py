"""Measures eventq as one checkout or another has it, each sample in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from tools.bench.sample import Order, Sample, sample_path

HERE = Path(__file__).parents[2]
# A sample that takes longer hangs: the slowest takes minutes.
PATIENCE_S = 1_800.0


class SampleFailed(Exception):  # noqa: N818 - it reads as what it is
    """The process that took a sample failed; the message is the end of what it wrote."""


class Checkout:
    """A copy of a checkout's package, so that an edit during the run changes nothing."""

    def __init__(self, source: Path, folder: Path) -> None:
        """``folder`` is where the copy is put; it is there. Raises FileNotFoundError."""
        package = source / "eventq"
        shutil.copytree(package, folder / "eventq", ignore=shutil.ignore_patterns("__pycache__"))
        self.revision = _revision(source)
        # The package is the copy's, these tools are always those here.
        paths = os.pathsep.join([str(folder), str(HERE)])
        self._environment = os.environ | {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}

    def sample(self, measure: str, directory: Path, *, quick: bool, servers: str | None) -> Sample:
        """One sample of the measure, its files below the directory. Raises SampleFailed."""
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            order = Order(measure, folder, quick, servers)
            text = msgspec.json.encode(order).decode()
            done = subprocess.run(
                [sys.executable, "-m", "tools.bench.sample", text],
                env=self._environment,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=PATIENCE_S,
            )
            if done.returncode:
                print(done.stderr, file=sys.stderr)
                raise SampleFailed(done.stderr.strip().rpartition("\n")[2] or "it was killed")
            return msgspec.json.decode(sample_path(Path(folder)).read_bytes(), type=Sample)


def _revision(source: Path) -> str:
    """The commit that is checked out, marked where files differ from it."""
    # Without optional locks, git only looks.
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(source),
        "describe",
        "--always",
        "--dirty",
        "--exclude",
        "*",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
