"""Find: tasks and attempts by what happened to them, over a log, its archive, or a part of it.

Which are meant, `Selector` alone says. The catalog answers where it is at hand, else a pass over
the log; an answer tells what it is of.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from eventq.catalog.orders import GroupBy, Order
from eventq.catalog.passing import Progress, is_much
from eventq.catalog.passing_attempts import AttemptRecord, attempts_over, ever
from eventq.catalog.record import Source, TaskRecord
from eventq.catalog.search import by_catalog, find_tasks
from eventq.catalog.selector import Selector, find_instant
from eventq.core.plain import plain
from eventq.core.task import show_instant
from eventq.errors import ArgumentError
from eventq.eventlog.contract import EventLog
from eventq.replay.points import END, Point, PointLike, find_point, instant_before, position_at

GROUPS: tuple[GroupBy, ...] = ("error", "node", "name", "hour")

HOUR_US = 3_600_000_000

_POSITION = re.compile(r"-?\d{1,19}", re.ASCII)


class Reach(Struct, frozen=True):
    """Over what was looked: events behind a position up to another, and as of which instant."""

    after: int
    seq: int
    at: int
    since: int | None = None
    """Only what changed at this instant or later; None: anything since the first event."""


class Findings(Struct, frozen=True):
    """What was found, by whom, and over what."""

    found: list[TaskRecord] | list[AttemptRecord]
    count: int
    """How many were found; more than stand in ``found`` where a limit cut that, or none do."""
    source: Source
    after: int
    """It is of the events behind this position, and ..."""
    seq: int
    """... up to this one."""
    since: int | None
    """The instant from which on, where one was given."""
    at: int
    """The instant of the view."""

    @property
    def is_cut(self) -> bool:
        """Whether there is more than is shown."""
        return len(self.found) < self.count


def find_reach(
    log: EventLog, start: PointLike | None = None, end: PointLike | None = None, *, now: int
) -> Reach:
    """What lies between two points; None: from the log's beginning, to its end.

    A start that is an instant may lie before the log; an end may lie ahead of now. Raises
    ArgumentError, as where the end comes before the start, and LogArchivedError.
    """
    begin = log.start().seq
    until = _end_of(log, END if end is None else end, now)
    if start is None:
        return Reach(begin, until.seq, until.at)
    if _is_position(start):
        after = find_point(log, start, now=now, argument="from").seq
        if after > until.seq:
            raise ArgumentError("to", end, f"a point after {after}, where the period begins")
        return Reach(after, until.seq, until.at)
    since = _instant_of(log, start, "from", now)
    if since > until.at:
        began = show_instant(since)
        raise ArgumentError("to", end, f"a point that is not before {began}, the period's begin")
    return Reach(max(begin, position_at(log, since - 1)), until.seq, until.at, since)


def find(
    log: EventLog,
    selector: Selector,
    reach: Reach,
    *,
    order: Order = "number",
    limit: int | None = None,
    progress: Progress | None = None,
    catalog: str | None = None,
) -> Findings:
    """The tasks that are meant as they stood at the reach's end, and that changed within it.

    From the catalog where it is at hand, at the path ``catalog`` or its usual one, else by a pass
    over the log, of which ``progress`` is told. Raises ArgumentError, LogArchivedError,
    LogCorruptError.
    """
    wanted, point = _within(selector, reach), Point(reach.seq, reach.at)
    is_part = _is_part(log, reach)
    found = find_tasks(
        log,
        wanted,
        point,
        after=reach.after if is_part else 0,
        order=order,
        limit=None if is_part else limit,
        counts=not is_part,
        progress=progress,
        path=catalog,
    )
    tasks = [task for task in found.tasks if not is_part or task.last_seq > reach.after]
    count = len(tasks) if is_part or found.count is None else found.count
    return _answer(tasks[:limit], count, found.source, max(found.since_seq, reach.after), reach)


def find_groups(
    log: EventLog,
    selector: Selector,
    reach: Reach,
    by: GroupBy,
    *,
    progress: Progress | None = None,
    catalog: str | None = None,
) -> tuple[list[tuple[str, int]], Findings]:
    """How many of the tasks that `find` gives share an error, node, name or hour; see `group`.

    The catalog counts where it is at hand; the findings name no task then.
    """
    wanted, point = _within(selector, reach), Point(reach.seq, reach.at)
    if not _is_part(log, reach):
        counted = by_catalog(
            log,
            point,
            lambda known: (
                known.grouped(wanted, by, point),
                known.count(wanted, point),
                max(known.begins, reach.after),
            ),
            path=catalog,
        )
        if counted is not None:
            counts, count, after = counted
            named = {
                _hour(key * HOUR_US) if type(key) is int else str(key): n
                for key, n in counts.items()
            }
            return _in_order(named, by), _answer([], count, "catalog", after, reach)
    answer = find(log, selector, reach, progress=progress, catalog=catalog)
    return group(answer.found, by), answer


def find_attempts(
    log: EventLog,
    selector: Selector,
    reach: Reach,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
    catalog: str | None = None,
) -> Findings:
    """The attempts that are meant and were over within the reach, the first that ended first.

    What a selector says of an error, a node, a wait, a run, a lapse is asked of the attempt itself;
    its state is what the task became. Where the catalog is at hand, it says which tasks had such
    attempts, unless they are many; see `find`.
    """
    wanted, point = _within(selector, reach), Point(reach.seq, reach.at)
    numbers, source = _tasks_with(log, wanted, point, catalog)
    found = list(
        attempts_over(log, wanted, point, after=reach.after, numbers=numbers, progress=progress)
    )
    return _answer(found[:limit], len(found), source, reach.after, reach)


def _tasks_with(
    log: EventLog, wanted: Selector, point: Point, path: str | None
) -> tuple[set[int] | None, Source]:
    """The tasks that have such attempts, by the catalog; None where all are to be looked at."""
    once = ever(wanted)
    if once.is_empty:
        return None, "log"
    known = by_catalog(
        log, point, lambda catalog: (catalog.tasks_once(once, point), catalog.begins), path=path
    )
    if known is None or known[1] > log.start().seq or is_much(len(known[0]), log, point):
        return None, "log"
    return known[0], "catalog"


def group(found: Iterable[TaskRecord | AttemptRecord], by: GroupBy) -> list[tuple[str, int]]:
    """How many of what was found have the same error, node, name or hour; the most first.

    A task is of each node that has leased it. Hours, in UTC, are those of the last event, in order.
    """
    keys = _KEYS[by]
    counts: Counter[str] = Counter()
    for each in found:
        counts.update(keys(each.task if isinstance(each, AttemptRecord) else each))
    return _in_order(counts, by)


def _in_order(counts: Mapping[str, int], by: GroupBy) -> list[tuple[str, int]]:
    if by == "hour":
        return sorted(counts.items())
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _is_part(log: EventLog, reach: Reach) -> bool:
    """Whether what was changed last before a position is left out."""
    return reach.since is None and reach.after > log.start().seq


def _within(selector: Selector, reach: Reach) -> Selector:
    """The selector, narrowed to what changed in the reach."""
    since = max((at for at in (selector.since, reach.since) if at is not None), default=None)
    if since is not None and since > reach.at:
        expected = f"an instant that is not after {show_instant(reach.at)}, the period's end"
        raise ArgumentError("since", show_instant(since), expected)
    for later, earlier in (
        (selector.until, since),
        (selector.created_before, selector.created_after),
        (selector.ended_before, selector.ended_after),
    ):
        if later is not None and earlier is not None and later <= earlier:
            expected = f"an instant after {show_instant(earlier)}, where the period begins"
            raise ArgumentError("until", show_instant(later), expected)
    return replace(selector, since=since)


def _answer(
    found: list[TaskRecord] | list[AttemptRecord],
    count: int,
    source: Source,
    after: int,
    reach: Reach,
) -> Findings:
    return Findings(found, count, source, after, reach.seq, reach.since, reach.at)


def _is_position(value: PointLike) -> bool:
    found = plain(value)
    if isinstance(found, str):
        return found == END or _POSITION.fullmatch(found) is not None
    return isinstance(found, int)


def _end_of(log: EventLog, end: PointLike, now: int) -> Point:
    if _is_position(end):
        return find_point(log, end, now=now, argument="to")
    at = _instant_of(log, end, "to", now)
    return Point(position_at(log, at), at)


def _instant_of(log: EventLog, value: PointLike, argument: str, now: int) -> int:
    before = instant_before(log, value, argument) if isinstance(value, str) else None
    return find_instant(value, argument, now) if before is None else before


def _hour(at: int) -> str:
    return f"{datetime.fromtimestamp(at // 1_000_000, UTC):%Y-%m-%dT%H:00Z}"


_KEYS: dict[GroupBy, Callable[[TaskRecord], Iterable[str]]] = {
    "error": lambda task: [task.error_type or "-"],
    "node": lambda task: task.nodes or ["-"],
    "name": lambda task: [task.name or "-"],
    "hour": lambda task: [_hour(task.last_at)],
}
