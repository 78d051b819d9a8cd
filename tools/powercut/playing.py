"""One round: a run is recorded, and the power cut at many moments of the record."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from itertools import chain
from pathlib import Path
from random import Random

from eventq.core.commits import Commit
from tools.folders import memory, own_folder
from tools.powercut.disk import Disk
from tools.powercut.judging import Loss, judge
from tools.powercut.record import Recorder
from tools.powercut.steps import Record, Synced, Told, Wrote
from tools.powercut.workload import FILE, read, run

CUTS_A_ROUND = 500
# Of so many cuts one comes after a kill, and after another process has read what was left by that.
KILLED = 5
# What SQLite has in memory that processes share may be there too, with anything in it.
INDEX = f"{FILE}-shm"
INDEX_BYTES = 32_768
# So many losses are told one by one.
MOST_SAID = 5

# The files that a cut has left, by name, and the last position that somebody knew of.
Left = tuple[dict[str, bytes], int]


def play(
    seed: int, *, level: str = "FULL", cuts: int = CUTS_A_ROUND, keep: Path | None = None
) -> Counter[str]:
    """What came of the cuts of one run. Raises AssertionError for a loss.

    Where SQLite is told to sync less, it raises unless there are losses. What failed is copied to
    ``keep``; the same seed draws the same again, but threads have their own moments.
    """
    # What is opened again is not cut again.
    with own_folder("eventq-powercut", within=memory()) as folder:
        record, commits = recorded(folder, seed, level)
        outcomes = Counter({"steps recorded": len(record), "commits recorded": len(commits)})
        losses: list[Loss] = []
        chance = Random(seed)
        killed = cuts // KILLED
        all_left = chain(
            left(record, cuts - killed, chance),
            left_after_kill(record, folder / "killed", killed, chance),
        )
        for number, (files, told) in enumerate(all_left):
            place = folder / str(number)
            write(place, files)
            loss = judge(place, commits, told)
            outcomes[f"cuts {loss.kind if loss else 'without loss'}"] += 1
            if loss is not None:
                losses.append(loss)
                if keep is not None:
                    write(keep / f"{seed}-{number}", files)
            shutil.rmtree(place)
    if level == "FULL":
        told_of = "; ".join(f"{loss.kind}: {loss.text}" for loss in losses[:MOST_SAID])
        assert not losses, f"{len(losses)} of {cuts} cuts: {told_of}"
    else:
        assert losses, f"nothing was lost with synchronous={level}: these cuts prove nothing"
    return outcomes


def recorded(folder: Path, seed: int, level: str) -> tuple[Record, list[Commit]]:
    """A run, recorded, and all the commits that it made."""
    place = folder / "run"
    place.mkdir()
    with Recorder(place, level=level) as recorder:
        commits = run(place, folder / "archive", seed)
    return recorder.steps, commits


def left(record: Record, cuts: int, chance: Random) -> Iterator[Left]:
    """What so many cuts have left.

    Half of the cuts come right behind what is no write: there are more writes than anything else.
    """
    others = [place for place, step in enumerate(record, 1) if not isinstance(step, Wrote)]
    half = cuts // 2
    places = chance.choices(others, k=half) + chance.choices(range(len(record) + 1), k=cuts - half)
    for disk in _disks(record, places):
        files = disk.after_cut(chance)
        if chance.randrange(4) == 0:
            files[INDEX] = chance.randbytes(INDEX_BYTES)
        yield files, disk.told


def left_after_kill(record: Record, folder: Path, cuts: int, chance: Random) -> Iterator[Left]:
    """As `left`, but first the process was killed, and another has opened and read the log.

    What that one has read must be there, whether the killed one had synced it or not. It is killed
    right before a sync.
    """
    syncs = [place for place, step in enumerate(record) if isinstance(step, Synced)]
    for disk in _disks(record, chance.choices(syncs, k=cuts)):
        later = deepcopy(disk)
        write(folder, later.seen())
        with Recorder(folder, names=later.names()) as recorder:
            read(folder)
        shutil.rmtree(folder)
        told = [place for place, step in enumerate(recorder.steps, 1) if isinstance(step, Told)]
        end = chance.choice([*told[-1:], chance.randint(0, len(recorder.steps))])
        for step in recorder.steps[:end]:
            later.take(step)
        yield later.after_cut(chance), later.told


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Writes the files into a new folder."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _disks(record: Record, places: list[int]) -> Iterator[Disk]:
    """The disk as it is at each of these places of the record; the next one changes it."""
    disk, done = Disk(), 0
    for place in sorted(places):
        for step in record[done:place]:
            disk.take(step)
        done = place
        yield disk
