"""Finds tasks in the catalog where it is at hand, else in the log; and says which.

A catalog is at hand when it is there and has, or is brought in a moment to, the log's end. Whatever
is wrong with it, the log answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from eventq.catalog.orders import Order
from eventq.catalog.passing import Progress, pass_over, settled_numbers
from eventq.catalog.place import catalog_path, check_path
from eventq.catalog.plan import SAMPLE, MeantTasks
from eventq.catalog.record import Source, TaskRecord
from eventq.catalog.selector import Selector
from eventq.core.task import FINAL, Task, TaskState
from eventq.errors import ArgumentError, CatalogError, LogError
from eventq.eventlog import EventLog
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.replay.fold import task_of
from eventq.replay.points import Point
from eventq.replay.query import LOOKUPS, TaskFilter, final_tasks, open_tasks

if TYPE_CHECKING:
    from eventq.catalog.catalog import Catalog

T = TypeVar("T")

# So many events are caught up with at once; with more, the catalog is left as it is.
SOON_EVENTS = 20_000
# So many records are asked for at a time.
PAGE = 200

logger = SafeLogger("eventq.catalog")


class FoundTasks(Struct, frozen=True):
    """Tasks as they stood at a point, and what says so."""

    tasks: list[TaskRecord]
    source: Source
    """``catalog``, or ``log`` where a pass over it has found them."""
    since_seq: int
    """What is said holds of the events behind this position, and ..."""
    seq: int
    """... up to this one."""
    count: int | None = None
    """How many there are without the limit, where that is known."""


class TaskList(list[Task]):
    """Tasks, and where those among them that are final were found."""

    def __init__(self, tasks: Iterable[Task], *, source: Source = "log") -> None:
        super().__init__(tasks)
        self.source = source


class CatalogSearch:
    """Finds what a plan is to be about; see `plan.Search`. ``path``: see `by_catalog`."""

    def __init__(self, log: EventLog, path: str | None = None) -> None:
        self._log = log
        self.path = path

    def __call__(
        self, selector: Selector, states: frozenset[TaskState], point: Point, /
    ) -> MeantTasks:
        """See `plan.Search`."""
        log = self._log
        found = by_catalog(
            log,
            point,
            lambda catalog: _meant_by_catalog(catalog, selector, states, point),
            path=self.path,
        )
        return _meant_by_pass(log, selector, states, point) if found is None else found


def find_tasks(
    log: EventLog,
    selector: Selector,
    at: Point,
    *,
    after: int = 0,
    order: Order = "number",
    limit: int | None = None,
    counts: bool = False,
    progress: Progress | None = None,
    path: str | None = None,
) -> FoundTasks:
    """The tasks that a selector means at a point, from the catalog where it is at hand.

    A pass over the log leaves out those that have not changed behind the position ``after``;
    ``progress`` is told how far it has come. With ``counts``, the catalog counts what the limit
    cuts off, too. ``path``: see `by_catalog`.

    Raises LogArchivedError for a point before the log begins.
    """

    def ask(catalog: Catalog) -> FoundTasks:
        found = catalog.find(selector, at, order=order, limit=limit)
        count = catalog.count(selector, at) if counts and len(found) == limit else None
        return FoundTasks(found, "catalog", catalog.begins, at.seq, count)

    answer = by_catalog(log, at, ask, path=path)
    if answer is not None:
        return answer
    if limit is not None and order == "number" and not after:
        numbers = settled_numbers(log, selector, at, progress=progress)
        if numbers is not None:
            first = list(pass_over(log, selector, at, numbers=numbers[:limit]))
            return FoundTasks(first, "log", 0, at.seq, len(numbers))
    records = list(pass_over(log, selector, at, after=after, progress=progress))
    if order != "number":
        records.sort(key=_NEWEST[order], reverse=True)
    return FoundTasks(records[:limit], "log", log.start().seq, at.seq, len(records))


def list_tasks(
    node: Node,
    states: frozenset[TaskState],
    wanted: TaskFilter,
    *,
    limit: int | None,
    path: str | None = None,
) -> TaskList:
    """Open tasks as they are now, in dispatch order, and behind them final ones, newest first."""
    with node.reading() as projection:
        now, seq = node.now(), projection.seq
        found = open_tasks(projection, states=states, wanted=wanted, limit=limit, now=now)
        ends = projection.final_counts()
    left = None if limit is None else limit - len(found)
    count = sum(ends[state] for state in states & FINAL)
    # Not inside: it takes its time, in which a run must renew its leases.
    if count and left and left <= LOOKUPS:
        known = final_of_catalog(node.log, states, wanted, Point(seq, now), left, path=path)
        if known is not None:
            return TaskList(found + known, source="catalog")
    ended = final_tasks(
        node.log, states=states, wanted=wanted, limit=left, now=now, until=seq, count=count
    )
    return TaskList(found + ended)


def final_of_catalog(
    log: EventLog,
    states: frozenset[TaskState],
    wanted: TaskFilter,
    at: Point,
    limit: int,
    *,
    path: str | None = None,
) -> list[Task] | None:
    """Final tasks in these states that are looked for, newest first; None without a catalog.

    The catalog says which they are, and the log how they look.
    """
    selector = Selector(
        states=tuple(sorted(map(str, states & FINAL))),
        names=() if wanted.name is None else (wanted.name,),
        lanes=() if wanted.lane is None else (wanted.lane,),
        schedule=wanted.schedule,
        tags=dict(wanted.tags or {}),
    )

    def ask(catalog: Catalog) -> list[Task]:
        found: list[Task] = []
        after: int | None = None
        while len(found) < limit:
            page = catalog.find(selector, at, order="-last", limit=PAGE, after=after)
            tasks = (task_of(log, record.number, until=at.seq) for record in page)
            found += wanted.chosen(task for task in tasks if task is not None)
            if len(page) < PAGE:
                break
            after = page[-1].last_seq
        return [task.as_of(at.at) for task in found[:limit]]

    return by_catalog(log, at, ask, path=path)


def by_catalog(
    log: EventLog, at: Point, ask: Callable[[Catalog], T], *, path: str | None = None
) -> T | None:
    """The answer of the log's catalog, if that can answer for a point; else None.

    It is at ``path``, or else where catalogs usually are. Costs a look at a file where there is
    none.
    """
    catalog = _ready(log, at, path)
    if catalog is None:
        return None
    try:
        return ask(catalog)
    except CatalogError as error:
        logger.warning("a catalog cannot be used", extra={"error": str(error)})
        return None
    finally:
        catalog.close()


def _meant_by_pass(
    log: EventLog, selector: Selector, states: frozenset[TaskState], point: Point
) -> MeantTasks:
    pairs: list[tuple[int, int]] = []
    sample: list[TaskRecord] = []
    left_out = 0
    for record in pass_over(log, selector, point):
        if record.state not in states:
            left_out += 1
            continue
        pairs.append((record.number, record.last_seq))
        if len(sample) < SAMPLE:
            sample.append(record)
    return MeantTasks(pairs, sample, left_out, "log")


def _meant_by_catalog(
    catalog: Catalog, selector: Selector, states: frozenset[TaskState], point: Point
) -> MeantTasks:
    wanted = [s for s in TaskState if s in states and _is_meant(selector, s)]
    if not wanted:
        return MeantTasks([], [], catalog.count(selector, point), "catalog")
    narrowed = replace(selector, states=tuple(map(str, wanted)))
    pairs = catalog.numbers(narrowed, point)
    sample = catalog.find(narrowed, point, limit=SAMPLE)
    left_out = catalog.count(selector, point) - len(pairs)
    return MeantTasks(pairs, sample, left_out, "catalog")


def _ready(log: EventLog, at: Point, path: str | None) -> Catalog | None:
    """The log's catalog, caught up where that takes but a moment; None unless it can answer.

    One that is no use is made anew where that takes but a moment, too; else it is dropped, since
    what it holds may be what the log is rid of. One that is named by ``path`` is left alone: it may
    be another log's.
    """
    path = check_path(path)
    try:
        found = catalog_path(log, path)
        if not Path(found).exists():
            return None
        # Imported here: a program without a catalog needs no SQLite.
        from eventq.catalog.catalog import Catalog  # noqa: PLC0415

        catalog = Catalog.open(log, found)
        with _closed_on_error(catalog):
            if not catalog.is_there and path is not None:
                said = {"path": path, "reason": catalog.rebuilt}
                logger.warning("a catalog is not used: build it anew", extra=said)
                return None
            if not catalog.is_there or catalog.seq < at.seq:
                begin = catalog.seq if catalog.is_there else log.start().seq
                if log.head().seq - begin <= SOON_EVENTS:
                    catalog.catch_up(waits=False)
                elif not catalog.is_there:
                    catalog.drop_useless()
            if catalog.is_there and catalog.begins <= at.seq <= catalog.seq:
                return catalog
        catalog.close()
    except ArgumentError:
        # A log in memory has none.
        return None
    except (CatalogError, LogError) as error:
        logger.warning("a catalog cannot be used", extra={"error": str(error)})
    return None


@contextmanager
def _closed_on_error(catalog: Catalog) -> Iterator[None]:
    """Closes the catalog where the block fails."""
    try:
        yield
    except BaseException:
        with suppress(CatalogError):
            catalog.close()
        raise


def _is_meant(selector: Selector, state: TaskState) -> bool:
    return not selector.states or str(state) in selector.states


_NEWEST: dict[Order, Callable[[TaskRecord], int]] = {
    "-number": lambda record: record.number,
    "-last": lambda record: record.last_seq,
}
