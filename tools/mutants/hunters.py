"""Who hunts a planted fault: the simulation, and real processes on a real file.

Each runs in a process of its own, in the folder that holds the copy; it is ended at its first find.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from tools.mutants.mutant import ROOT

FAILED = re.compile(r"seed (\d+) failed: ")
# What is printed of one find.
SAID = re.compile(r"    (.+?) at (\d+): (.+)")
# From this seed on, each stage of a hunt; tests of the simulation have others.
FIRST_SEED = 20_000
# The part of a run of processes in which there are calls; then all is to end.
CALLING = 0.18
# How many steps of seeds one core plays in a second, about.
STEPS_PER_S = 1_800
# A hunter that takes so many times longer than it may hangs; many share a machine. In seconds.
PATIENCE, ENDS_S = 12, 60.0


@dataclass(frozen=True)
class Find:
    """What found a fault."""

    hunter: str
    """With what plays it again: the seed, say."""
    invariant: str
    text: str


@dataclass(frozen=True)
class Stage:
    """A part of a hunt, and for how long it goes on, in seconds of a core of its own."""

    hunter: str
    """``simulation`` or ``processes``."""
    seconds: float
    steps: int = 0
    """Of each seed."""

    @property
    def seeds(self) -> int:
        """How many are played: so many, whatever else the machine does meanwhile."""
        return max(1, round(self.seconds * STEPS_PER_S / self.steps))


# Small budgets first: most is found at once.
STAGES = (
    Stage("simulation", 15.0, 300),
    Stage("processes", 40.0),
    Stage("simulation", 65.0, 800),
)


def stages(seconds: float) -> Iterator[Stage]:
    """The stages of a hunt that may take so long in all."""
    whole = sum(stage.seconds for stage in STAGES)
    for stage in STAGES:
        yield Stage(stage.hunter, stage.seconds * seconds / whole, stage.steps)


def hunt(folder: Path, stage: Stage, *, compares: bool = True) -> Find | None:
    """One stage of a hunt in a folder with a copy; None where it finds nothing.

    With ``compares``, what is found counts only where it is not found in the original, too.
    """
    if stage.hunter == "simulation":
        return simulate(folder, seeds=stage.seeds, steps=stage.steps, compares=compares)
    return run_processes(folder, seconds=stage.seconds)


def simulate(folder: Path, *, seeds: int, steps: int, compares: bool = True) -> Find | None:
    """Plays seeds until one fails; with ``compares``, one that does not fail alike without it."""
    first, end = FIRST_SEED + steps, FIRST_SEED + steps + seeds
    while first < end:
        failed = _first_failing(folder, first=first, count=end - first, steps=steps)
        if failed is None:
            return None
        seed, invariant, text = failed
        if not compares or seed is None or _rule_of(seed, steps) != invariant:
            again = "" if seed is None else f", `--seed {seed} --steps {steps}`"
            return Find(f"simulation{again}", invariant, text)
        # So it does without the fault.
        first = seed + 1
    return None


def run_processes(folder: Path, *, seconds: float) -> Find | None:
    """Has real processes work on a file, some of which are killed, and judges what they left."""
    command = ["tools.rough", "--seconds", f"{seconds * CALLING:.1f}"]
    command += ["--most", f"{seconds * 2:.1f}"]
    with _running(folder, command, seconds=seconds * PATIENCE) as lines:
        said = [line.rstrip("\n") for line in lines]
    for line in said:
        if (found := SAID.fullmatch(line)) is not None:
            return Find("processes", found[1], found[3])
    if any(line.startswith("nothing found") for line in said):
        return None
    return Find("processes", "broke", " | ".join(said[-3:])[-300:] or "it hangs")


def _first_failing(
    folder: Path, *, first: int, count: int, steps: int
) -> tuple[int | None, str, str] | None:
    """The first seed that fails, what is found first, and what is said of it.

    Without a seed: the program itself has broken, or hangs.
    """
    command = ["tools.simulate", "--seeds", str(count), "--from", str(first), "--steps", str(steps)]
    last, patience_s = "", ENDS_S + PATIENCE * count * steps / STEPS_PER_S
    with _running(folder, command, seconds=patience_s) as lines:
        for line in lines:
            if (failed := FAILED.match(line)) is not None:
                return int(failed[1]), *_said(lines)
            if line.startswith(f"{count:,} seeds, "):
                return None
            last = line.strip() or last
    return None, "broke", last or "it hangs"


def _said(lines: Iterator[str]) -> tuple[str, str]:
    """The invariant of the first finding, and what is said of it; of an error its last line."""
    found = SAID.fullmatch(next(lines, "").rstrip("\n"))
    if found is None:
        return "broke", ""
    invariant, text = found[1], found[3]
    if invariant == "broke":
        for line in lines:
            if SAID.fullmatch(line.rstrip("\n")) or FAILED.match(line):
                break
            text = line.strip() or text
    return invariant, text


def _rule_of(seed: int, steps: int) -> str | None:
    """What is found first without the fault."""
    command = ["tools.simulate", "--seed", str(seed), "--steps", str(steps)]
    with _running(ROOT, command, seconds=60.0) as lines:
        found = [each for line in lines if (each := re.match(r"(\S.*?) at \d+: ", line))]
    return found[0][1] if found else None


@contextmanager
def _running(folder: Path, command: list[str], *, seconds: float) -> Iterator[Iterator[str]]:
    """The lines of a module that is run in a folder; it and all its own processes end with it."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    timer = Timer(seconds, _kill, [process])
    timer.start()
    assert process.stdout is not None, "it is a pipe"
    try:
        yield iter(process.stdout)
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
        process.stdout.close()


def _kill(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
