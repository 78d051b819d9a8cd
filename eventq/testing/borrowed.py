"""The handlers and followers of a harness: its own queue's, and those of queues it borrows from."""

from __future__ import annotations

from collections.abc import Iterable

from eventq.core.audience import Audience
from eventq.core.task import Task
from eventq.core.values import Policy
from eventq.errors import ArgumentError
from eventq.handlers.around import Call
from eventq.handlers.context import Context
from eventq.handlers.follow import Follow
from eventq.handlers.registry import all_rules, all_schedules
from eventq.handlers.work import AnyHandler, Work, unpacking
from eventq.queue import Queue
from eventq.runner.workload import Workload
from eventq.testing.faults import Faults


class BorrowedHandlers:
    """All that one harness has called. Its queue makes their tasks until they are given back."""

    def __init__(self, queue: Queue, lenders: Iterable[Queue], faults: Faults) -> None:
        self._queue = queue
        self._registries = [each._registry for each in (queue, *lenders)]  # noqa: SLF001 - see Harness
        self._faults = faults

    def borrow(self) -> None:
        """Has the queue make their tasks, whatever queue did."""
        for registry in self._registries:
            registry.lend(self._queue)

    def give_back(self) -> None:
        """Ends `borrow`."""
        for registry in self._registries:
            registry.take_back(self._queue)

    def workload(self, policy: Policy) -> Workload:
        """What a run of them takes, one task at a time. Raises ArgumentError for equal names."""
        named: dict[str, Work] = {}
        signatures = {}
        for registry in self._registries:
            for name, work in registry.works(None, self._call_of).items():
                if named.setdefault(name, work) is not work:
                    raise ArgumentError("handlers", name, "a name that no other handler has")
            signatures.update({each.name: each.signature.text for each in registry})
        audience = Audience(tuple(sorted(named)), unnamed=False)
        signatures = {name: signatures[name] for name in audience.names}
        return Workload(
            audience,
            {None: 1},
            named,
            None,
            signatures,
            policy,
            is_plain=False,
            schedules=tuple(all_schedules(self._registries)),
            rules=all_rules(self._registries).all(),
        )

    def follows(self) -> list[Follow]:
        """Their followers. Raises ArgumentError for equal names."""
        found: dict[str, Follow] = {}
        for registry in self._registries:
            for follow in registry.follows():
                if found.setdefault(follow.name, follow) is not follow:
                    raise ArgumentError("handlers", follow.name, "a name of one follower alone")
        return list(found.values())

    def _call_of(self, handler: AnyHandler) -> Call:
        call = unpacking(handler)

        def call_or_fail(context: Context, task: Task) -> object:
            self._faults.raise_planned(handler.name)
            return call(context, task)

        return call_or_fail
