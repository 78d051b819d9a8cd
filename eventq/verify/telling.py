"""What attempts say and make, judged again: live words, old fences, tasks made by completions."""

from __future__ import annotations

from eventq.core.commits import AnyBody, Unknown
from eventq.core.events import Created, Leased, Saved, Told
from eventq.verify.seen import Seen
from eventq.verify.terms import BrokenError, Past, Report, Unreadable


class MadeTasks:
    """Rule 19: behind a completion, in its commit, stand the tasks that its attempt made."""

    def __init__(self, report: Report) -> None:
        self.owed = 0
        """How many the last completion still announces."""
        self._by: int | None = None
        self._report = report

    def expect(self, number: int, count: int) -> None:
        """The completion of a task announces so many. Raises BrokenError."""
        if count < 0:
            raise BrokenError("made", f"made {count} tasks")
        self.owed, self._by = count, number

    def take(self, seq: int, body: AnyBody | Unknown | Unreadable) -> None:
        """Judges the next event."""
        self.owed -= 1
        if not isinstance(body, Created | Unreadable):
            self._report(seq, "made", f"{body.kind} where a task stands that an attempt made")
            self.owed = 0
        elif isinstance(body, Created) and body.made_by != self._by:
            problem = f"made by task {body.made_by}, behind what task {self._by} has made"
            self._report(seq, "made", problem)

    def finish(self, seq: int) -> None:
        """The commit ends here: nothing may be owed."""
        if self.owed:
            self._report(seq, "made", f"{self.owed} tasks that an attempt made are missing")
            self.owed = 0


def take_told(task: Seen, body: Told) -> None:
    """Judges the word of a leased task's attempt. Raises BrokenError.

    Nothing depends on it, but no other fence could have been appended at this position.
    """
    if body.fence != task.fence:
        raise BrokenError("fence", f"fence {body.fence}, but the live one is {task.fence}")
    if not body.skip:
        raise BrokenError("move", f"{body.kind} is not to be skipped by who does not know it")
    if type(body) is Saved:
        task.saved = bytes(body.value)


def check_was_lease(past: Past, seq: int, number: int, fence: int) -> None:
    """Raises BrokenError unless the fence was a lease of the task before a position."""
    lease = past.event(fence) if 0 < fence < seq else None
    if lease is None:
        if not past.is_trusted(fence):
            raise BrokenError("fence", f"fence {fence} was no lease of the task")
    elif lease[0] != number or type(lease[1]) not in {Leased, Unknown}:
        raise BrokenError("fence", f"fence {fence} was no lease of the task")
