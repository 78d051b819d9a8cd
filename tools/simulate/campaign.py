"""Many seeds, in one process or several: what failed, what was reached, and how far it has come."""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tools.rounds import save
from tools.simulate.reached import RARE
from tools.simulate.simulation import Played, Simulation

# How often it is said how far it has come, in seconds.
SAY_S = 20.0
# A campaign of so many steps must have reached each rare case so often.
LONG_STEPS = 10_000_000
REACHED = 100
# A process plays so many seeds, and leaves it to its end to free what they have made.
SEEDS_A_PROCESS = 40


def play(seed: int, *, steps: int) -> Played:
    """One seed."""
    return Simulation(seed).play(steps)


class Campaign:
    """Plays seeds, and adds up what came of them."""

    def __init__(
        self,
        *,
        first: int,
        count: int,
        steps: int,
        jobs: int = 0,
        minutes: float | None = None,
        resume: Path | None = None,
    ) -> None:
        """``jobs`` processes play; 0: this one does."""
        self.sometimes: Counter[str] = Counter()
        """How often each rare case was reached, by all seeds together."""
        self.failed: list[int] = []
        self.seeds = self.commits = self.turns = self.calm_turns = 0
        self.spent_s = 0.0
        self._first = first
        self._count = count
        self._steps = steps
        self._jobs = jobs
        self._minutes = minutes
        self._resume = resume

    def run(self) -> list[int]:
        """Plays what is left; returns the seeds that failed."""
        self._load()
        begun_s = said_s = time.monotonic()
        before_s = self.spent_s
        for played in self._played():
            self._take(played)
            now_s = time.monotonic()
            self.spent_s = before_s + now_s - begun_s
            if now_s - said_s >= SAY_S:
                said_s = now_s
                self._save()
                print(self.line(), flush=True)
            if self._minutes is not None and now_s - begun_s >= 60 * self._minutes:
                break
        self._save()
        print(self.line())
        for name in sorted(self.sometimes.keys() | set(RARE)):
            missing = f"  fewer than {REACHED}" if name in self.short() else ""
            print(f"  {self.sometimes[name]:9,} {name}{missing}")
        return self.failed

    @property
    def is_long(self) -> bool:
        """Whether it must have reached all that is rare."""
        return self.seeds * self._steps >= LONG_STEPS

    def short(self) -> list[str]:
        """The rare cases that were not reached often enough."""
        return [name for name in RARE if self.sometimes[name] < REACHED]

    def line(self) -> str:
        """How far it has come."""
        steps = self.seeds * self._steps
        return (
            f"{self.seeds:,} seeds, {steps:,} steps in {self.turns:,} turns and "
            f"{self.calm_turns:,} calm ones, {self.commits:,} commits in {self.spent_s:,.0f} s; "
            f"{len(self.failed)} failed"
        )

    def _played(self) -> Iterator[Played]:
        one = partial(play, steps=self._steps)
        seeds = range(self._first + self.seeds, self._first + self._count)
        if not self._jobs:
            yield from map(one, seeds)
            return
        # Processes are forked from one that has imported all of this. Each gets its seeds at once:
        # whoever hands them out one by one is as busy as those who play them.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        portion = max(1, min(SEEDS_A_PROCESS, len(seeds) // (4 * self._jobs)))
        with context.Pool(self._jobs, _prepare, maxtasksperchild=1) as pool:
            yield from pool.imap(one, seeds, chunksize=portion)

    def _take(self, played: Played) -> None:
        self.seeds += 1
        self.commits += played.commits
        self.turns += played.turns
        self.calm_turns += played.calm_turns
        self.sometimes.update(played.sometimes)
        if played.findings:
            self.failed.append(played.seed)
            print(f"seed {played.seed} failed: --seed {played.seed} --steps {self._steps}")
            for finding in played.findings:
                print(f"    {finding.rule} at {finding.at}: {finding.text}", flush=True)

    def _load(self) -> None:
        if self._resume is not None and self._resume.exists():
            known = json.loads(self._resume.read_text())
            if (known["first"], known["steps"]) == (self._first, self._steps):
                self.sometimes = Counter(known["sometimes"])
                self.failed = known["failed"]
                self.seeds, self.commits = known["seeds"], known["commits"]
                self.turns, self.calm_turns = known["turns"], known["calm_turns"]
                self.spent_s = known["spent_s"]

    def _save(self) -> None:
        if self._resume is None:
            return
        content = {
            "first": self._first,
            "steps": self._steps,
            "seeds": self.seeds,
            "commits": self.commits,
            "turns": self.turns,
            "calm_turns": self.calm_turns,
            "spent_s": self.spent_s,
            "failed": self.failed,
            "sometimes": self.sometimes,
        }
        save(self._resume, content)


def _prepare() -> None:
    """For each process, which ends soon."""
    # What nodes warn of is what is done to them.
    logging.disable(logging.CRITICAL)
    gc.disable()
