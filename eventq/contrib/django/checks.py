"""System checks: settings that contradict each other, or would lose tasks, each with its cure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - as Django calls them
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.utils.module_loading import import_string

from eventq.contrib.django.settings import KNOWN, BackendSettings, backend_at, own_aliases
from eventq.core.options import make_policy
from eventq.core.validation import check_count, check_name, check_namespace
from eventq.errors import ArgumentError, EventqError, OutboxError
from eventq.eventlog.open import EXPECTED, file_of
from eventq.handlers.collection import Handlers

APP = "eventq.contrib.django"
LABEL = "eventq"
SCHEMES = ("sqlite:///", "mongodb://", "mongodb+srv://", "memory://")
ENGINES = ("postgresql", "postgis", "sqlite3", "spatialite")
OF_POLICY = ("max_age", "max_retries", "max_lapses", "backoff", "deadline")


def check_settings(alias: str, queues: Iterable[str], given: BackendSettings) -> list[CheckMessage]:
    """All that is wrong with one backend's settings."""
    found = [*_values(given), *_places(alias, given), *_outbox(given), *_names(queues, given)]
    for each in found:
        each.obj = f"TASKS[{alias!r}]"
    return found


def check_tables(*, databases: Sequence[str] | None = None, **_: object) -> list[CheckMessage]:
    """Whether each outbox has its table, where the databases are looked at (`check --database`).

    Before the first `migrate` nothing is missing: that looks here, too, and Django itself says what
    has not been migrated.
    """
    found: list[CheckMessage] = []
    for alias in own_aliases():
        backend = backend_at(alias)
        wanted: BackendSettings = backend.settings
        database = wanted.outbox
        if database is None or database not in (databases or ()) or not _is_migrated(database):
            continue
        try:
            backend.outbox.check()
        except OutboxError as error:
            hint = f"manage.py migrate --database {database} eventq zero, then without zero."
            where = f"TASKS[{alias!r}]"
            found.append(Error(f"{error}.", hint=hint, obj=where, id="eventq.E011"))
    return found


def check_limits(*, databases: Sequence[str] | None = None, **_: object) -> list[CheckMessage]:
    """Whether each limit that tasks name is defined, where databases are looked at: it opens logs.

    Tasks of one that is not are made, and wait.
    """
    found: list[CheckMessage] = []
    for alias in own_aliases() if databases else ():
        try:
            missing = backend_at(alias).queue.undefined_limits()
        except EventqError as error:
            problem = f"The log cannot be read: {error}."
            found.append(Warning(problem, obj=f"TASKS[{alias!r}]", id="eventq.W004"))
            continue
        for name in sorted(missing):
            hint = f"manage.py eventq --backend {alias} limit set {name} --running 1, or in code."
            problem = f"No limit {name} is defined: the tasks that name it wait."
            found.append(Warning(problem, hint=hint, obj=f"TASKS[{alias!r}]", id="eventq.W003"))
    return found


def _is_migrated(database: str) -> bool:
    applied = MigrationRecorder(connections[database]).applied_migrations()
    return any(app == LABEL for app, _ in applied)


def _values(given: BackendSettings) -> Iterator[CheckMessage]:
    """Options that are none, or have no such value."""
    if given.unknown:
        hint = f"The options are {', '.join(sorted(KNOWN))}."
        yield Error(f"There is no option {', '.join(given.unknown)}.", hint=hint, id="eventq.E001")
    for problem in given.wrong:
        yield Error(f"{problem}.", id="eventq.E002")
    options = given.given
    tests = (
        lambda: make_policy(**{name: options[name] for name in OF_POLICY if name in options}),
        lambda: check_namespace(options.get("namespace", "default")),
        lambda: check_count(options.get("workers", 1), "workers", least=1, most=10_000),
    )
    for test in tests:
        try:
            test()
        except ArgumentError as error:
            yield Error(f"{error}.", id="eventq.E002")


def _places(alias: str, given: BackendSettings) -> Iterator[CheckMessage]:
    """Where the log is."""
    url, _ = given.place
    if not isinstance(url, str) or not url.startswith(SCHEMES):
        yield Error("The url is none of a log's.", hint=f"Give {EXPECTED}.", id="eventq.E003")
        return
    if url.startswith("memory://"):
        hint = "Give the url of a SQLite file or of MongoDB, save in tests."
        yield Warning("No other process sees tasks in memory.", hint=hint, id="eventq.W002")
    try:
        path = file_of(url)
    except ArgumentError as error:
        yield Error(f"{error}.", id="eventq.E003")
        return
    if path is not None and not Path(path).parent.is_dir():
        yield Error(
            f"The folder of the log is not there: {path}.",
            hint="Make it, for the user that the site runs as: the log's file is made in it.",
            id="eventq.E013",
        )
    for database, options in settings.DATABASES.items():
        name = options.get("NAME")
        is_file = str(options.get("ENGINE")).rpartition(".")[2] in {"sqlite3", "spatialite"}
        if path is not None and is_file and os.path.realpath(path) == os.path.realpath(str(name)):
            yield Error(
                f"The log is in the file of the database {database!r}.",
                hint="Two SQLite libraries in one process break a file's locks: give it another.",
                id="eventq.E004",
            )
    for other in own_aliases():
        if other < alias and _log_of(backend_at(other).settings) == _log_of(given):
            hint = "Give each backend a namespace of its own."
            yield Error(f"TASKS[{other!r}] has the same log.", hint=hint, id="eventq.E005")


def _log_of(given: BackendSettings) -> tuple[object, object]:
    """Which log it is, and which queue in it, however its file is written."""
    url, namespace = given.place
    try:
        path = file_of(url) if isinstance(url, str) else None
    except ArgumentError:
        path = None
    return url if path is None else os.path.realpath(path), namespace


def _outbox(given: BackendSettings) -> Iterator[CheckMessage]:
    """Whether tasks are lost, or made in vain, where a transaction is rolled back."""
    database = given.outbox
    if database is None:
        if any(_engine(each) in ENGINES for each in settings.DATABASES):
            yield Warning(
                "A task made inside atomic() is made even if that is rolled back.",
                hint="Set OPTIONS['outbox'] to the alias of the database, such as 'default'.",
                id="eventq.W001",
            )
        return
    if database not in settings.DATABASES:
        hint = f"DATABASES has {', '.join(settings.DATABASES)}."
        yield Error(f"The outbox is in no database: {database!r}.", hint=hint, id="eventq.E006")
        return
    if _engine(database) not in ENGINES:
        hint = "An outbox stands in PostgreSQL or SQLite; leave the option out for others."
        problem = f"The outbox's database is of {settings.DATABASES[database]['ENGINE']}."
        yield Error(problem, hint=hint, id="eventq.E007")
    if not settings.DATABASES[database].get("AUTOCOMMIT", True):
        hint = "Leave AUTOCOMMIT out: outside of atomic() nothing says when a transaction ends."
        problem = "The outbox's database is without autocommit: a task may be made in vain."
        yield Error(problem, hint=hint, id="eventq.E012")
    if not apps.is_installed(APP):
        hint = f"Add {APP!r} to INSTALLED_APPS, and run manage.py migrate."
        yield Error("The outbox has no table without its application.", hint=hint, id="eventq.E008")


def _names(queues: Iterable[str], given: BackendSettings) -> Iterator[CheckMessage]:
    """Names of queues that are no lanes, and of handlers that are none."""
    for name in sorted(queues):
        try:
            check_name(name, "QUEUES")
        except ArgumentError as error:
            yield Error(f"{error}.", id="eventq.E009")
    for path in given.handlers:
        try:
            is_right = isinstance(import_string(path), Handlers)
        except ImportError:
            is_right = False
        if not is_right:
            hint = "Give the path of an eventq.Handlers, like 'shop.jobs.handlers'."
            yield Error(f"{path!r} is no collection of handlers.", hint=hint, id="eventq.E010")


def _engine(database: str) -> str:
    engine: str = settings.DATABASES[database].get("ENGINE", "")
    return engine.rpartition(".")[2]
