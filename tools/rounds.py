"""Rounds of an attack, by number: what came of each, how far they have come, and for how long.

What a round does is the attack's; here stand only the options, the counts, their file and the
report.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from eventq.core.version import __version__

# How often it is said how far it has come, in seconds.
SAY_S = 20.0
# A campaign that fails at everything ends: what it would print tells nothing more.
MOST_FAILED = 20
# Exit codes: an option is wrong; somebody has broken it off.
WRONG, INTERRUPTED = 2, 130


class ResumeError(Exception):
    """The file of how far it has come is none, or another attack's: name another file."""


class Rounds:
    """Plays rounds by rising number, and adds up what came of them.

    ``play`` returns one outcome or several, each a text with a count; whatever it raises is a
    round that failed. ``most`` is how many rounds there are, if they are not without end.
    """

    def __init__(
        self, title: str, play: Callable[[int], Counter[str]], *, most: int | None = None
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failed: list[int] = []
        self.done = 0
        self.spent_s = 0.0
        self.most = most
        self._title = title
        self._play = play

    def run(
        self, count: int, *, minutes: float | None = None, resume: Path | None = None
    ) -> list[int]:
        """Plays what is left of so many, for no longer than that; returns those that failed.

        Whoever breaks it off loses no more than the round at hand. Raises ResumeError.
        """
        self._load(resume)
        count = count if self.most is None else min(count, self.most)
        begun_s = said_s = time.monotonic()
        before_s = self.spent_s
        try:
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
        finally:
            self._save(resume)
            print(self.line())
            for outcome, times in sorted(self.outcomes.items()):
                print(f"  {times:9,} {outcome}")
        return self.failed

    def line(self) -> str:
        """How far it has come."""
        failed = f": {', '.join(map(str, self.failed))}" if self.failed else ""
        return f"{self.done:,} rounds in {self.spent_s:,.0f} s; {len(self.failed)} failed{failed}"

    def report(self, page: Path) -> None:
        """Adds a line to the page, which ends with figures. Raises OSError."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        load = os.getloadavg()[1]
        where = (
            f"eventq {__version__}, Python {platform.python_version()}, {platform.machine()}, "
            f"{os.cpu_count()} cores, load {load:.1f}"
        )
        came = "; ".join(f"{times:,} {outcome}" for outcome, times in sorted(self.outcomes.items()))
        before = page.read_text(encoding="utf-8").rstrip("\n")
        line = f"- {self._title}, {day} ({where}): {self.line()}. {came}."
        page.write_text(f"{before}\n{line}\n", encoding="utf-8")

    def _play_next(self) -> None:
        number = self.done
        try:
            self.outcomes += self._play(number)
        except Exception:  # noqa: BLE001 - whatever it is, the round has failed
            self.failed.append(number)
            said = f"{self._title}: round {number} failed: --round {number}"
            print(f"{said}\n{traceback.format_exc()}", flush=True)
        self.done += 1

    def _load(self, resume: Path | None) -> None:
        if resume is None or not resume.exists():
            return
        try:
            known = json.loads(resume.read_text(encoding="utf-8"))
            title, outcomes = str(known["title"]), Counter(known["outcomes"])
            done, failed = int(known["done"]), list(known["failed"])
            spent_s = float(known["spent_s"])
        except (ValueError, TypeError, KeyError) as error:
            raise ResumeError(f"{resume}: does not say how far an attack has come") from error
        if title != self._title:
            raise ResumeError(f"{resume}: is of another attack ({title}); this is {self._title}")
        self.outcomes, self.done, self.failed, self.spent_s = outcomes, done, failed, spent_s

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
        beside = resume.with_name(f"{resume.name}.new")
        beside.write_text(json.dumps(content), encoding="utf-8")
        beside.replace(resume)


def make_parser(program: str, description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that all attacks have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=at_least_one, default=rounds, help="default %(default)s")
    parser.add_argument("--minutes", type=_minutes, help="no more rounds are begun after that")
    parser.add_argument("--resume", type=_kept, help="a file that keeps how far it has come")
    parser.add_argument("--report", type=_page, help="a page to which the figures are added")
    parser.add_argument("--round", type=_number, help="plays this one alone")
    return parser


def run_asked(rounds: Rounds, arguments: argparse.Namespace, play: Callable[[int], object]) -> int:
    """Runs what the options of `make_parser` ask for; 1 if any round failed."""
    if arguments.round is not None:
        if rounds.most is not None and arguments.round >= rounds.most:
            return _say(f"--round {arguments.round}: the last one is {rounds.most - 1}", WRONG)
        print(play(arguments.round))
        return 0
    try:
        failed = rounds.run(arguments.rounds, minutes=arguments.minutes, resume=arguments.resume)
    except ResumeError as error:
        return _say(str(error), WRONG)
    except KeyboardInterrupt:
        again = "" if arguments.resume is None else f"; --resume {arguments.resume} goes on"
        return _say(f"broken off{again}", INTERRUPTED)
    if arguments.report is not None:
        rounds.report(arguments.report)
    return 1 if failed else 0


def end_at_sigterm() -> None:
    """Has SIGTERM do as Ctrl-C does: what was begun is cleared away, and no count is lost."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def at_least_one(text: str) -> int:
    """The whole number of an option, above 0. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a round")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return minutes


def _kept(text: str) -> Path:
    """A file that is there, or can be made: asked before hours are spent, not after."""
    path = Path(text).absolute()
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{text}: no file can be made here")
    return path


def _page(text: str) -> Path:
    path = Path(text).absolute()
    if not path.is_file() or not os.access(path, os.R_OK | os.W_OK):
        raise argparse.ArgumentTypeError(f"{text}: is no page that can be written")
    return path


def _say(words: str, code: int) -> int:
    print(words, file=sys.stderr)
    return code
