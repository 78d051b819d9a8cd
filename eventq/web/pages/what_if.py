"""What if: the tasks of a recorded stretch under another limit, with other workers or backoff.

What is simulated is `sandbox.whatif`'s; here it is asked for, and kept within bounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct

from eventq.catalog.selector import find_instant
from eventq.core.durations import brief_duration
from eventq.core.policy import Backoff
from eventq.core.task import instant
from eventq.errors import ArgumentError
from eventq.eventlog.contract import EventLog
from eventq.replay.points import Point, find_point
from eventq.sandbox import LimitRule, WhatIf
from eventq.sandbox import whatif as suppose
from eventq.sandbox.whatif.metrics import Numbers, Waits
from eventq.web.showing import Veil
from eventq.web.sight import Sight

# A stretch of more events, or one that takes longer, is not simulated here.
MOST_EVENTS = 200_000
MOST_S = 60.0
SHORTER = "a shorter stretch; `eventq whatif` takes any"
BACKOFFS: dict[str, Callable[[str], Backoff]] = {
    "constant": Backoff.constant,
    "linear": Backoff.linear,
    "exponential": Backoff.exponential,
}


class WhatIfQuestion(Struct, frozen=True):
    """What is supposed; what is empty stays as it was."""

    since: str = "-1h"
    """Where the stretch begins, as of the moment that is looked at."""
    workers: str = ""
    backoff: str = ""
    kind: str = "linear"
    """Of the backoff."""
    max_retries: str = ""
    limit: str = ""
    running: str = ""
    rate: str = ""

    @property
    def is_asked(self) -> bool:
        """Whether anything is supposed."""
        return any([self.workers, self.backoff, self.max_retries, self.limit])


class WhatIfRow(Struct, frozen=True):
    """One number: as it was recorded, as it is simulated, and as it would have been."""

    name: str
    recorded: str
    as_it_was: str
    what_if: str


class WhatIfModel(Struct, frozen=True):
    """Three accounts of the same tasks."""

    seq: int
    at: datetime
    question: WhatIfQuestion
    after: int | None
    rows: list[WhatIfRow]
    notes: list[str]
    problem: str | None


def what_if_model(sight: Sight, question: WhatIfQuestion, veil: Veil) -> WhatIfModel:
    """What would have been; it reads the stretch three times, and no more than `MOST_EVENTS`."""
    found, problem = None, None
    if veil.lanes is not None:
        problem = "The load is of all lanes, of which you may see some."
    elif question.is_asked:
        try:
            found = _simulated(sight, question)
        except ArgumentError as error:
            problem = f"{str(error)[:1].upper()}{str(error)[1:]}."
    return WhatIfModel(
        sight.seq,
        instant(sight.at),
        question,
        None if found is None else found.after,
        [] if found is None else _rows(found),
        [] if found is None else _notes(found),
        problem,
    )


def _simulated(sight: Sight, question: WhatIfQuestion) -> WhatIf:
    """Raises ArgumentError for what cannot be supposed, and for a stretch that is too long."""
    until = sight.point
    after = _begin(sight.log, question.since, until)
    if until.seq - after.seq > MOST_EVENTS:
        raise ArgumentError("since", question.since, f"at most {MOST_EVENTS:,} events: {SHORTER}")
    given_up_s = time.monotonic() + MOST_S

    def check(_done: int, _all: int) -> None:
        if time.monotonic() > given_up_s:
            raise ArgumentError("since", question.since, SHORTER)

    retries = question.max_retries.strip()
    options: dict[str, Any] = {
        "workers": _number(question.workers, "workers"),
        "backoff": _backoff(question),
        "max_retries": _number(retries, "max_retries") if retries else UNSET,
        "limits": [_limit(question)] if question.limit else [],
    }
    return suppose(sight.log, after=after, until=until, progress=check, **options)


def _begin(log: EventLog, word: str, until: Point) -> Point:
    """Where the stretch begins; with the log, where that is younger than a time ago."""
    start = log.start().seq
    if word.strip().startswith("-") and until.seq > start:
        [first, *_] = log.read(after=start, limit=1)
        if find_instant(word, "since", until.at) < first.at:
            return find_point(log, start, now=until.at)
    return find_point(log, word, now=until.at, argument="since")


def _number(word: str, argument: str) -> int | None:
    word = word.strip()
    if not word:
        return None
    if not (word.isascii() and word.isdigit() and len(word) < 10):  # noqa: PLR2004 - digits
        raise ArgumentError(argument, word, "a whole number")
    return int(word)


def _backoff(question: WhatIfQuestion) -> Backoff | None:
    if not question.backoff.strip():
        return None
    if question.kind not in BACKOFFS:
        raise ArgumentError("kind", question.kind, f"one of {', '.join(BACKOFFS)}")
    return BACKOFFS[question.kind](question.backoff.strip())


def _limit(question: WhatIfQuestion) -> LimitRule:
    """What is empty is no bound."""
    running = _number(question.running, "running")
    return LimitRule(question.limit.strip(), running, question.rate.strip() or None)


def _rows(found: WhatIf) -> list[WhatIfRow]:
    """The numbers that matter most, each in all three accounts."""
    accounts = (found.recorded, found.as_it_was, found.what_if)
    counts = ("workers", "tasks", "completed", "expired", "open", "attempts", "failures")
    rows = [WhatIfRow(name, *(f"{getattr(each, name):,}" for each in accounts)) for name in counts]
    rows.append(WhatIfRow("all of it took", *(_took(each.makespan_us) for each in accounts)))
    rows.append(WhatIfRow("completed a second", *map(_pace, accounts)))
    spreads = {"attempts waited": "waits", "tasks took": "durations"}
    for words, name in spreads.items():
        waits: list[Waits] = [getattr(each, name) for each in accounts]
        rows += [
            WhatIfRow(f"{words}, half of them", *(_took(each.median_us) for each in waits)),
            WhatIfRow(f"{words}, 95 %", *(_took(each.p95_us) for each in waits)),
            WhatIfRow(f"{words}, at the most", *(_took(each.max_us) for each in waits)),
        ]
    return rows


def _notes(found: WhatIf) -> list[str]:
    notes = []
    if found.misses:
        names = ", ".join(miss.measure for miss in found.misses)
        notes.append(
            f"The simulation of what was does not meet the record in {names}: do not trust the "
            "last column."
        )
    if found.is_ahead:
        notes.append(
            "A node leased such short tasks ahead, and has not said how many workers it had: no "
            "number of workers can be trusted."
        )
    if found.left_out:
        notes.append(f"{found.left_out:,} tasks that were open before take no part.")
    if found.absent_us:
        notes.append(
            f"For {brief_duration(found.absent_us)} tasks were ready and no node was there; "
            "nothing runs in that time in the simulations either."
        )
    return notes


def _took(length_us: int | None) -> str:
    return "-" if length_us is None else brief_duration(length_us)


def _pace(numbers: Numbers) -> str:
    return "-" if numbers.completed_per_s is None else f"{numbers.completed_per_s:,.1f}"
