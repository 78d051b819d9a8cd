"""Hunts one fault, and keeps what came of each."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tools import rounds
from tools.mutants.hunters import Find, hunt, stages
from tools.mutants.mutant import Mutant, plant

# What is hunted where there is no fault.
CONTROL = "control"


@dataclass(frozen=True)
class Result:
    """What came of one hunt."""

    name: str
    find: Find | None
    seconds: float


def hunt_one(name: str, mutant: Mutant | None, *, seconds: float) -> Result:
    """Hunts one fault, or none (the control), stage by stage until something is found."""
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as temporary:
        folder = Path(temporary)
        plant(mutant, folder)
        for stage in stages(seconds):
            find = hunt(folder, stage, compares=mutant is not None)
            if find is not None:
                return Result(name, find, time.monotonic() - begun_s)
    return Result(name, None, time.monotonic() - begun_s)


def load(path: Path | None) -> dict[str, Result]:
    """What an earlier campaign has found."""
    if path is None or not path.exists():
        return {}
    found = {}
    for each in json.loads(path.read_text(encoding="utf-8")):
        find = None if each["find"] is None else Find(**each["find"])
        found[each["name"]] = Result(each["name"], find, each["seconds"])
    return found


def save(path: Path | None, results: Iterable[Result]) -> None:
    """Keeps it for the next one."""
    if path is not None:
        rounds.save(path, [asdict(each) for each in results])
