"""The page of limits and pauses: who holds what, who waits, what is paused and why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.task import Task, instant
from eventq.replay.rule_words import scope_words
from eventq.replay.rules_now import BucketState, PauseState, bucket_states, pause_states
from eventq.web.naming import by_number, veils_of
from eventq.web.rule_veil import RuleVeil, named_by, secrets_in
from eventq.web.showing import Veil
from eventq.web.sight import Sight

BUCKETS_SHOWN = 200
HOLDERS_SHOWN = 10


class LimitsQuestion(Struct, frozen=True):
    """Nothing is asked but the moment."""


class BucketRow(Struct, frozen=True):
    """One bucket of a limit."""

    bucket: BucketState
    per: str | None
    more_holders: int


class PauseRow(Struct, frozen=True):
    """One pause that goes on."""

    pause: PauseState
    words: str
    is_whole: bool
    """Whether all of what it is about is shown: else no form here can resume it."""


class LimitsModel(Struct, frozen=True):
    """What bounds and holds back, at a moment."""

    seq: int
    at: datetime
    buckets: list[BucketRow]
    more_buckets: int
    pauses: list[PauseRow]
    turns: str | None


def limits_model(sight: Sight, question: LimitsQuestion, veil: Veil) -> LimitsModel:
    """All limits and pauses; O(open tasks) where there are any."""
    del question
    with sight.seen() as projection:
        governing = projection.governing
        buckets = bucket_states(projection, sight.at)
        pauses = pause_states(projection, sight.at)
        pers = {each.limit: governing.limits.per_of(each.limit) for each in buckets}
        turns = governing.turns.shared if governing.turns.is_on else None
        running = list(projection.leased())
        secrets = secrets_in(projection)
    rules = RuleVeil(veil, secrets.join(named_by(sight)))
    shown = buckets[:BUCKETS_SHOWN]
    names = _holder_names(sight, shown, running, veil)
    rows = [_bucket_row(each, pers[each.limit], rules, names) for each in shown]
    return LimitsModel(
        seq=sight.seq,
        at=instant(sight.at),
        buckets=rows,
        more_buckets=max(0, len(buckets) - BUCKETS_SHOWN),
        pauses=[
            _pause_row(each, rules)
            for each in pauses
            if each.scope.lane is None or veil.sees(each.scope.lane)
        ],
        turns=None if turns is None else rules.turns(turns),
    )


def _holder_names(
    sight: Sight, buckets: list[BucketState], running: list[Task], veil: Veil
) -> dict[str, str]:
    """What tasks that run are called, by their keys; without those that are not theirs to see."""
    seen = {task.key: task for task in veil.seen_of(running)}
    told = {key: seen[key] for each in buckets for key in each.holders if key in seen}
    hidden = veils_of(sight.log, by_number(told.values()), veil)
    return {key: hidden(task.number).key(key, task.number) for key, task in told.items()}


def _bucket_row(
    bucket: BucketState, per: str | None, rules: RuleVeil, names: Mapping[str, str]
) -> BucketRow:
    # What a limit bears, and how much of it is taken, is the whole queue's.
    holders = [names[key] for key in bucket.holders if key in names]
    value = rules.bucket(bucket.limit, bucket.value, per)
    shown = replace(bucket, value=value, holders=holders[:HOLDERS_SHOWN])
    return BucketRow(shown, per, len(bucket.holders) - len(shown.holders))


def _pause_row(pause: PauseState, rules: RuleVeil) -> PauseRow:
    scope = rules.scope(pause.scope)
    reason = rules.about(pause.scope).text(pause.reason)
    is_whole = scope == pause.scope
    return PauseRow(replace(pause, scope=scope, reason=reason), scope_words(scope), is_whole)
