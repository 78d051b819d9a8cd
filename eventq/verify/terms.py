"""What the parts of the verifier say to each other: findings, broken rules, the past."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from msgspec import Struct

from eventq.core.commits import AnyBody, Unknown
from eventq.core.events import Created
from eventq.verify.seen import Seen

# A traceparent of W3C's: version, trace, span, flags; behind it there may be a tracestate.
TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}( [ -~]{1,512})?")


class Unreadable(Struct, frozen=True):
    """Stands for a body that cannot be understood."""

    problem: str
    decided_at: ClassVar[None] = None


class BrokenError(Exception):
    """A rule is broken, so that nothing can be said any more about the task."""

    def __init__(self, rule: str, problem: str) -> None:
        self.rule = rule
        self.problem = problem
        super().__init__(problem)


def check_created(body: Created, seq: int, at: int) -> None:
    """Raises BrokenError for a task that could not be made so at this position and instant."""
    if body.repeats is not None and not 0 < body.repeats < seq:
        raise BrokenError("position", f"made like task {body.repeats}, which was not there yet")
    if body.trace is not None and not TRACE.fullmatch(body.trace):
        raise BrokenError("trace", "made in no trace context that W3C knows")
    if body.expires_at is None:
        return
    if body.expires_at <= at:
        raise BrokenError("expiry", "created past its expiry")
    if body.scheduled_at is not None and body.expires_at <= body.scheduled_at:
        raise BrokenError("expiry", "scheduled past its expiry")


class Last(Struct, frozen=True):
    """An event of a task that has changed it: where, when and what."""

    seq: int
    at: int
    body: AnyBody | Unknown

    @property
    def bulk(self) -> int | None:
        """The change to many tasks that it is a part of."""
        return getattr(self.body, "bulk", None)


class Past(Protocol):
    """What the rules may ask about what came before, when they have not kept it."""

    def task(self, number: int, before: int) -> Seen | None:
        """A final task as its history left it before a position; None where that cannot be said.

        Raises BrokenError when there was no such task.
        """

    def last(self, number: int, before: int) -> Last | None:
        """The task's last event before a position that has changed it; None where none is known."""

    def event(self, seq: int) -> tuple[int, AnyBody | Unknown] | None:
        """The task and the body of the event at a position; None where there is none to read."""

    def is_trusted(self, seq: int) -> bool:
        """Whether the position lies before what is verified, so that it need not be there."""


Report = Callable[[int, str, str], None]


def decided_at(
    first: int,
    at: int,
    before: int,
    bodies: Sequence[AnyBody | Unknown | Unreadable],
    report: Report,
) -> int:
    """The instant that a commit goes by: its stamp, but where that was ahead of the clock.

    ``before`` is the stamp of the commit before it; 0 where there was none.
    """
    found = bodies[0].decided_at if bodies else None
    if any(body.decided_at is not found and body.decided_at != found for body in bodies):
        report(first, "clock", "decided by several instants")
    if found is None:
        return at
    if not 0 < found < at:
        report(first, "clock", "decided by an instant that is not before its stamp")
    elif before not in {0, at}:
        # A stamp is behind its clock only where the one before it was.
        report(first, "clock", "decided before its stamp, which is not the one before it")
    return found
