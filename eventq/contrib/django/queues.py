"""The queues that this process has open for its settings: one for each backend, for all threads.

Django makes a backend for each thread; they share what is here. Nothing is opened before it is
asked for.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from django.core.signals import setting_changed
from msgspec import Struct

from eventq.contrib.django.running import TaskHandlers
from eventq.contrib.outbox import Outbox
from eventq.errors import EventqError
from eventq.handlers.around import Call
from eventq.handlers.handler import Handler
from eventq.queue import Queue
from eventq.runner.relays import Relayed
from eventq.runner.workload import Workload

if TYPE_CHECKING:
    from eventq.runner.runner import RunReport


class Closing(Protocol):
    """What is closed with a queue."""

    def close(self) -> None:
        """Ends it; may come twice."""


class DjangoQueue(Queue):
    """A backend's queue: each run finds all tasks first, and relays the outbox."""

    of_django: TaskHandlers
    outbox: Outbox | None = None
    console: Closing | None = None
    """What shows it in this process's views, once one was asked for."""

    def run(
        self,
        worker: Call | None = None,
        *,
        outboxes: Iterable[Relayed] = (),
        **options: Any,  # noqa: ANN401 - those of Queue
    ) -> RunReport:
        """See `Queue.run`."""
        own = [] if self.outbox is None else [self.outbox]
        return super().run(worker, outboxes=[*own, *outboxes], **options)

    @property
    def handlers(self) -> list[Handler[..., Any, Any]]:
        """See `Queue.handlers`."""
        self.of_django.load()
        return super().handlers

    def undefined_limits(self) -> set[str]:
        """Limits that tasks name, and neither code nor the log defines. Raises LogError."""
        self.of_django.load()
        named = self.of_django.named_limits() - self._registry.rules().limits.keys()
        with self._node.reading() as projection:
            known = projection.governing.limits
            return {name for name in named if known.said(name) is None}

    def close(self) -> None:
        """See `Queue.close`; what was opened beside it ends first."""
        for each in (self.outbox, self.console):
            if each is not None:
                each.close()
        super().close()

    def _workload(self, *args: Any) -> Workload:  # noqa: ANN401 - those of Queue
        self.of_django.load()
        return super()._workload(*args)


class OpenQueue(Struct, frozen=True):
    """A backend's queue, the handlers of its tasks, and its outbox if it has one."""

    queue: Queue
    handlers: TaskHandlers
    outbox: Outbox | None

    def close(self) -> None:
        """Ends a run that goes on, and what was opened."""
        # The second forces: what still runs is given back, to be run by others.
        self.queue.stop()
        self.queue.stop()
        # A worker of its own that asks for this is not waited for.
        with suppress(EventqError):
            self.queue.close()


_open: dict[str, OpenQueue] = {}
_guard = threading.RLock()


def open_queue(alias: str, make: Callable[[], OpenQueue]) -> OpenQueue:
    """The queue of a backend, which is made where there is none yet."""
    found = _open.get(alias)
    if found is None:
        with _guard:
            found = _open.get(alias)
            if found is None:
                _open[alias] = found = make()
    return found


def stand_in(alias: str, other: OpenQueue | None) -> OpenQueue | None:
    """Has another queue be a backend's, as tests want it; returns what was it before."""
    with _guard:
        before = _open.pop(alias, None)
        if other is not None:
            _open[alias] = other
        return before


def close_queues() -> None:
    """Closes all that is open; what is asked for afterwards is opened anew."""
    with _guard:
        found = list(_open.values())
        _open.clear()
    for each in found:
        each.close()


def _on_setting_changed(*, setting: str, **_: object) -> None:
    if setting == "TASKS":
        close_queues()


setting_changed.connect(_on_setting_changed, dispatch_uid="eventq")
atexit.register(close_queues)
