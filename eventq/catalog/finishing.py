"""What a queue asks for: a plan that takes something back, and the end of a broken change."""

from __future__ import annotations

from eventq.catalog.bulks import find_event
from eventq.catalog.plan import ACTED_ON, Applied, Plan, Progress, Search, apply_bulk, check_found
from eventq.catalog.selector import Selector
from eventq.catalog.undo import pairs_again, plan_undo
from eventq.catalog.undo_rules import UNDOABLE, RulePlan, plan_rule_undo
from eventq.core.queue_events import Bulk, Ticked, Unfollowed
from eventq.errors import ArgumentError, NotUndoableError
from eventq.node.node import Node
from eventq.replay.points import Point


def undo_of(node: Node, position: int) -> Plan | RulePlan:
    """A plan that takes back a change to many tasks, or one event. Raises NotUndoableError."""
    _, _, body = find_event(node.log, position)
    if isinstance(body, UNDOABLE):
        return plan_rule_undo(node, position, body)
    if isinstance(body, Ticked):
        raise NotUndoableError(position, "cancel the task that it made instead")
    if isinstance(body, Unfollowed):
        raise NotUndoableError(position, "run the follower's code again instead")
    return plan_undo(node, position)


def finish_bulk(
    node: Node, search: Search, number: int, progress: Progress | None = None
) -> Applied:
    """Makes what is left of a change that has begun, on whatever node; what is done stays so.

    Raises ArgumentError for another event, LogArchivedError, and LogCorruptError where the tasks
    that it is about cannot be found again.
    """
    _, _, said = find_event(node.log, number)
    if not isinstance(said, Bulk):
        raise ArgumentError("bulk", number, "the number of a change to many tasks")
    if said.action == "undo":
        pairs = pairs_again(node.log, number, said)
    else:
        selector = Selector.from_json(bytes(said.selector))  # type: ignore[arg-type]
        point = Point(said.position, said.seen_at)
        found = search(selector, ACTED_ON[said.action], point)
        pairs = check_found(number, said, found.pairs)
    return apply_bulk(node, number, said, pairs, progress)
