"""What the verifier has forgotten, read again from the log when an event refers to it.

Final tasks are not kept, so that a verification needs memory for the open ones only.
"""

from __future__ import annotations

import msgspec

from eventq.core.commits import AnyBody, Unknown, decode_bodies
from eventq.core.events import Created, Refused, Revived, Told
from eventq.errors import LogArchivedError, LogCorruptError
from eventq.eventlog.contract import EventLog
from eventq.verify.rules import Rules
from eventq.verify.seen import Seen
from eventq.verify.terms import BrokenError, Last

History = list[tuple[int, int, AnyBody | Unknown]]


class LogPast:
    """The past as the log has it; up to ``trusted`` nothing can be said of what is missing."""

    def __init__(self, log: EventLog, *, trusted: int = 0) -> None:
        self._log = log
        self._trusted = trusted

    def task(self, number: int, before: int) -> Seen | None:
        """See Past.task."""
        try:
            stored = [event for event in self._log.history(number) if event.seq < before]
            bodies = decode_bodies([event.body for event in stored])
        except (LogCorruptError, msgspec.DecodeError, RecursionError):
            return None  # It has been found already, or will be by the check of the indexes.
        history = [(e.seq, e.at, body) for e, body in zip(stored, bodies, strict=True)]
        if number <= self._trusted and not (history and history[0][0] == number):
            return None
        return remember(number, history)

    def last(self, number: int, before: int) -> Last | None:
        """See Past.last."""
        try:
            stored = [event for event in self._log.history(number) if event.seq < before]
            bodies = decode_bodies([event.body for event in stored])
        except (LogCorruptError, msgspec.DecodeError, RecursionError):
            return None
        for event, body in zip(reversed(stored), reversed(bodies), strict=True):
            told = isinstance(body, (Refused, Revived, Told))
            if not told and not (isinstance(body, Unknown) and body.skip):
                at = event.at if body.decided_at is None else body.decided_at
                return Last(event.seq, at, body)
        return None

    def event(self, seq: int) -> tuple[int, AnyBody | Unknown] | None:
        """See Past.event."""
        try:
            commits = self._log.read(after=seq - 1, limit=1)
            if not commits or not commits[0].first <= seq <= commits[0].last:
                return None
            index = seq - commits[0].first
            return commits[0].tasks[index], decode_bodies([commits[0].bodies[index]])[0]
        except (LogCorruptError, msgspec.DecodeError, RecursionError):
            return None
        except LogArchivedError:
            if self.is_trusted(seq):
                return None
            raise

    def is_trusted(self, seq: int) -> bool:
        """See Past.is_trusted."""
        return 0 < seq <= self._trusted


def remember(number: int, history: History) -> Seen | None:
    """The task that a history leads to; None where it breaks a rule, which was told before.

    None also for one with a kind that is not known: nothing is guessed. Raises BrokenError when the
    history does not begin with the task's creation.
    """
    if any(type(body) is Unknown and not body.skip for _, _, body in history):
        return None
    if not history or history[0][0] != number or type(history[0][2]) is not Created:
        raise BrokenError("move", f"there is no task {number}: an event of it before created")
    finals = _Finals()
    rules = Rules(finals, _ignore, on_final=finals.keep, judges_order=False)
    try:
        for seq, at, body in history:
            if type(body) is not Refused:
                now = at if body.decided_at is None else body.decided_at
                rules.judge(seq, now, number, body)
    except BrokenError:
        return None
    return rules.tasks.get(number) or finals.tasks.get(number)


class _Finals:
    """The past of one task's history: what it was when it was final last."""

    def __init__(self) -> None:
        self.tasks: dict[int, Seen] = {}

    def keep(self, task: Seen) -> None:
        """Takes in a task that is final now."""
        self.tasks[task.number] = task

    def task(self, number: int, before: int) -> Seen | None:  # noqa: ARG002 - the latest
        """See Past.task."""
        return self.tasks.get(number)

    def last(self, number: int, before: int) -> None:
        """See Past.last: nothing is judged by it that has been judged before."""

    def event(self, seq: int) -> None:
        """See Past.event: only late outcomes ask, which are left out."""

    def is_trusted(self, seq: int) -> bool:  # noqa: ARG002 - as for `event`
        """See Past.is_trusted."""
        return False


def _ignore(_seq: int, _rule: str, _problem: str) -> None:
    """What is wrong in the past has been told when it was the present."""
