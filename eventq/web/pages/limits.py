"""The page of limits and pauses: who holds what, who waits, what is paused and why."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.projection import Projection
from eventq.core.task import instant
from eventq.replay.rule_words import scope_words, turn_words
from eventq.replay.rules_now import BucketState, PauseState, bucket_states, pause_states
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
        unseen = _unseen_keys(projection, veil)
        governing = projection.governing
        buckets = bucket_states(projection, sight.at)
        pauses = pause_states(projection, sight.at)
        pers = {each.limit: governing.limits.per_of(each.limit) for each in buckets}
        turns = governing.turns.shared if governing.turns.is_on else None
    rows = [_bucket_row(each, pers[each.limit], veil, unseen) for each in buckets[:BUCKETS_SHOWN]]
    return LimitsModel(
        seq=sight.seq,
        at=instant(sight.at),
        buckets=rows,
        more_buckets=max(0, len(buckets) - BUCKETS_SHOWN),
        pauses=[
            _pause_row(each, veil)
            for each in pauses
            if each.scope.lane is None or veil.sees(each.scope.lane)
        ],
        turns=None if turns is None or veil.hides_values else turn_words(turns),
    )


def _unseen_keys(projection: Projection, veil: Veil) -> frozenset[str]:
    """The keys of tasks that run in lanes which are not theirs to see."""
    if veil.lanes is None:
        return frozenset()
    held = (number for holder in projection.holders.values() for number in holder.tasks)
    tasks = (projection.tasks[number] for number in held)
    return frozenset(task.key for task in tasks if not veil.sees(task.lane))


def _bucket_row(
    bucket: BucketState, per: str | None, veil: Veil, unseen: frozenset[str]
) -> BucketRow:
    # What a limit bears, and how much of it is taken, is the whole queue's.
    holders = [key for key in bucket.holders if key not in unseen]
    shown = replace(bucket, value=veil.bucket(bucket.value, per), holders=holders[:HOLDERS_SHOWN])
    return BucketRow(shown, per, len(bucket.holders) - len(shown.holders))


def _pause_row(pause: PauseState, veil: Veil) -> PauseRow:
    scope = replace(pause.scope, tags=veil.scope_tags(pause.scope.tags))
    reason = veil.reason(pause.reason)
    return PauseRow(replace(pause, scope=scope, reason=reason), scope_words(scope))
