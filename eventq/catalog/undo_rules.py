"""Taking back what was said of who may run when: a pause, a limit, turns, a schedule.

What was said before is said again, unless something else has been said since.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from eventq.catalog.plan import Applied
from eventq.catalog.record import TaskRecord
from eventq.core.asking import Asking, check_asking
from eventq.core.bulk import MovedOn
from eventq.core.commits import KIND_OF, OF_RULES, AnyBody, AnyRule, decode_at
from eventq.core.govern import PAUSE_OVER, SAID_SINCE, TakeBackRule
from eventq.core.queue_events import Limited, Paused, Planned, Resumed, Shared, Ticked, Unplanned
from eventq.core.scheduling import EditSchedule, replanned
from eventq.core.values import Via
from eventq.errors import LogArchivedError, NotUndoableError
from eventq.eventlog.contract import EventLog
from eventq.node.node import Node
from eventq.replay.fold import commits_back, stored_kind
from eventq.schedules.plans import paused_ticks
from eventq.schedules.rules import rule_of

UNDOABLE = (*OF_RULES, Planned, Unplanned)
KINDS = frozenset(KIND_OF[body] for body in UNDOABLE)


class RulePlan(Struct, frozen=True):
    """What takes an event about who may run when back; `apply` does it, once."""

    position: int
    """Of the event that it takes back."""
    undone: AnyRule | Planned | Unplanned
    before: AnyBody | None
    """What was said before; None where nothing was."""
    node: Node
    count: int = 1
    moved_on: tuple[MovedOn, ...] = ()
    """As of a `Plan`: it is about no tasks."""

    def sample(self, _n: int = 5) -> list[TaskRecord]:
        """As of a `Plan`: it is about no tasks."""
        return []

    def apply(self, *, by: str | None = None, reason: str = "", via: Via = "code") -> Applied:
        """Says again what was said before. Raises NotUndoableError, LogError."""
        asking = replace(check_asking(by, reason, via), undoes=self.position)
        if isinstance(self.undone, (Planned, Unplanned)):
            return Applied(self._plan_again(self.undone, asking), 1, [])
        wanted = self._wanted(self.undone, asking)
        command = TakeBackRule(self.position, self.undone, wanted)
        return Applied(self.node.execute(command).first, 1, [])

    def _wanted(self, undone: AnyRule, asking: Asking) -> AnyRule:
        before = self.before
        if isinstance(undone, Limited):
            said: AnyRule = before if isinstance(before, Limited) else Limited(undone.limit)
        elif isinstance(undone, Shared):
            said = before if isinstance(before, Shared) else Shared(lifted=True)
        elif isinstance(before, Paused) and not self._is_over(before):
            said = before
        elif isinstance(undone, Paused):
            said = Resumed(undone.scope)
        else:
            raise NotUndoableError(self.position, PAUSE_OVER)
        return replace(said, decided_at=None, **asking.marks)

    def _is_over(self, said: Paused) -> bool:
        return said.until is not None and said.until <= self.node.now()

    def _plan_again(self, undone: Planned | Unplanned, asking: Asking) -> int:
        """Plans a schedule as it was, or forgets it; returns the position of that."""
        while True:
            with self.node.reading() as projection:
                known = projection.schedules.get(undone.schedule)
            standing = None if known is None else known.planned
            if standing != (undone if isinstance(undone, Planned) else None):
                raise NotUndoableError(self.position, SAID_SINCE)
            now = self.node.now()
            told = None
            if not isinstance(self.before, Planned):
                wanted: Planned | Unplanned = Unplanned(undone.schedule, **asking.marks)
            else:
                next_at = rule_of(self.before.timing, now).after(now)
                said = replace(self.before, next_at=next_at, decided_at=None, **asking.marks)
                if known is not None and known.planned.paused:
                    told = paused_ticks(known, now)
                if told is None:
                    # A due that has come, and is not dealt with yet, is not forgotten.
                    wanted = replace(replanned(known, said, now), paused=said.paused)
                elif standing is not None and standing.timing == said.timing:
                    wanted = replace(said, next_at=told.next_at)
                else:
                    wanted = said
            bodies: tuple[Planned | Unplanned | Ticked, ...] = (
                (wanted,) if told is None else (told, wanted)
            )
            command = EditSchedule(undone.schedule, 0 if known is None else known.seq, bodies)
            committed = self.node.execute(command)
            if committed.result:
                return committed.first + len(bodies) - 1


def plan_rule_undo(node: Node, position: int, undone: AnyRule | Planned | Unplanned) -> RulePlan:
    """What takes back the event at a position. Raises NotUndoableError."""
    try:
        before = _said_before(node.log, position, undone)
    except LogArchivedError as error:
        raise NotUndoableError(position, "what was said before it has been archived") from error
    return RulePlan(position, undone, before, node)


def _said_before(
    log: EventLog, position: int, undone: AnyRule | Planned | Unplanned
) -> AnyRule | Planned | Unplanned | None:
    """What was said last of the same thing before a position."""
    subject = _subject(undone)
    for commit in commits_back(log, until=position - 1):
        for seq in range(min(commit.last, position - 1), commit.first - 1, -1):
            text = commit.bodies[seq - commit.first]
            if stored_kind(text) in KINDS:
                [body] = decode_at(seq, [text])
                if isinstance(body, UNDOABLE) and _subject(body) == subject:
                    found: AnyRule | Planned | Unplanned = body
                    return found
    return None


def _subject(body: AnyBody) -> tuple[str, object]:
    """What something is said of."""
    if isinstance(body, Limited):
        return "limit", body.limit
    if isinstance(body, (Paused, Resumed)):
        return "scope", body.scope
    if isinstance(body, (Planned, Unplanned)):
        return "schedule", body.schedule
    return "turns", None
