"""Who hunts a planted fault: the simulation, and real processes on a real file.

Each runs in a process of its own, in the folder that holds the copy; it is ended at its first find.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
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
# A process that says nothing more gets so long to end by itself, in seconds.
ENDS_S = 5.0


@dataclass(frozen=True)
class Find:
    """What found a fault."""

    hunter: str
    """With what plays it again: the seed, say."""
    invariant: str
    text: str


@dataclass(frozen=True)
class Stage:
    """A part of a hunt, and for how long it goes on, in seconds."""

    hunter: str
    """``simulation`` or ``processes``."""
    seconds: float
    steps: int = 0
    """Of each seed."""


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
        return simulate(folder, seconds=stage.seconds, steps=stage.steps, compares=compares)
    return run_processes(folder, seconds=stage.seconds)


def simulate(folder: Path, *, seconds: float, steps: int, compares: bool = True) -> Find | None:
    """Plays seeds until one fails; with ``compares``, one that does not fail alike without it."""
    ends_s = time.monotonic() + seconds
    first = FIRST_SEED + steps
    while (left_s := ends_s - time.monotonic()) > 0:
        failed = _first_failing(folder, first=first, seconds=left_s, steps=steps)
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
    command = ["tools.mutants.rough", "--seconds", f"{seconds * CALLING:.1f}"]
    command += ["--most", f"{seconds:.1f}"]
    with _running(folder, command, seconds=seconds + ENDS_S) as lines:
        said = [line.rstrip("\n") for line in lines]
    for line in said:
        if (found := SAID.fullmatch(line)) is not None:
            return Find("processes", found[1], found[3])
    if any(line.startswith("nothing found") for line in said):
        return None
    return Find("processes", "broke", " | ".join(said[-3:])[-300:])


def _first_failing(
    folder: Path, *, first: int, seconds: float, steps: int
) -> tuple[int | None, str, str] | None:
    """The first seed that fails, what is found first, and what is said of it.

    Without a seed: the program itself has broken.
    """
    command = ["tools.simulate", "--seeds", "1000000", "--from", str(first)]
    command += ["--steps", str(steps), "--minutes", f"{seconds / 60:.3f}"]
    last = ""
    begun_s = time.monotonic()
    with _running(folder, command, seconds=seconds + ENDS_S) as lines:
        for line in lines:
            if (failed := FAILED.match(line)) is not None:
                return int(failed[1]), *_said(lines)
            last = line.strip() or last
    if time.monotonic() - begun_s < seconds * 0.9:
        # It never ends by itself before that.
        return None, "broke", last
    return None


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
    try:
        assert process.stdout is not None
        yield iter(process.stdout)
    finally:
        timer.cancel()
        _kill(process)
        process.wait()


def _kill(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
