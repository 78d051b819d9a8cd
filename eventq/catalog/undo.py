"""Taking changes back: of many tasks, of one, or of who may run when; as a plan that is seen first.

What a task becomes is decided in `core.undoing`; here is what a change was about, and what has
moved on since.
"""

from __future__ import annotations

from eventq.catalog.bulks import find_event
from eventq.catalog.passing import records_of
from eventq.catalog.plan import SAMPLE, MeantTasks, Plan, check_found
from eventq.catalog.undo_rules import UNDOABLE, RulePlan, plan_rule_undo
from eventq.core.bulk import MovedOn, Pair, digest_of
from eventq.core.commits import decode_at
from eventq.core.moves import changes
from eventq.core.queue_events import Bulk, BulkEnded, Ticked, Unfollowed
from eventq.core.undoing import before_event
from eventq.core.values import NODE
from eventq.errors import NotUndoableError
from eventq.eventlog.contract import EventLog
from eventq.node.node import Node
from eventq.replay.bulks import is_part
from eventq.replay.fold import commits_of, decode_events, stored_kind
from eventq.replay.points import Point


def plan_undo(node: Node, position: int) -> Plan | RulePlan:
    """A plan that takes back the change with this number, or what the event there did.

    Raises NotUndoableError and ArgumentError.
    """
    _, _, body = find_event(node.log, position)
    if isinstance(body, UNDOABLE):
        return plan_rule_undo(node, position, body)
    if isinstance(body, Ticked):
        raise NotUndoableError(position, "cancel the task that it made instead")
    if isinstance(body, BulkEnded):
        raise NotUndoableError(position, f"it is the end of a change; undo {body.bulk} instead")
    if isinstance(body, Unfollowed):
        raise NotUndoableError(position, "run the follower's code again instead")
    return _plan_task_undo(node, position)


def _plan_task_undo(node: Node, position: int) -> Plan:
    log = node.log
    with node.reading() as projection:
        point = Point(projection.seq, node.now())
    pairs, moved_on = _undoable(log, position, point.seq)
    with node.reading() as projection:
        known = {each: projection.tasks.get(each) for each, _ in pairs[:SAMPLE]}
    found = MeantTasks(pairs, list(records_of(log, known, point)), 0, "log")
    wanted = Bulk("undo", point.seq, point.at, len(pairs), digest_of(pairs), undoes=position)
    return Plan(node, wanted, found, moved_on=moved_on)


def pairs_again(log: EventLog, number: int, said: Bulk) -> list[Pair]:
    """What an undo is about that stands in the log. Raises as `check_found`."""
    assert said.undoes is not None, "an undo takes something back"
    pairs, _ = _undoable(log, said.undoes, said.position)
    return check_found(log, number, said, pairs)


def _undoable(log: EventLog, position: int, until: int) -> tuple[list[Pair], list[MovedOn]]:
    """The tasks that were changed there and not since, up to a position; and those that were."""
    number, _, body = find_event(log, position)
    if isinstance(body, Bulk):
        return _changed_by(log, position, until)
    return _changed_there(log, number, position, until)


def _changed_by(log: EventLog, bulk: int, until: int) -> tuple[list[Pair], list[MovedOn]]:
    """The tasks whose last events by a position are of this change; and those that moved on."""
    own: dict[int, int] = {}
    later: dict[int, tuple[int, str]] = {}
    for commit in commits_of(log, after=bulk, until=until):
        for seq, (number, text) in enumerate(
            zip(commit.tasks, commit.bodies, strict=True), commit.first
        ):
            if seq <= bulk or seq > until or number == NODE:
                continue
            if is_part(seq, text, bulk):
                own[number] = seq
            elif number in own and changes(decode_at(seq, [text])[0]):
                later[number] = seq, stored_kind(text)
    moved_on = [
        MovedOn(number, f"it is {kind} since event {seq}")
        for number, (seq, kind) in sorted(later.items())
    ]
    return sorted((n, seq) for n, seq in own.items() if n not in later), moved_on


def _changed_there(
    log: EventLog, number: int, position: int, until: int
) -> tuple[list[Pair], list[MovedOn]]:
    """The task of one event, unless it has moved on. Raises NotUndoableError."""
    history = [e for e in decode_events(log.history(number)) if e.seq <= until]
    last = next((event for event in history if event.seq == position), None)
    if number == NODE or last is None:
        raise NotUndoableError(position, "it is about no task")
    before_event(log.namespace, history, last)
    later = next((e for e in history if e.seq > position and changes(e.body)), None)
    if later is None:
        return [(number, position)], []
    return [], [MovedOn(number, f"it is {later.kind} since event {later.seq}")]
