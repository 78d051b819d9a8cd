"""The last hour and the last day up to a moment: what happened, how long things took, what fails.

From the catalog, which counts by whole minutes; the minute that goes on is counted from the log.
Nothing here draws.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from eventq.catalog.counts import Span, SpanCounts, Times
from eventq.catalog.minutes import MINUTE_US
from eventq.core.task import instant
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import commits_of, stored_kind, stored_of
from eventq.replay.points import Point, find_point
from eventq.web.kept_catalog import CatalogLackingError, SlowQuestionError
from eventq.web.showing import Veil
from eventq.web.sight import Sight

if TYPE_CHECKING:
    from eventq.catalog.catalog import Catalog

HOUR_US, DAY_US = 60 * MINUTE_US, 24 * 60 * MINUTE_US
# Without a catalog, a last hour of more events is not counted.
COUNTED_EVENTS = 50_000
FAILING_SHOWN = 5
# So many points of an hour, and of a day, say how long the oldest task was ready.
OLDEST_OF = {"minute": 10 * MINUTE_US, "hour": HOUR_US}
# The events that are counted, by the kinds that a log has them by.
COUNTED = {
    "created": "created",
    "leased": "started",
    "completed": "completed",
    "expired": "expired",
    "cancelled": "cancelled",
    "failed": "failed",
    "retried": "retried",
}
NO_TIMES = Times(0, None, None, None)


class ChartsQuestion(Struct, frozen=True):
    """Nothing is asked but the moment."""


class OldestRow(Struct, frozen=True):
    """For how long the oldest ready task had been ready at an instant; None without one."""

    at: datetime
    ready_us: int | None


class SpanModel(Struct, frozen=True):
    """An hour by minutes, or a day by hours; the last of them may not be over."""

    since: datetime
    spans: list[SpanCounts]
    """All of them, also those in which nothing happened; times are those of whole minutes."""
    oldest: list[OldestRow]


class FailingRow(Struct, frozen=True):
    """Failures of one type in one place."""

    type: str
    place: str
    failures: int
    tasks: int
    last_at: datetime
    last_task: int
    message: str


class ChartsModel(Struct, frozen=True):
    """What happened lately, as of a moment."""

    seq: int
    at: datetime
    source: Literal["catalog", "log"] | None
    """None where there is no catalog, and too much in the log to be counted at once."""
    hour: SpanModel | None
    day: SpanModel | None
    failing: list[FailingRow]
    lack: str | None = None
    """Why the catalog does not answer."""


def charts_model(sight: Sight, question: ChartsQuestion, veil: Veil) -> ChartsModel:
    """The last hour and day; O(minutes and failures in them), and of events in the last minute."""
    del question
    if veil.lanes is not None:
        return _without(sight.point, "What is charted is of all lanes, of which you may see some.")

    def ask(catalog: Catalog, point: Point) -> ChartsModel:
        def span(by: Span, length_us: int, step_us: int) -> SpanModel:
            begin = _begin(point, length_us, step_us)
            passed = catalog.passed(point, begin, by=by)
            recent = _counted(sight.log, passed.seq, point.seq)
            joined = _joined(passed.spans, recent, passed.until, step_us)
            spans = _filled(begin, point.at, step_us, joined)
            return SpanModel(instant(begin), spans, _oldest(catalog, sight, begin, OLDEST_OF[by]))

        failing = catalog.errors(point, since=point.at - DAY_US, limit=FAILING_SHOWN)
        return ChartsModel(
            point.seq,
            instant(point.at),
            "catalog",
            span("minute", HOUR_US, MINUTE_US),
            span("hour", DAY_US, HOUR_US),
            [
                FailingRow(
                    each.type,
                    "" if veil.hides_values else each.place,
                    each.failures,
                    each.tasks,
                    each.last_at,
                    each.last_task,
                    "" if veil.hides_some else each.message,
                )
                for each in failing
            ],
        )

    try:
        return sight.asked(ask)
    except CatalogLackingError as error:
        return _by_log(sight.log, sight.point, str(error))
    except SlowQuestionError:
        return _by_log(sight.log, sight.point, "The catalog did not answer in time.")


def _by_log(log: EventLog, point: Point, lack: str) -> ChartsModel:
    """The last hour, where that is little; without times, which take more than a look."""
    begin = _begin(point, HOUR_US, MINUTE_US)
    before = log.start().seq
    if point.seq > before:
        first = log.read(after=before, limit=1)[0].at
        if first < begin:
            before = find_point(log, instant(begin - 1), now=point.at).seq
    if point.seq - before > COUNTED_EVENTS:
        return _without(point, f"{lack} The last hour holds too much to be counted on the way.")
    spans: dict[datetime, SpanCounts] = {}
    for commit in commits_of(log, after=before, until=point.seq):
        at = instant(commit.at // MINUTE_US * MINUTE_US)
        known = spans.get(at) or _empty(at)
        kinds = [stored_kind(e.body) for e in stored_of(commit) if before < e.seq <= point.seq]
        spans[at] = _added(known, kinds)
    filled = _filled(begin, point.at, MINUTE_US, list(spans.values()))
    hour = SpanModel(instant(begin), filled, [])
    return ChartsModel(point.seq, instant(point.at), "log", hour, None, [], lack)


def _without(point: Point, lack: str) -> ChartsModel:
    return ChartsModel(point.seq, instant(point.at), None, None, None, [], lack)


def _begin(point: Point, length_us: int, step_us: int) -> int:
    """The beginning of the first step of those that end with the one of the point."""
    return point.at // step_us * step_us - length_us + step_us


def _counted(log: EventLog, after: int, until: int) -> list[str]:
    """The kinds of what came behind the last whole minute."""
    return [
        stored_kind(event.body)
        for commit in commits_of(log, after=after, until=until)
        for event in stored_of(commit)
        if after < event.seq <= until
    ]


def _joined(
    spans: list[SpanCounts], recent: list[str], recent_at: int, step_us: int
) -> list[SpanCounts]:
    """The spans with the recent events in that of their instant."""
    at = instant(recent_at // step_us * step_us)
    known = next((span for span in spans if span.at == at), _empty(at))
    others = [span for span in spans if span.at != at]
    return [*others, _added(known, recent)] if recent else spans


def _filled(begin: int, end: int, step_us: int, spans: list[SpanCounts]) -> list[SpanCounts]:
    """All steps from an instant to another, also those in which nothing happened."""
    found = {span.at: span for span in spans}
    steps = map(instant, range(begin, end + 1, step_us))
    return [found.get(at) or _empty(at) for at in steps]


def _empty(at: datetime) -> SpanCounts:
    return SpanCounts(at, 0, 0, 0, 0, 0, 0, 0, NO_TIMES, NO_TIMES, None)


def _added(known: SpanCounts, kinds: list[str]) -> SpanCounts:
    more = {
        name: getattr(known, name) + kinds.count(kind)
        for kind, name in COUNTED.items()
        if kind in kinds
    }
    return replace(known, **more)


def _oldest(catalog: Catalog, sight: Sight, begin: int, step_us: int) -> list[OldestRow]:
    """At the ends of steps, which do not change any more and so are kept, and at the moment."""
    point = sight.point
    first = begin // step_us * step_us + step_us
    rows = [_oldest_at(catalog, sight, end) for end in range(first, point.at, step_us)]
    return [*rows, OldestRow(instant(point.at), catalog.oldest_ready(point))]


def _oldest_at(catalog: Catalog, sight: Sight, end: int) -> OldestRow:
    def ask() -> OldestRow:
        seq = catalog.last_before(end)
        known = catalog.begins < seq
        return OldestRow(instant(end), catalog.oldest_ready(Point(seq, end)) if known else None)

    return sight.memory.kept(("oldest", end), ask)
