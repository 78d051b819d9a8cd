"""What is supposed of limits, turns and schedules, checked; `compare` supposes the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from eventq.core.commits import AnyRule
from eventq.core.queue_events import Limited, Shared
from eventq.core.rule_options import make_limited, make_shared
from eventq.core.timing import Timing
from eventq.core.validation import check_list, check_name
from eventq.errors import ArgumentError
from eventq.schedules.rules import check_timing


class LimitRule(Struct, frozen=True):
    """What a limit bears, all the time; what is UNSET stays as it was, None is no bound."""

    limit: str
    running: int | UnsetType | None = UNSET
    rate: str | UnsetType | None = UNSET


class TurnRule(Struct, frozen=True):
    """Shares take turns, all the time, as `Queue.fair` has it."""

    per: str | None = None
    weights: Mapping[str, int] = {}


class RuleChanges(Struct, frozen=True):
    """What of the rules of a queue is other than it was."""

    limits: dict[str, dict[str, Any]] = {}
    """By limit: the fields of Limited that are replaced."""
    turns: Shared | UnsetType | None = UNSET
    """None: no turns are taken."""
    crons: dict[str, Timing | None] = {}
    """By schedule: when its dues come. None: they do not."""

    @property
    def is_any(self) -> bool:
        """Whether who may run when goes by other rules."""
        return bool(self.limits) or self.turns is not UNSET

    def check_taken(self, taken: Iterable[str]) -> None:
        """Raises ArgumentError for a limit that plays no part, since no task names it."""
        for limit in self.limits:
            if limit not in taken:
                expected = "a limit of a task that was created between the points"
                raise ArgumentError("limits", limit, expected)

    def changed(self, body: AnyRule) -> AnyRule | None:
        """What is said here instead of what was said; None for nothing."""
        if isinstance(body, Limited) and body.limit in self.limits:
            return _with(body, self.limits[body.limit])
        if isinstance(body, Shared) and self.turns is not UNSET:
            return None
        return body

    def first(self, limit_tags: Mapping[str, str | None]) -> list[AnyRule]:
        """What is said here before all else; ``limit_tags`` are what limits get later."""
        bodies: list[AnyRule] = [
            _with(Limited(limit=limit, per=limit_tags.get(limit)), fields)
            for limit, fields in sorted(self.limits.items())
        ]
        return bodies if self.turns is UNSET or self.turns is None else [*bodies, self.turns]


def check_rules(
    limits: Iterable[LimitRule],
    turns: TurnRule | UnsetType | None,
    crons: Mapping[str, str | None],
) -> RuleChanges:
    """What is supposed. Raises ArgumentError."""
    if not isinstance(crons, Mapping):
        raise ArgumentError("crons", crons, "a mapping of schedules to cron expressions")
    if turns is not UNSET and turns is not None and not isinstance(turns, TurnRule):
        raise ArgumentError("turns", turns, "a TurnRule, or None for no turns")
    return RuleChanges(
        limits={
            each.limit: _limit_fields(each) for each in check_list(limits, "limits", LimitRule)
        },
        turns=make_shared(per=turns.per, weights=turns.weights)
        if isinstance(turns, TurnRule)
        else turns,
        crons={
            check_name(name, "crons"): None if spec is None else _timing(spec)
            for name, spec in crons.items()
        },
    )


def _limit_fields(rule: LimitRule) -> dict[str, Any]:
    given = {name: v for name in ("running", "rate") if (v := getattr(rule, name)) is not UNSET}
    said = make_limited(rule.limit, **given)
    fields = {name: getattr(said, name) for name in given}
    return fields | {"per_us": said.per_us} if "rate" in given else fields


def _timing(spec: str) -> Timing:
    # The zone is that of the schedule, of which nothing is known yet.
    return check_timing(cron=spec, zone="UTC", jitter=0)


def _with(body: Limited, fields: dict[str, Any]) -> Limited:
    known = {"running": body.running, "rate": body.rate, "per_us": body.per_us, **fields}
    return Limited(limit=body.limit, per=body.per, **known)
