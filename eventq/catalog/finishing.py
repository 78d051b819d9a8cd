"""The end of a change to many tasks that broke off, made from what the log says of it.

Nothing is selected anew: what is found again must be what the change was about.
"""

from __future__ import annotations

from eventq.catalog.bulks import find_event
from eventq.catalog.plan import ACTED_ON, Applied, Progress, Search, apply_bulk, check_found
from eventq.catalog.selector import Selector
from eventq.catalog.undo import pairs_again
from eventq.core.queue_events import Bulk
from eventq.errors import ArgumentError
from eventq.node.node import Node
from eventq.replay.points import Point


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
        pairs = check_found(node.log, number, said, found.pairs)
    return apply_bulk(node, number, said, pairs, progress)
