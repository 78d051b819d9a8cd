"""Taking changes back: of many tasks, of one, or of who may run when; as a plan that is seen first.

What a task becomes is decided in `core.undoing`; here is what a change was about, and what has
moved on since.
"""

from __future__ import annotations

from eventq.catalog.bulks import find_event, is_part
from eventq.catalog.passing import records_of
from eventq.catalog.plan import SAMPLE, MeantTasks, Plan, check_found
from eventq.core.bulk import MovedOn, Pair, digest_of
from eventq.core.commits import decode_at
from eventq.core.moves import changes
from eventq.core.queue_events import Bulk
from eventq.core.undoing import before_event
from eventq.core.values import NODE
from eventq.errors import NotUndoableError
from eventq.eventlog.contract import EventLog
from eventq.node.node import Node
from eventq.replay.fold import commits_of, decode_events, stored_kind
from eventq.replay.points import Point


def plan_undo(node: Node, position: int) -> Plan:
    """A plan that takes back what the change with this number, or the event there, did to tasks.

    Raises NotUndoableError and ArgumentError.
    """
    log = node.log
    number, _, body = find_event(log, position)
    with node.reading() as projection:
        point = Point(projection.seq, node.now())
    if isinstance(body, Bulk):
        pairs, moved_on = changed_by(log, position, point.seq)
    else:
        pairs, moved_on = _changed_there(log, number, position, point.seq)
    numbers = [number for number, _ in pairs[:SAMPLE]]
    with node.reading() as projection:
        known = {number: projection.tasks.get(number) for number in numbers}
    found = MeantTasks(pairs, list(records_of(log, known, point)), 0, "pass")
    wanted = Bulk("undo", point.seq, point.at, len(pairs), digest_of(pairs), undoes=position)
    return Plan(node, wanted, found, moved_on=moved_on)


def pairs_again(log: EventLog, number: int, said: Bulk) -> list[Pair]:
    """What an undo is about that stands in the log. Raises LogCorruptError where that differs."""
    assert said.undoes is not None, "an undo takes something back"
    task, _, body = find_event(log, said.undoes)
    if isinstance(body, Bulk):
        pairs, _ = changed_by(log, said.undoes, said.position)
    else:
        pairs, _ = _changed_there(log, task, said.undoes, said.position)
    return check_found(number, said, pairs)


def changed_by(log: EventLog, bulk: int, until: int) -> tuple[list[Pair], list[MovedOn]]:
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
