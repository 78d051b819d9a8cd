"""Rounds of an attack, by number: what came of each, how far they have come, and for how long.

What a round does is the attack's; here stand only the counts, their file and the report.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import textwrap
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from eventq.core.version import __version__

# How often it is said how far it has come, in seconds.
SAY_S = 20.0
# A campaign that fails at everything ends: what it would print tells nothing more.
MOST_FAILED = 20
# Of a count whose name begins so, the highest of all rounds is told; of all others the sum.
MOST = "most "
LINE_CHARACTERS = 120


class Rounds:
    """Plays rounds by rising number, and adds up what came of them.

    ``play`` returns one outcome or several, each a text with a count; whatever it raises is a
    round that failed. Outcomes of a kind have its name and a colon in front.
    """

    def __init__(self, title: str, play: Callable[[int], Counter[str]]) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failed: list[int] = []
        self.done = 0
        self.spent_s = 0.0
        self._title = title
        self._play = play

    def run(
        self, count: int, *, minutes: float | None = None, resume: Path | None = None
    ) -> list[int]:
        """Plays what is left of so many, for no longer than that; returns those that failed."""
        self._load(resume)
        begun_s = said_s = time.monotonic()
        before_s = self.spent_s
        while self.done < count and len(self.failed) < MOST_FAILED:
            self._play_next()
            now_s = time.monotonic()
            self.spent_s = before_s + now_s - begun_s
            if now_s - said_s >= SAY_S:
                said_s = now_s
                self._save(resume)
                print(self.line(), flush=True)
            if minutes is not None and now_s - begun_s >= 60 * minutes:
                break
        self._save(resume)
        print(self.line())
        for outcome, times in sorted(self.outcomes.items()):
            print(f"  {times:9,} {outcome}")
        return self.failed

    def line(self) -> str:
        """How far it has come."""
        failed = f": {', '.join(map(str, self.failed))}" if self.failed else ""
        rounds = "round" if self.done == 1 else "rounds"
        return f"{self.done:,} {rounds} in {self.spent_s:,.0f} s; {len(self.failed)} failed{failed}"

    def report(self, page: Path) -> None:
        """Adds its figures to the page."""
        add_figures(page, self._title, self.line(), lines_of(self.outcomes))

    def _play_next(self) -> None:
        number = self.done
        try:
            self._take(self._play(number))
        except Exception:  # noqa: BLE001 - whatever it is, the round has failed
            self.failed.append(number)
            print(f"round {number} failed: --round {number}\n{traceback.format_exc()}", flush=True)
        self.done += 1

    def _take(self, outcomes: Counter[str]) -> None:
        for outcome, times in outcomes.items():
            before = self.outcomes[outcome]
            self.outcomes[outcome] = (
                max(before, times) if outcome.startswith(MOST) else before + times
            )

    def _load(self, resume: Path | None) -> None:
        if resume is None or not resume.exists():
            return
        known = json.loads(resume.read_text(encoding="utf-8"))
        if known["title"] == self._title:
            self.outcomes = Counter(known["outcomes"])
            self.failed, self.done = known["failed"], known["done"]
            self.spent_s = known["spent_s"]

    def _save(self, resume: Path | None) -> None:
        if resume is None:
            return
        content = {
            "title": self._title,
            "done": self.done,
            "spent_s": self.spent_s,
            "failed": self.failed,
            "outcomes": self.outcomes,
        }
        save(resume, content)


def make_parser(program: str, description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that all attacks have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="default %(default)s")
    parser.add_argument("--minutes", type=float, help="no more rounds are begun after that")
    parser.add_argument("--resume", type=Path, help="a file that keeps how far it has come")
    parser.add_argument("--report", type=Path, help="a page to which the figures are added")
    parser.add_argument("--round", type=int, help="plays this one alone")
    return parser


def run_asked(rounds: Rounds, arguments: argparse.Namespace, play: Callable[[int], object]) -> int:
    """Runs what the options of `make_parser` ask for; 1 if any round failed."""
    if arguments.round is not None:
        print(play(arguments.round))
        return 0
    failed = rounds.run(arguments.rounds, minutes=arguments.minutes, resume=arguments.resume)
    if arguments.report is not None:
        rounds.report(arguments.report)
    return 1 if failed else 0


def lines_of(outcomes: Counter[str]) -> list[str]:
    """A line for each kind of outcomes, and one for those that have none."""
    lines = []
    for kind, found in groupby(sorted(outcomes), lambda outcome: outcome.rpartition(": ")[0]):
        counts = [f"{name.rpartition(': ')[2]} ({outcomes[name]:,})" for name in found]
        lines.append(f"{kind}: {'; '.join(counts)}" if kind else "; ".join(counts))
    return lines


def add_figures(page: Path, title: str, said: str, lines: Iterable[str] = ()) -> None:
    """Adds an item to the page, which ends with figures: what was played, when, on what machine.

    Below it each of the lines is an item of its own.
    """
    day = time.strftime("%Y-%m-%d", time.gmtime())
    machine = (
        f"eventq {__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}"
    )
    items = [_item(f"{title}, {day} ({machine}): {said}."), *(_item(each, "  ") for each in lines)]
    before = page.read_text(encoding="utf-8").rstrip("\n")
    page.write_text("\n".join([before, *items, ""]), encoding="utf-8")


def save(path: Path, content: Any) -> None:  # noqa: ANN401 - what JSON can hold
    """Keeps it in a file that is never seen half written."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(content), encoding="utf-8")
    beside.replace(path)


def _item(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        LINE_CHARACTERS,
        initial_indent=f"{indent}- ",
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
