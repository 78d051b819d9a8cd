"""A view of a queue that moves on event by event; nothing here appends, and no clock is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from eventq.audit.lookup import read_history
from eventq.core.commits import Event
from eventq.core.moves import fold_events
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import steps
from eventq.replay.query import queue_counts


class View:
    """A projection that moves on event by event, with the tasks that a condition names.

    It holds as of `at`: the instant the projection was asked about last, or its last event's.
    Projections forget final tasks; those named here are kept, so that their end can be seen.
    """

    def __init__(self, log: EventLog, projection: Projection, *, keys: Iterable[str] = ()) -> None:
        """``keys``: the tasks to keep, by callers' keys or numbers as text.

        Raises TaskNotFoundError for a key that no task of the log has, not even later, and
        ArgumentError for one that none can have.
        """
        self.projection = projection
        self.bases: dict[Callable[[View], object], object] = {}
        """What parts of a condition said where the view began; see `Expression.begin`."""
        self._log = log
        self._numbers: dict[str, int] = {}
        self._kept: dict[int, Task | None] = {}
        for key in keys:
            history = read_history(log, key)
            number = self._numbers[key] = history[0].task
            self._kept[number] = fold_events(log.namespace, history, until=projection.seq)

    @property
    def seq(self) -> int:
        """Position of the last event."""
        return self.projection.seq

    @property
    def at(self) -> int:
        """The instant of the view, in microseconds since 1970."""
        return self.projection.advanced_to

    def steps(self, *, until: int | None = None) -> Iterator[Event]:
        """Folds what the log holds beyond the view, each event when it is asked for.

        ``until`` is the last position. Raises LogCorruptError where a seal, an order or a move
        is wrong.
        """
        for event, task in steps(self.projection, self._log, until=until):
            self.keep(event, task)
            yield event

    def keep(self, event: Event, task: Task | None) -> None:
        """Takes note of an event that the projection has folded, and of its task after it."""
        if task is not None and event.task in self._kept:
            self._kept[event.task] = task

    def condition(
        self, holds: Callable[[View], bool]
    ) -> Callable[[Projection, Event, Task | None], bool]:
        """Asks of the view what holds, for a cursor that runs forward from its projection."""

        def now_holds(projection: Projection, event: Event, task: Task | None) -> bool:
            self.projection = projection
            self.keep(event, task)
            return holds(self)

        return now_holds

    def task(self, key: str) -> Task | None:
        """A task that was named, open or final; None before it is created."""
        return self._kept[self._numbers[key]]

    def counts(self) -> dict[str, int]:
        """The numbers at this position and instant, by name; see `queue_counts`."""
        return queue_counts(self.projection, now=self.at)
