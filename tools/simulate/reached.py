"""Which rare cases a simulation has reached, by what its log says and by what was done to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from eventq.core.commits import Unknown
from eventq.core.durations import SECOND_US
from eventq.core.events import (
    Cancelled,
    Created,
    Expired,
    Failed,
    Leased,
    Refused,
    Released,
    Retried,
    Revived,
    Updated,
)
from eventq.core.queue_events import Limited, Ticked
from eventq.core.values import LAPSED, Bucket

if TYPE_CHECKING:
    from tools.simulate.checks import Facts

# Of a long campaign, each of these must have been reached a hundred times.
RARE = (
    "a change to many",
    "a change to many finished by another node",
    "a change to many made again",
    "a change to many, some moved on",
    "a due is missed",
    "a due is skipped",
    "a final task comes back",
    "a finaliser runs",
    "a lapse frees a limit",
    "a limit is lifted",
    "a place of a limit is waited for",
    "a rate is used up",
    "a replaced one of a unique value",
    "a revival in portions",
    "a revival is done",
    "a row committed",
    "a row delivered twice",
    "a row rolled back",
    "a row set aside",
    "a row set aside is relayed again",
    "a rule taken back",
    "a schedule's due",
    "a sign of life beside a lapse",
    "a storm of conflicts",
    "a twin of a final task",
    "an append takes long",
    "an undo",
    "an undo of an undo",
    "an undo refused in part",
    "append lost",
    "archived",
    "backfilled by hand",
    "call with an unknown outcome",
    "cancelled by another's end",
    "cancelled by its worker",
    "children asked for",
    "clock an hour off",
    "clock drifts",
    "clock wrong on its own",
    "conflict",
    "contention",
    "crash",
    "crash with leases",
    "cut",
    "cut held back by a follower",
    "deadline passed",
    "death after the append",
    "death before the append",
    "death between a row's append and its deletion",
    "death in a change to many",
    "decided by a clock that is behind the log",
    "expired: fatal",
    "expired: max_age",
    "expired: max_lapses",
    "expired: max_retries",
    "fold from a snapshot",
    "follower dropped",
    "follower failed",
    "full disk",
    "graceful stop",
    "in another lane",
    "isolated process died",
    "isolated process killed",
    "lapsed",
    "late outcome",
    "many dues are missed at once",
    "newer event about the queue",
    "newer event aside",
    "orphans lapsed in time",
    "paused",
    "progress told",
    "refused",
    "reply lost",
    "reply lost, and the log away",
    "rough attempt",
    "run after a run",
    "slow read",
    "snapshot",
    "snoozed",
    "stale read",
    "stall beyond the lease",
    "stopped by a newer log",
    "task of a newer eventq",
    "two relays at once",
    "unavailable",
    "wall clock jumps",
)


def reached(facts: Facts) -> Counter[str]:
    """How often the log says so."""
    found: Counter[str] = Counter()
    limits = _Limits(found)
    made: dict[int, Created] = {}
    for (_, number, body), said in zip(facts.bodies, facts.by, strict=True):
        if isinstance(body, Unknown):
            continue
        if type(body) is Created:
            made[number] = body
        found.update(_said(body))
        if body.decided_at is not None:
            found["decided by a clock that is behind the log"] += 1
        if type(body) is Leased and made[number].role is not None:
            found["a finaliser runs"] += made[number].role != "member"
        limits.see(body, made.get(number), said.decided_at)
    return found


class _Limits:
    """What was rare about limits, seen from their leases alone."""

    def __init__(self, found: Counter[str]) -> None:
        self._found = found
        self._rates: dict[str, tuple[int, int]] = {}
        self._begun: dict[Bucket, list[int]] = {}

    def see(self, body: Any, made: Created | None, at: int) -> None:  # noqa: ANN401 - any event
        """Looks at one event, about a task that was made like this."""
        if type(body) is Limited:
            self._rates.pop(body.limit, None)
            if body.rate is not None and body.per_us is not None:
                self._rates[body.limit] = body.rate, body.per_us
        if made is None or not made.limits:
            return
        if type(body) is Failed and body.error.type == LAPSED:
            self._found["a lapse frees a limit"] += 1
        if type(body) is not Leased:
            return
        ready_at = made.scheduled_at or 0
        self._found["a place of a limit is waited for"] += at - ready_at > SECOND_US
        for bucket in made.limits:
            if bucket.limit in self._rates:
                rate, per_us = self._rates[bucket.limit]
                begun = self._begun.setdefault(bucket, [])
                begun.append(at)
                used = sum(at - per_us < each <= at for each in begun)
                self._found["a rate is used up"] += used == rate


def _said(body: Any) -> Iterable[str]:  # noqa: ANN401 - any event
    """What one event says that is rare."""
    say: Callable[[Any], str | None] | None = _SAYS.get(type(body))
    said = None if say is None else say(body)
    return () if said is None else (said,)


def _of_failed(body: Failed) -> str | None:
    if body.error.type == LAPSED:
        return "lapsed"
    return "deadline passed" if body.error.type.endswith("DeadlineExceededError") else None


def _of_cancelled(body: Cancelled) -> str | None:
    if body.cause is not None:
        return "cancelled by another's end"
    return "cancelled by its worker" if body.reason == "pointless" else None


def _of_ticked(body: Ticked) -> str | None:
    if body.hand is not None:
        return None
    if body.outcome == "missed":
        return "a due is missed" if body.count == 1 else "many dues are missed at once"
    return "a due is skipped" if body.outcome == "skipped" else "a schedule's due"


def _of_updated(body: Updated) -> str | None:
    if body.lane is not None:
        return "in another lane"
    return "a replaced one of a unique value" if body.tags else None


def _of_retried(body: Retried) -> str | None:
    if body.reopens is None:
        return None
    return "a revival in portions" if body.revives else "a final task comes back"


_SAYS: dict[type, Callable[[Any], str | None]] = {
    Failed: _of_failed,
    Cancelled: _of_cancelled,
    Ticked: _of_ticked,
    Expired: lambda body: f"expired: {body.reason}",
    Refused: lambda _: "refused",
    Released: lambda _: "released",
    Revived: lambda _: "a revival is done",
    Retried: _of_retried,
    Created: lambda body: None if body.repeats is None else "a twin of a final task",
    Updated: _of_updated,
    Limited: lambda body: "a limit is lifted" if body.running is body.rate is None else None,
}
