"""What `TASKS` says of one backend: which options there are, and which are the queue's own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from os import PathLike
from types import NoneType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from eventq.contrib.django.framework import task_backends
from eventq.handlers.collection import Handlers
from eventq.queue import DEFAULT_URL

# Those of `Queue`, by the same names.
OF_PLACE = ("url", "namespace", "archive", "workers")
OF_QUEUE = (
    *OF_PLACE,
    *("max_age", "max_retries", "max_lapses", "backoff", "deadline"),
)
OWN = ("outbox", "handlers", "signals", "console")
# By which the processes of a run are told their backend.
BACKEND_ENV = "EVENTQ_DJANGO_BACKEND"
KNOWN = frozenset({*OF_QUEUE, *OWN})
# What those are that nothing else looks at before they are used.
KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "archive": ((str, PathLike, NoneType), "the path of a folder"),
    "console": (Mapping, "a dict of options of eventq.web.app"),
    "handlers": ((list, tuple), "a list of paths of eventq.Handlers"),
    "outbox": ((str, NoneType), "the alias of a database"),
    "signals": (bool, "True or False"),
}


class BackendSettings:
    """The ``OPTIONS`` of a backend. Wrong ones are told by `manage.py check`, not here."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.given = dict(options)
        self.unknown = sorted(set(options) - KNOWN)
        problems = {name: _problem(name, value) for name, value in options.items()}
        self.wrong = [each for each in problems.values() if each is not None]
        """What is wrong with options whose values are of another kind."""
        right = {name: value for name, value in options.items() if problems[name] is None}
        self.outbox: str | None = right.get("outbox")
        """The alias of the database in which tasks are made inside `atomic()`."""
        self.handlers: tuple[str, ...] = tuple(right.get("handlers", ()))
        """Paths of `eventq.Handlers` whose tasks run beside Django's."""
        self.signals: bool = right.get("signals", True)
        """Whether ends are told by `task_finished`, which takes a follower."""
        self.console: dict[str, Any] = dict(right.get("console", {}))
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
        """What `Queue` is given. Raises ImproperlyConfigured for an option that there is not.

        Or that is of another kind.
        """
        if self.unknown:
            raise ImproperlyConfigured(f"TASKS: eventq has no option {', '.join(self.unknown)}")
        if self.wrong:
            raise ImproperlyConfigured(f"TASKS: {'; '.join(self.wrong)}")
        found = {name: self.given[name] for name in OF_QUEUE if name in self.given}
        if is_test_run():
            # A task of a test's is none of the site's: its databases are others, too.
            found = {n: v for n, v in found.items() if n not in OF_PLACE} | {"url": "memory://"}
        return found


def is_test_run() -> bool:
    """Whether Django's runner of tests, or pytest's, has set up its environment in this process."""
    utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(utils, "_TestState", None), "saved_data")


def _problem(name: str, value: object) -> str | None:
    """What is wrong with an option; None where nothing is, or others look."""
    kind, expected = KINDS.get(name, (object, ""))
    return None if isinstance(value, kind) else f"{name}: expected {expected}, got {value!r}"


def backend_at(alias: str) -> Any:  # noqa: ANN401 - a Backend, whose module would lead back here
    """The backend of this alias; None where there is none, or it is not eventq's."""
    found: Any = task_backends[alias] if alias in list(task_backends) else None
    return found if isinstance(getattr(found, "settings", None), BackendSettings) else None


def own_aliases() -> list[str]:
    """The aliases of eventq's backends."""
    return [alias for alias in task_backends if backend_at(alias) is not None]
