"""What `TASKS` says of one backend: which options there are, and which are the queue's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from eventq.contrib.django.framework import task_backends
from eventq.handlers.collection import Handlers
from eventq.queue import DEFAULT_URL

# Those of `Queue`, by the same names.
OF_QUEUE = (
    *("url", "namespace", "archive", "workers"),
    *("max_age", "max_retries", "max_lapses", "backoff", "deadline"),
)
OWN = ("outbox", "handlers", "signals", "console")
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
        self.console: dict[str, Any] = dict(options.get("console", {}))
        """Options of `eventq.web.app`, such as ``redact``."""

    @property
    def place(self) -> tuple[Any, Any]:
        """The log, and the queue in it."""
        return self.given.get("url", DEFAULT_URL), self.given.get("namespace", "default")

    def collections(self) -> list[Handlers]:
        """The handlers at these paths. Raises ImportError."""
        return [import_string(path) for path in self.handlers]

    @property
    def of_queue(self) -> dict[str, Any]:
        """What `Queue` is given. Raises ImproperlyConfigured for an option that there is not."""
        if self.unknown:
            raise ImproperlyConfigured(f"TASKS: eventq has no option {', '.join(self.unknown)}")
        return {name: self.given[name] for name in OF_QUEUE if name in self.given}


def backend_at(alias: str) -> Any:  # noqa: ANN401 - a Backend, whose module would lead back here
    """The backend of this alias; None where there is none, or it is not eventq's."""
    found: Any = task_backends[alias] if alias in list(task_backends) else None
    return found if isinstance(getattr(found, "settings", None), BackendSettings) else None


def own_aliases() -> list[str]:
    """The aliases of eventq's backends."""
    return [alias for alias in task_backends if backend_at(alias) is not None]
