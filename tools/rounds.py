"""Rounds of an attack, by number: what came of each, how far they have come, and for how long.

What a round does is the attack's; here stand only the options of all attacks, the counts, and the
file that keeps them.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import math
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.figures import add_figures, lines_of

# How often it is said how far it has come, in seconds.
SAY_S = 20.0
# A campaign that fails at everything ends: what it would print tells nothing more.
MOST_FAILED = 20
# A round that takes a fraction of a second hangs if it takes so long.
HANGS_S = 120.0
# Of a count whose name begins so, the highest of all rounds is told; of all others the sum.
MOST = "most "
# Exit codes: an option is wrong; somebody has broken it off.
WRONG, INTERRUPTED = 2, 130

Play = Callable[[int], Counter[str]]


class ResumeError(Exception):
    """The file of how far it has come is none, or another attack's: name another file."""


class Rounds:
    """Plays rounds by rising number, and adds up what came of them.

    ``play`` returns one outcome or several, each a text with a count; whatever it raises is a
    round that failed. ``end`` is how many rounds there are, if they are not without end.
    """

    def __init__(self, title: str, play: Play, *, end: int | None = None) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failed: list[int] = []
        self.done = 0
        self.spent_s = 0.0
        self.play = play
        self.end = end
        self._title = title

    def run(
        self, count: int, *, minutes: float | None = None, resume: Path | None = None
    ) -> list[int]:
        """Plays what is left of so many, for no longer than that; returns those that failed.

        Whoever breaks it off loses no more than the round at hand. Raises ResumeError.
        """
        self._load(resume)
        count = count if self.end is None else min(count, self.end)
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
        rounds = "round" if self.done == 1 else "rounds"
        return f"{self.done:,} {rounds} in {self.spent_s:,.0f} s; {len(self.failed)} failed{failed}"

    def report(self, page: Path) -> None:
        """Adds its figures to the page. Raises OSError."""
        add_figures(page, self._title, self.line(), lines_of(self.outcomes))

    def _play_next(self) -> None:
        number = self.done
        try:
            self._take(self.play(number))
        except Exception:  # noqa: BLE001 - whatever it is, the round has failed
            self.failed.append(number)
            said = f"{self._title}: round {number} failed: --round {number}"
            print(f"{said}\n{traceback.format_exc()}", flush=True)
        self.done += 1

    def _take(self, outcomes: Counter[str]) -> None:
        for outcome, times in outcomes.items():
            before = self.outcomes[outcome]
            is_highest = outcome.startswith(MOST)
            self.outcomes[outcome] = max(before, times) if is_highest else before + times

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
        if resume is not None:
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
    parser.add_argument("--rounds", type=at_least_one, default=rounds, help="default %(default)s")
    parser.add_argument("--minutes", type=_minutes, help="no more rounds are begun after that")
    parser.add_argument("--resume", type=_kept, help="a file that keeps how far it has come")
    parser.add_argument("--report", type=_page, help="a page to which the figures are added")
    parser.add_argument("--round", type=_number, help="plays this one alone")
    return parser


def begin(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What is asked for. From now on SIGTERM ends what is begun, and eventq is quiet."""
    asked = parser.parse_args()
    # As Ctrl-C does: what was begun is cleared away, and no count is lost.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What eventq warns of is what is done to it here.
    logging.disable(logging.CRITICAL)
    return asked


def run_asked(rounds: Rounds, asked: argparse.Namespace) -> int:
    """Runs what the options of `make_parser` ask for; 1 if any round failed."""
    if asked.round is not None:
        if rounds.end is not None and asked.round >= rounds.end:
            return _say(f"--round {asked.round}: the last one is {rounds.end - 1}", WRONG)
        print(rounds.play(asked.round))
        return 0
    try:
        failed = rounds.run(asked.rounds, minutes=asked.minutes, resume=asked.resume)
    except ResumeError as error:
        return _say(str(error), WRONG)
    except KeyboardInterrupt:
        again = "" if asked.resume is None else f"; --resume {asked.resume} goes on"
        return _say(f"broken off{again}", INTERRUPTED)
    if asked.report is not None:
        rounds.report(asked.report)
    return 1 if failed else 0


def watched(play: Play) -> Play:
    """The same, but a round that hangs ends the whole process with a traceback."""

    def one(number: int) -> Counter[str]:
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        try:
            return play(number)
        finally:
            faulthandler.cancel_dump_traceback_later()

    return one


def save(path: Path, content: Any) -> None:  # noqa: ANN401 - what JSON can hold
    """Keeps it in a file that is never seen half written."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(json.dumps(content), encoding="utf-8")
    beside.replace(path)


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
