"""Which tasks a selector may mean, by a quick look at stored texts, of which few are decoded.

A task that is meant is never left out; others may be in. What is meant, `Selector.matches` alone
says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import UNSET, Struct

from eventq.catalog.record import place_of
from eventq.catalog.selector import Selector, has_tags, has_words, is_error, is_in
from eventq.core.audience import matches
from eventq.core.commits import KINDS, Commit, decode_at, time_of
from eventq.core.events import Retried, Updated
from eventq.core.moves import ENDS_LEASE
from eventq.core.secret_tags import open_tags
from eventq.core.task import DEFAULT_LANE, TaskState
from eventq.core.values import LAPSED, ErrorInfo
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import KIND_FIRST, stored_kind

ENDS_TASK = frozenset({"completed", "expired", "cancelled"})
OPEN = frozenset(
    {TaskState.WAITING, TaskState.SCHEDULED, TaskState.READY, TaskState.LEASED, TaskState.UNKNOWN}
)
GIVEN_UP = frozenset({TaskState.EXPIRED, TaskState.CANCELLED})
HAVE_COMPLETED = Selector(states=(TaskState.COMPLETED.value,))
# So many verdicts on texts are remembered.
REMEMBERED = 10_000

# A body of a kind that this version does not know.
_UNKNOWN = re.compile(f'\n{KIND_FIRST}(?!(?:{"|".join(KINDS)})")')

Fits = Callable[[Any], bool]


class Sieve(Protocol):
    """Is shown one commit after the other."""

    @property
    def found(self) -> set[int]:
        """The tasks that may be meant, by what has been shown."""

    def take(self, commit: Commit) -> None:
        """One more commit."""


class Clue(Struct, frozen=True):
    """What one event, at least, of each task that is meant looks like."""

    kinds: tuple[str, ...]
    """It is of one of these kinds; none: of any."""
    says: str = ""
    """Its text has this."""
    fits: Fits | None = None
    """And its body is so; None: always."""


def named_tasks(log: EventLog, selector: Selector) -> set[int] | None:
    """The tasks that may be meant where a selector names them; None where it does not."""
    if selector.numbers:
        return set(selector.numbers)
    if not selector.keys:
        return None
    numbers = {int(key) for key in selector.keys if key.isascii() and key.isdecimal()}
    return numbers | set(log.find_keys(list(selector.keys)).values())


def sieve_of(selector: Selector) -> Sieve | None:
    """The sieve that leaves the fewest, as far as can be told; None where all may be meant."""
    clue = _rare_clue(selector)
    if clue is not None:
        return ClueSieve(clue)
    if selector.ran_us is not None:
        return RunSieve(selector.ran_us)
    if selector.waited_us is not None:
        return WaitSieve(selector.waited_us)
    clue = _clue(selector)
    if clue is not None:
        return ClueSieve(clue)
    if selector.states and OPEN.issuperset(selector.states):
        return OpenSieve()
    return None


def settling_sieve(selector: Selector) -> ClueSieve | None:
    """The sieve that finds just the tasks that are meant; None where it takes more to say.

    Where nothing else is asked, a task is meant for good once it has the event that the clue is of.
    """
    asked = selector.node is not None, bool(selector.names), bool(selector.states)
    alone = Selector(node=selector.node), Selector(names=selector.names), HAVE_COMPLETED
    if not any(asked) or selector not in alone:
        return None
    clue = Clue(("completed",)) if selector.states else _clue(selector)
    assert clue is not None, "names and nodes have one"
    return ClueSieve(clue, looks_out=True)


class ClueSieve:
    """The tasks of which an event is as a clue has it."""

    def __init__(self, clue: Clue, *, looks_out: bool = False) -> None:
        """``looks_out`` for what another program has written; that takes some time."""
        self.found: set[int] = set()
        self.is_strange = False
        """Whether there is something that another program has written, or a newer eventq."""
        self._looks_out = looks_out
        self._clue = clue
        self._begins = tuple(f'{KIND_FIRST}{kind}"' for kind in clue.kinds) or (KIND_FIRST,)
        self._marks = [f"\n{begin}" for begin in self._begins]
        # What leases say is nearly always the same.
        self._known: dict[str, bool] | None = {} if "leased" in clue.kinds else None

    def take(self, commit: Commit) -> None:
        """See `Sieve.take`."""
        text = "\n".join(("", *commit.bodies))
        if text.count(f"\n{KIND_FIRST}") != len(commit.bodies):
            # A stranger has written it.
            self.is_strange = True
            self.found.update(commit.tasks)
            return
        if self._looks_out and _UNKNOWN.search(text) is not None:
            self.is_strange = True
        # Where characters are escaped, a text may say it in other letters.
        says = "" if "\\u" in text else self._clue.says
        if says not in text or not any(mark in text for mark in self._marks):
            return
        found, begins = self.found, self._begins
        here = [
            (number, body)
            for number, body in zip(commit.tasks, commit.bodies, strict=True)
            if body.startswith(begins) and number not in found and says in body
        ]
        if self._clue.fits is not None:
            here = self._fitting(here, commit.first, self._clue.fits)
        found.update(number for number, _ in here)

    def _fitting(self, here: list[tuple[int, str]], seq: int, fits: Fits) -> list[tuple[int, str]]:
        known = self._known
        if known is None:
            bodies = decode_at(seq, [text for _, text in here])
            return [each for each, body in zip(here, bodies, strict=True) if fits(body)]
        if len(known) > REMEMBERED:
            known.clear()
        for _, text in here:
            if text not in known:
                known[text] = fits(decode_at(seq, [text])[0])
        return [each for each in here if known[each[1]]]


class RunSieve:
    """The tasks of which an attempt has run for so long."""

    def __init__(self, least_us: int) -> None:
        self.found: set[int] = set()
        self._least_us = least_us
        self._begun: dict[int, int] = {}

    def take(self, commit: Commit) -> None:
        """See `Sieve.take`."""
        at, begun = _instant_of(commit), self._begun
        for number, text in zip(commit.tasks, commit.bodies, strict=True):
            kind = stored_kind(text)
            if kind == "leased":
                begun[number] = at
            elif kind in ENDS_LEASE:
                began = begun.pop(number, at)
                if at - began >= self._least_us:
                    self.found.add(number)
            elif kind not in KINDS:
                self.found.add(number)


class WaitSieve:
    """The tasks of which an attempt has begun so long after it might have."""

    def __init__(self, least_us: int) -> None:
        self.found: set[int] = set()
        self._least_us = least_us
        self._due: dict[int, int] = {}

    def take(self, commit: Commit) -> None:
        """See `Sieve.take`."""
        at, due = _instant_of(commit), self._due
        for number, text in zip(commit.tasks, commit.bodies, strict=True):
            kind = stored_kind(text)
            if kind == "leased":
                # Of one that is not known, the beginning is archived.
                if number not in due or max(0, at - due[number]) >= self._least_us:
                    self.found.add(number)
            elif kind in ENDS_TASK:
                due.pop(number, None)
            elif kind not in KINDS:
                self.found.add(number)
            elif '"scheduled_at":' in text:
                [body] = decode_at(commit.first, [text])
                scheduled_at = getattr(body, "scheduled_at", None)
                if scheduled_at is not None:
                    due[number] = scheduled_at
                elif kind == "created":
                    due[number] = at
            elif kind == "created":
                due[number] = at


class OpenSieve:
    """The tasks that are open at the end."""

    def __init__(self) -> None:
        self.found: set[int] = set()

    def take(self, commit: Commit) -> None:
        """See `Sieve.take`."""
        found = self.found
        for number, text in zip(commit.tasks, commit.bodies, strict=True):
            kind = stored_kind(text)
            if kind in ENDS_TASK:
                found.discard(number)
            elif kind in {"created", "retried"} or kind not in KINDS:
                found.add(number)


def _instant_of(commit: Commit) -> int:
    """The instant that a commit was decided by."""
    first = commit.bodies[0]
    if '"decided_at"' not in first and first.startswith(KIND_FIRST):
        return commit.at
    return time_of(commit.at, decode_at(commit.first, [first])[0])


def _rare_clue(selector: Selector) -> Clue | None:
    """What few tasks have met."""
    least, by = selector.min_attempts or 0, selector.by
    if selector.refused or selector.ran_twice:
        clue = Clue(("refused",))
    elif selector.lapsed:
        clue = Clue(("failed",), LAPSED)
    elif selector.states and GIVEN_UP.issuperset(selector.states):
        clue = Clue(tuple(selector.states))
    elif by is not None:
        clue = Clue((), '"by"', lambda body: matches(getattr(body, "by", None) or "", by))
    elif least > 1:
        clue = Clue(("leased", "retried"), fits=lambda body: _attempts_in(body) >= least)
    elif (selector.error, selector.message, selector.place) != (None, None, None):
        clue = Clue(("failed", "retried"), fits=lambda body: _has_met(selector, body))
    else:
        return None
    return clue


def _clue(selector: Selector) -> Clue | None:
    """What many tasks may have met."""
    if selector.tags or selector.text is not None:
        kinds = ("created", "updated", "retried")
        plain = next((name for name in selector.tags if name.isalnum()), "")
        return Clue(kinds, plain, lambda body: _may_have_tags(selector, body))
    is_placed = selector.schedule is not None or selector.flow is not None
    if selector.names or selector.lanes or is_placed:
        moves = ("updated",) if selector.lanes else ()
        kinds = ("created", "retried", *moves)
        return Clue(kinds, fits=lambda body: _is_called(selector, body))
    if selector.node is not None:
        node = selector.node
        return Clue(("leased",), fits=lambda body: matches(body.worker, node))
    return None


def _attempts_in(body: Any) -> int:  # noqa: ANN401 - a body of one of the kinds asked for
    """How many attempts a task has had, as far as an event says."""
    if type(body) is Retried:
        return 0 if body.reopens is None else body.reopens.attempt
    attempt: int = body.attempt
    return attempt


def _has_met(selector: Selector, body: Any) -> bool:  # noqa: ANN401 - see _attempts_in
    """Whether the error that an event tells of may be the one that is looked for."""
    error: ErrorInfo | None
    if type(body) is Retried:
        error = None if body.reopens is None else body.reopens.last_error
    else:
        error = body.error
    if error is None:
        return False
    return (
        (selector.error is None or is_error(error.type, selector.error))
        and (selector.message is None or is_in(error.message, selector.message))
        and (selector.place is None or selector.place in place_of(error.traceback))
    )


def _may_have_tags(selector: Selector, body: Any) -> bool:  # noqa: ANN401 - see _attempts_in
    """Whether the tags that an event sets may be those that are looked for."""
    content = body.reopens if type(body) is Retried else body
    if content is None or content.tags is UNSET:
        return False
    tags = open_tags(content.tags, content.secret)
    return (not selector.tags or has_tags(tags, selector.tags)) and (
        selector.text is None or has_words(tags, selector.text)
    )


def _is_called(selector: Selector, body: Any) -> bool:  # noqa: ANN401 - see _attempts_in
    """Whether a task that an event makes, moves or brings back may be one that is looked for."""
    if type(body) is Updated:
        return body.lane in selector.lanes
    content = body.reopens if type(body) is Retried else body
    if content is None:
        return False
    names, name = selector.names, content.name
    return (
        (not names or (name is not None and any(matches(name, each) for each in names)))
        and (not selector.lanes or (content.lane or DEFAULT_LANE) in selector.lanes)
        and (selector.schedule is None or content.schedule == selector.schedule)
        and (selector.flow is None or content.flow == selector.flow)
    )
