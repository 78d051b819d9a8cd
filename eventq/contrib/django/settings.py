"""What `TASKS` says of one backend: which options there are, and which are the queue's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

# Those of `Queue`, by the same names.
OF_QUEUE = (
    *("url", "namespace", "archive", "workers"),
    *("max_age", "max_retries", "max_lapses", "backoff", "deadline"),
)
OWN = ("outbox", "handlers", "signals")
# By which the processes of a run are told their backend.
BACKEND_ENV = "EVENTQ_DJANGO_BACKEND"
KNOWN = frozenset({*OF_QUEUE, *OWN})


class BackendSettings:
    """The ``OPTIONS`` of a backend. Wrong ones are told by `manage.py check`, not here."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.given = dict(options)
        self.unknown = sorted(set(options) - KNOWN)
        self.outbox: str | None = options.get("outbox")
        """The alias of the database in which tasks are made inside `atomic()`."""
        self.handlers: tuple[str, ...] = tuple(options.get("handlers", ()))
        """Paths of `eventq.Handlers` whose tasks run beside Django's."""
        self.signals: bool = bool(options.get("signals", True))
        """Whether ends are told by `task_finished`, which takes a follower."""

    @property
    def of_queue(self) -> dict[str, Any]:
        """What `Queue` is given. Raises ImproperlyConfigured for an option that there is not."""
        if self.unknown:
            raise ImproperlyConfigured(f"TASKS: eventq has no option {', '.join(self.unknown)}")
        return {name: self.given[name] for name in OF_QUEUE if name in self.given}
