"""What events say that are about no task: of nodes, followers, schedules, of who may run when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventq.core.commits import KIND_OF, AnyRule
from eventq.core.queue_events import (
    Bulk,
    BulkEnded,
    Followed,
    Joined,
    Left,
    Limited,
    Paused,
    Planned,
    Renewed,
    Resumed,
    Shared,
    Ticked,
    Unfollowed,
    Unplanned,
)
from eventq.verify.bounds import Bounds
from eventq.verify.changing import BulkRules
from eventq.verify.followers import Followers
from eventq.verify.nodes import JoinedNodes
from eventq.verify.order import Order
from eventq.verify.schedules import ScheduleRules
from eventq.verify.seen import Seen
from eventq.verify.terms import BrokenError, Past, Report


class RulesBeside:
    """Judges each of these; none of them names a task."""

    def __init__(
        self,
        nodes: JoinedNodes,
        order: Order,
        tasks: dict[int, Seen],
        report: Report,
        past: Past,
    ) -> None:
        self.changes = BulkRules(past)
        self.bounds = Bounds()
        self._order = order
        self._tasks = tasks
        self.followers = Followers()
        self.schedules = ScheduleRules(report)
        self._nodes = nodes
        self.by_kind: dict[type, Callable[[int, int, int, Any], None]] = {
            Renewed: self._take_renewed,
            Joined: self._take_joined,
            Left: self._take_left,
            Followed: self._take_followed,
            Unfollowed: self._take_unfollowed,
            Planned: self._take_planned,
            Unplanned: self._take_unplanned,
            Ticked: self._take_ticked,
            Bulk: self._take_bulk,
            BulkEnded: self._take_bulk_ended,
            **dict.fromkeys((Paused, Resumed, Limited, Shared), self._take_asked),
        }

    def _take_renewed(self, _seq: int, _at: int, number: int, body: Renewed) -> None:
        _check_none(number, Renewed)
        if body.ttl_us <= 0:
            raise BrokenError("lease", "renewed for no time")

    def _take_joined(self, _seq: int, _at: int, number: int, body: Joined) -> None:
        _check_none(number, Joined)
        self._nodes.join(body)

    def _take_left(self, _seq: int, _at: int, number: int, body: Left) -> None:
        _check_none(number, Left)
        self._nodes.leave(body.worker)

    def _take_followed(self, seq: int, at: int, number: int, body: Followed) -> None:
        _check_none(number, Followed)
        self.followers.take(seq, at, body)

    def _take_asked(self, _seq: int, at: int, number: int, body: AnyRule) -> None:
        _check_none(number, type(body))
        self.bounds.say(at, body, self._tasks)
        if isinstance(body, (Limited, Shared)) or not self._order.is_governed:
            self._order.govern(self.bounds, at)
        else:
            self._order.open()

    def _take_unfollowed(self, _seq: int, _at: int, number: int, body: Unfollowed) -> None:
        _check_none(number, Unfollowed)
        self.followers.drop(body)

    def _take_planned(self, _seq: int, _at: int, number: int, body: Planned) -> None:
        _check_none(number, Planned)
        self.schedules.plan(body)

    def _take_unplanned(self, _seq: int, _at: int, number: int, body: Unplanned) -> None:
        _check_none(number, Unplanned)
        self.schedules.forget(body)

    def _take_ticked(self, _seq: int, at: int, number: int, body: Ticked) -> None:
        _check_none(number, Ticked)
        self.schedules.tick(at, body)

    def _take_bulk(self, seq: int, _at: int, number: int, body: Bulk) -> None:
        _check_none(number, Bulk)
        self.changes.begin(seq, body)

    def _take_bulk_ended(self, seq: int, _at: int, number: int, body: BulkEnded) -> None:
        _check_none(number, BulkEnded)
        self.changes.end(seq, body)


def _check_none(number: int, kind: type) -> None:
    if number != 0:
        raise BrokenError("move", f"{KIND_OF[kind]} names a task, {number}")
