"""Moments and sights: which instant of the queue a page is of, and what it may look at then.

A page is a function of a sight; it never asks whether that is now or long ago.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.eventlog.contract import EventLog
from eventq.node.node import Node
from eventq.replay.points import Point
from eventq.web.kept_catalog import IN_MEMORY, CatalogLackingError, KeptCatalog

if TYPE_CHECKING:
    from eventq.catalog.catalog import Catalog

T = TypeVar("T")

MOST_KEPT = 10_000


def command_of(log: EventLog, *words: str) -> list[str]:
    """A command about a log: what comes behind it follows."""
    place = ["--url", log.url]
    if log.namespace != "default":
        place += ["--namespace", log.namespace]
    return ["eventq", *words, *place]


class Live(Struct, frozen=True):
    """The present."""


class At(Struct, frozen=True):
    """A position of the log: everything up to it has happened, and nothing else."""

    seq: int


When = Live | At
LIVE = Live()


class Memory:
    """What was found out of the past and does not change, for the one thread that asks."""

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for the key before, or is now."""
        if key not in self._found:
            if len(self._found) >= MOST_KEPT:
                self._found.clear()
            self._found[key] = make()
        found: T = self._found[key]
        return found


class Sight:
    """The queue at one moment. ``seen`` gives the projection, not to be kept or changed.

    ``seq`` and ``at`` (microseconds) are those of the last look.
    """

    def __init__(
        self,
        log: EventLog,
        look: Callable[[], AbstractContextManager[tuple[Projection, int]]],
        *,
        point: Point | None = None,
        memory: Memory | None = None,
        catalog: KeptCatalog | None = None,
    ) -> None:
        """``point`` is where a sight of the past is; without one, it is live."""
        self.log = log
        self.memory = Memory() if memory is None else memory
        self._catalog = catalog
        self.is_live = point is None
        self._look = look
        if point is not None:
            self.seq, self.at = point.seq, point.at
            return
        with self.seen():
            pass

    @contextmanager
    def seen(self) -> Iterator[Projection]:
        """The projection while the block lasts: it holds up whoever else needs it."""
        with self._look() as (projection, now):
            self.seq, self.at = projection.seq, now
            yield projection

    @property
    def point(self) -> Point:
        """The moment of the last look as a point of the log."""
        return Point(self.seq, self.at)

    def asked(self, question: Callable[[Catalog, Point], T]) -> T:
        """What the catalog says of this moment. Raises CatalogLackingError, SlowQuestionError."""
        if self._catalog is None:
            raise CatalogLackingError(IN_MEMORY)
        return self._catalog.ask(self.point, question)

    def tasks(self) -> dict[int, Task]:
        """The open tasks: a copy, which may be gone through at leisure."""
        with self.seen() as projection:
            return dict(projection.tasks)


def live_sight(node: Node, log: EventLog, catalog: KeptCatalog | None = None) -> Sight:
    """The present, by the projection that the queue has anyway."""

    @contextmanager
    def look() -> Iterator[tuple[Projection, int]]:
        with node.reading() as projection:
            now = node.now()
            projection.advance_to(now)
            yield projection, now

    return Sight(log, look, catalog=catalog)
