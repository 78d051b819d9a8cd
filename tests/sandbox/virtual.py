"""A log made in virtual time by one node with several workers: what a what-if must foretell.

It knows nothing of the simulation: it decides, appends and applies as a node does.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from eventq.core.commits import AnyRule
from eventq.core.create import NewTask
from eventq.core.events import Leased
from eventq.core.lease import can_lease
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.core.settle import Outcome
from eventq.core.values import NODE, ErrorInfo, Policy
from eventq.replay.points import Point
from eventq.sandbox import WhatIf, whatif
from tests import deciding as decide
from tests.driver import memory_log, record
from tests.sandbox.trying import ReadOnlyLog

START = 1_700_000_000_000_000
ERROR = ErrorInfo("OSError", "disk")
FOREVER = 2**60
SECOND = 1_000_000
PLAIN = Policy("linear", 3 * SECOND)


def order(n: int = 0, *, priority: int = 0, policy: Policy = PLAIN, **more: Any) -> NewTask:  # noqa: ANN401
    """An order for a task with a tag."""
    return NewTask(b'{"n":%d}' % n, policy, priority, **more)


class Planned(Struct, frozen=True):
    """A task to come: how long each attempt takes; all fail but the last one."""

    at: int
    order: NewTask
    lengths_us: list[int]


def made(
    planned: list[Planned], *, workers: int, said: Sequence[tuple[int, AnyRule]] = ()
) -> ReadOnlyLog:
    """The log of one node that leases whatever may be leased whenever a worker is free.

    ``said`` is what is said of limits, pauses and turns, and when.
    """
    log = memory_log()
    projection = Projection(log.namespace)
    at = 0
    saying = sorted(said, key=lambda each: each[0])
    coming = sorted(planned, key=lambda each: each.at)
    plans: dict[int, Planned] = {}
    ends: list[tuple[int, int, int, int]] = []
    while coming or projection.tasks:
        free = workers - projection.leased_count
        at = max(at, projection.at)
        may_lease = free and can_lease(projection, Vacancy(1), now=at)
        now = min(
            saying[0][0] if saying else FOREVER,
            coming[0].at if coming else FOREVER,
            ends[0][0] if ends else FOREVER,
            projection.next_instant() or FOREVER,
            at if may_lease else FOREVER,
        )
        now = at = max(now, at)
        while saying and saying[0][0] <= now:
            record(log, projection, [(NODE, saying.pop(0)[1])], now=now)
        while coming and coming[0].at <= now:
            plan = coming.pop(0)
            drafts, _ = decide.create([plan.order], {}, now=now)
            plans[projection.seq + 1] = plan
            record(log, projection, drafts, now=now)
        outcomes = []
        while ends and ends[0][0] <= now:
            _, fence, number, attempt = heapq.heappop(ends)
            ok = attempt == len(plans[number].lengths_us)
            kind = "completed" if ok else "failed"
            outcomes.append(Outcome(number, fence, kind, error=None if ok else ERROR))  # type: ignore[arg-type]
        count = workers - projection.leased_count + len(outcomes)
        projection.advance_to(now)
        drafts = decide.lease(
            projection, worker="node", ttl_us=FOREVER, wanted=Vacancy(count), room=1_000, now=now
        )
        drafts += decide.settle(projection, outcomes, worker="node", now=now)
        first = projection.seq + 1
        record(log, projection, drafts, now=now)
        for fence, (number, body) in enumerate(drafts, first):
            if type(body) is Leased:
                ends_at = now + plans[number].lengths_us[body.attempt - 1]
                heapq.heappush(ends, (ends_at, fence, number, body.attempt))
    return ReadOnlyLog(log.storage, url="memory://", namespace=log.namespace)


def supposed(log: ReadOnlyLog, **changes: object) -> WhatIf:
    """The what-if of the whole log."""
    return whatif(log, after=Point(0, 0), until=Point(log.head().seq, 0), **changes)  # type: ignore[arg-type]
