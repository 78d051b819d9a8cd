"""What people and programs say of who may run when: limits, turns and pauses, as commands."""

from __future__ import annotations

from itertools import islice
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import asdict, replace

from eventq.core.asking import NOBODY, Asking
from eventq.core.command import Decision, Draft, PastTasks
from eventq.core.commits import AnyRule
from eventq.core.definitions import Definition, adopted, hash_of
from eventq.core.events import Cancelled
from eventq.core.newer import check_understood
from eventq.core.pauses import fitting
from eventq.core.projection import Projection
from eventq.core.queue_events import Limited, Paused, Resumed, Shared
from eventq.core.task import show_instant
from eventq.core.values import NODE, Scope
from eventq.errors import ArgumentError, NotUndoableError

# Of one commit: a pause that calls off more takes several.
CANCELLED_AT_ONCE = 500
SAID_SINCE = "something else has been said since"
PAUSE_OVER = "the pause would be over by now"
OLDER = "a newer definition has taken its place; give it a higher `version` to bring it back"


class SetLimit(Struct, frozen=True):
    """Sets a limit, by hand: it holds until the definition in code changes.

    The result is what stands. Raises ArgumentError where open tasks are counted by another tag.
    """

    wanted: Limited
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[Limited]:
        """See Command.decide."""
        check_understood(projection.unknown)
        known = projection.governing.limits.said(self.wanted.limit)
        wanted = replace(self.wanted, code=None if known is None else known.code)
        _check_per(projection, wanted)
        return Decision([(NODE, wanted)], wanted)


class DefineLimit(Struct, frozen=True):
    """Sets a limit as code defines it, unless this or a newer definition has come before.

    The result is None where it stands; else why it does not.
    """

    wanted: Limited
    version: int = 0
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[str | None]:
        """See Command.decide."""
        check_understood(projection.unknown)
        wanted = self.wanted
        known = projection.governing.limits.said(wanted.limit)
        code = None if known is None else known.code
        content = (wanted.running, wanted.rate, wanted.per_us, wanted.per)
        found = adopted(code, hash_of(content), self.version)
        if not isinstance(found, Definition):
            return Decision([], None if found == "same" else OLDER)
        wanted = replace(wanted, code=found)
        try:
            _check_per(projection, wanted)
        except ArgumentError as error:
            return Decision([], str(error))
        return Decision([(NODE, wanted)], None)


class SetTurns(Struct, frozen=True):
    """Has shares take turns, or no more, by hand: it holds until the definition in code changes."""

    wanted: Shared
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[None]:
        """See Command.decide."""
        check_understood(projection.unknown)
        known = projection.governing.turns.shared
        wanted = replace(self.wanted, code=None if known is None else known.code)
        return Decision([(NODE, wanted)], None)


class DefineTurns(Struct, frozen=True):
    """Has shares take turns as code defines it; see `DefineLimit`."""

    wanted: Shared
    version: int = 0
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[str | None]:
        """See Command.decide."""
        check_understood(projection.unknown)
        wanted, known = self.wanted, projection.governing.turns.shared
        content = (wanted.per, wanted.weights)
        code = None if known is None else known.code
        found = adopted(code, hash_of(content), self.version)
        if not isinstance(found, Definition):
            return Decision([], None if found == "same" else OLDER)
        return Decision([(NODE, replace(wanted, code=found))], None)


class PauseTasks(Struct, frozen=True):
    """Pauses what is in a scope, in place of a pause of just this scope.

    Raises ArgumentError for an end that has been.
    """

    wanted: Paused
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, now: int) -> Decision[None]:
        """See Command.decide."""
        check_understood(projection.unknown)
        until = self.wanted.until
        if until is not None and until <= now:
            raise ArgumentError("until", show_instant(until), "an instant to come")
        return Decision([(NODE, self.wanted)], None)


class ResumeTasks(Struct, frozen=True):
    """Ends the pause of just this scope. Raises ArgumentError where there is none."""

    wanted: Resumed
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, now: int) -> Decision[None]:
        """See Command.decide."""
        check_understood(projection.unknown)
        pause = projection.governing.pauses.by_scope.get(self.wanted.scope)
        if pause is None or not pause.is_on(now):
            given = {name: value for name, value in asdict(self.wanted.scope).items() if value}
            expected = "what is paused, in the same words"
            raise ArgumentError("scope", given or "everything", expected)
        return Decision([(NODE, self.wanted)], None)


class CancelRunning(Struct, frozen=True):
    """Calls off tasks of a scope that run, a portion at a time. The result is how many."""

    scope: Scope
    asking: Asking = NOBODY
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[int]:
        """See Command.decide."""
        check_understood(projection.unknown)
        body = Cancelled(**self.asking.marks)
        found = islice(fitting(self.scope, projection.leased()), CANCELLED_AT_ONCE)
        drafts: list[Draft] = [(task.number, body) for task in found]
        return Decision(drafts, len(drafts))


class TakeBackRule(Struct, frozen=True):
    """Says again what was said of a limit, of turns or of a pause before the event ``undone``.

    Raises NotUndoableError where something else has been said since.
    """

    position: int
    undone: AnyRule
    wanted: AnyRule
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, now: int) -> Decision[None]:
        """See Command.decide."""
        check_understood(projection.unknown)
        standing = _standing(projection, self.undone)
        if standing != (None if isinstance(self.undone, Resumed) else self.undone):
            raise NotUndoableError(self.position, SAID_SINCE)
        wanted = self.wanted
        if isinstance(wanted, Resumed):
            pause = projection.governing.pauses.by_scope.get(wanted.scope)
            if pause is None or not pause.is_on(now):
                raise NotUndoableError(self.position, PAUSE_OVER)
        if isinstance(wanted, (Limited, Shared)):
            assert isinstance(standing, (Limited, Shared)), "it is what was said last"
            # By hand, so that the definition in code does not come back by itself.
            wanted = replace(wanted, code=standing.code)
        if isinstance(wanted, Limited):
            _check_per(projection, wanted)
        return Decision([(NODE, wanted)], None)


def _standing(projection: Projection, said: AnyRule) -> AnyRule | None:
    """What holds now of the same limit or scope, or of turns."""
    governing = projection.governing
    if isinstance(said, Limited):
        return governing.limits.said(said.limit)
    if isinstance(said, Shared):
        return governing.turns.shared
    pause = governing.pauses.by_scope.get(said.scope)
    return None if pause is None else pause.said


def _check_per(projection: Projection, wanted: Limited) -> None:
    """Raises ArgumentError where open tasks have buckets by another tag than the one wanted."""
    known = projection.governing.limits.said(wanted.limit)
    if known is None or known.per == wanted.per:
        return
    if any(b.limit == wanted.limit for t in projection.tasks.values() for b in t.route.buckets):
        expected = f"{known.per!r} as long as tasks are open that are counted by it"
        raise ArgumentError("per", wanted.per, expected)
