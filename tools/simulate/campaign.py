"""Many seeds, in one process or several: what failed, what was reached, and how far it has come."""

from __future__ import annotations

import gc
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from tools.simulate.simulation import Played, Simulation

# How often it is said how far it has come, in seconds.
SAY_S = 20.0
# What a campaign of many seeds must have reached so often.
REACHED = 100


def play(seed: int, *, steps: int) -> Played:
    """One seed."""
    # Cycles are few, and looked for after each seed alone.
    gc.disable()
    try:
        return Simulation(seed).play(steps)
    finally:
        gc.enable()
        gc.collect(0)


class Campaign:
    """Plays seeds, and adds up what came of them."""

    def __init__(
        self,
        *,
        first: int,
        count: int,
        steps: int,
        jobs: int = 1,
        minutes: float | None = None,
        resume: Path | None = None,
    ) -> None:
        self.sometimes: Counter[str] = Counter()
        """How often each rare case was reached, by all seeds together."""
        self.failed: list[int] = []
        self.seeds = self.commits = self.turns = self.calm_turns = 0
        self._first = first
        self._count = count
        self._steps = steps
        self._jobs = jobs
        self._minutes = minutes
        self._resume = resume
        self._spent_s = 0.0

    def run(self) -> list[int]:
        """Plays what is left; returns the seeds that failed."""
        self._load()
        begun_s = said_s = time.monotonic()
        before_s = self._spent_s
        for played in self._played(begun_s):
            self._take(played)
            now_s = time.monotonic()
            self._spent_s = before_s + now_s - begun_s
            if now_s - said_s >= SAY_S:
                said_s = now_s
                self._save()
                print(self._line(), flush=True)
        self._save()
        print(self._line())
        for name, reached in sorted(self.sometimes.items()):
            rare = " (rare)" if reached < REACHED else ""
            print(f"  {reached:9,} {name}{rare}")
        return self.failed

    def _played(self, begun_s: float) -> Iterator[Played]:
        one = partial(play, steps=self._steps)
        seeds = self._left(begun_s)
        if self._jobs == 1:
            yield from map(one, seeds)
            return
        context = multiprocessing.get_context("spawn")
        with context.Pool(self._jobs, _quiet) as pool:
            yield from pool.imap(one, seeds)

    def _left(self, begun_s: float) -> Iterable[int]:
        """The seeds that are left, until the time is over."""
        for seed in range(self._first + self.seeds, self._first + self._count):
            minutes = (time.monotonic() - begun_s) / 60
            if self._minutes is not None and minutes >= self._minutes:
                return
            yield seed

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
                print(f"    {finding.rule} at {finding.at}: {finding.text}")

    def _line(self) -> str:
        steps = self.seeds * self._steps
        return (
            f"{self.seeds:,} seeds, {steps:,} steps in {self.turns:,} turns and "
            f"{self.calm_turns:,} calm ones, {self.commits:,} commits in {self._spent_s:,.0f} s; "
            f"{len(self.failed)} failed"
        )

    def _load(self) -> None:
        if self._resume is not None and self._resume.exists():
            known = json.loads(self._resume.read_text())
            if (known["first"], known["steps"]) == (self._first, self._steps):
                self.sometimes = Counter(known["sometimes"])
                self.failed = known["failed"]
                self.seeds, self.commits = known["seeds"], known["commits"]
                self.turns, self.calm_turns = known["turns"], known["calm_turns"]
                self._spent_s = known["spent_s"]

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
            "spent_s": self._spent_s,
            "failed": self.failed,
            "sometimes": self.sometimes,
        }
        beside = self._resume.with_suffix(".tmp")
        beside.write_text(json.dumps(content))
        beside.replace(self._resume)


def _quiet() -> None:
    """For each process: what nodes warn of is what is done to them."""
    import logging  # noqa: PLC0415 - a process of its own

    logging.disable(logging.CRITICAL)
