"""System checks: settings that contradict each other are told, each with its cure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import override_settings

from eventq.contrib.django import Backend, options
from eventq.contrib.django.framework import InvalidTaskError, task_backends
from eventq.contrib.django.options import MARK
from eventq.errors import ArgumentError
from tests.contrib.django.site.shop.tasks import add

BACKEND = "eventq.contrib.django.Backend"


def told(options: dict[str, Any], **more: Any) -> list[str]:  # noqa: ANN401 - of TASKS
    """The ids of what the checks say of a backend with these options."""
    tasks = {"default": {"BACKEND": BACKEND, "OPTIONS": options, **more}}
    with override_settings(TASKS=tasks):
        found = run_checks(tags=None)
    assert all(each.obj == "TASKS['default']" for each in found if (each.id or "")[:7] == "eventq.")
    return sorted(each.id for each in found if each.id and each.id.startswith("eventq."))


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"outbox": "default"}, []),
        ({}, ["eventq.W001"]),
        ({"outbox": "default", "url": "memory://"}, ["eventq.W002"]),
        ({"outbox": "default", "urll": "x", "retries": 3}, ["eventq.E001"]),
        ({"outbox": "default", "max_retries": "many"}, ["eventq.E002"]),
        ({"outbox": "default", "workers": 0, "namespace": "no/slash"}, ["eventq.E002"] * 2),
        ({"outbox": "default", "url": "postgresql://shop@localhost/shop"}, ["eventq.E003"]),
        ({"outbox": "default", "url": "sqlite:///"}, ["eventq.E003"]),
        ({"outbox": "default", "url": "sqlite:////nowhere/tasks.db"}, ["eventq.E013"]),
        ({"outbox": "default", "handlers": "shop.x"}, ["eventq.E002"]),
        ({"outbox": "default", "console": ["a"]}, ["eventq.E002"]),
        ({"outbox": "default", "archive": 5}, ["eventq.E002"]),
        ({"outbox": "default", "signals": "no"}, ["eventq.E002"]),
        ({"outbox": ["default"]}, ["eventq.E002", "eventq.W001"]),
        ({"outbox": "missing"}, ["eventq.E006"]),
        ({"outbox": "default", "handlers": ["shop.missing"]}, ["eventq.E010"]),
        ({"outbox": "default", "handlers": [f"{__name__}.told"]}, ["eventq.E010"]),
    ],
    ids=str,
)
def test_options_are_checked(options: dict[str, Any], expected: list[str]) -> None:
    """What is wrong has a number of its own; what is right says nothing."""
    assert told(options) == expected


def test_the_log_has_a_file_of_its_own() -> None:
    """One file under two SQLite libraries would lose its locks."""
    name = settings.DATABASES["default"]["NAME"]

    assert told({"outbox": "default", "url": f"sqlite:///{name}"}) == ["eventq.E004"]


def test_two_backends_have_two_queues() -> None:
    """The same log twice would have each task twice in a list, and two followers of one name."""
    given = {"BACKEND": BACKEND, "OPTIONS": {"outbox": "default", "url": "sqlite:///some.db"}}
    same = {"BACKEND": BACKEND, "OPTIONS": {"outbox": "default", "url": "sqlite:///./some.db"}}
    with override_settings(TASKS={"default": given, "same": same}):
        found = [each.id for each in run_checks() if (each.id or "").startswith("eventq.")]

    assert found == ["eventq.E005"]


def test_an_outbox_stands_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL and Oracle are not named; the application brings the table."""
    apps = [each for each in settings.INSTALLED_APPS if "eventq" not in each]
    with override_settings(INSTALLED_APPS=apps, ROOT_URLCONF=__name__):
        assert told({"outbox": "default"}) == ["eventq.E008"]
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.mysql")
    assert told({"outbox": "default"}) == ["eventq.E007"]


def test_transactions_that_nobody_ends_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without autocommit one goes on outside of `atomic()`, in which no row would be written."""
    monkeypatch.setitem(settings.DATABASES["default"], "AUTOCOMMIT", False)  # noqa: FBT003 - no call of ours

    assert told({"outbox": "default"}) == ["eventq.E012"]


def test_names_of_queues_are_lanes() -> None:
    """What no lane may be called is told before it is used."""
    assert told({"outbox": "default"}, QUEUES=["default", "with space"]) == ["eventq.E009"]


def test_a_missing_table_is_told(backend: Backend) -> None:
    """`check --database default` looks; the hint is the command that makes it."""
    assert [each for each in run_checks(databases=["default"]) if each.id == "eventq.E011"] == []
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE eventq_outbox RENAME TO away")
    try:
        [found] = [each for each in run_checks(databases=["default"]) if each.id == "eventq.E011"]
    finally:
        with connection.schema_editor() as editor:
            editor.execute("ALTER TABLE away RENAME TO eventq_outbox")

    assert found.hint == "manage.py migrate --database default eventq zero, then without zero."
    assert backend.alias == "default"


def test_a_limit_that_is_not_defined_is_told(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check --database default` looks into the log, too; once it is set the check is silent."""
    monkeypatch.setattr(add.func, MARK, {"limits": ["smtp"]}, raising=False)

    def warned() -> list[str | None]:
        found = run_checks(databases=["default"])
        return [each.hint for each in found if each.id == "eventq.W003"]

    assert warned() == [
        "manage.py eventq --backend default limit set smtp --running 1, or in code."
    ]
    backend.queue.set_limit("smtp", running=2)
    assert warned() == []


def test_an_unknown_option_opens_nothing() -> None:
    """Where the checks were passed over, the first use of the queue says the same."""
    given = {"BACKEND": BACKEND, "OPTIONS": {"retries": 3}}
    with override_settings(TASKS={"default": given}):
        found: Any = task_backends["default"]
        with pytest.raises(ImproperlyConfigured, match="no option retries"):
            _ = found.queue
    given = {"BACKEND": BACKEND, "OPTIONS": {"handlers": "shop.jobs.handlers"}}
    with override_settings(TASKS={"default": given}):
        found = task_backends["default"]
        with pytest.raises(ImproperlyConfigured, match="a list of paths"):
            _ = found.queue


def test_options_of_one_task_are_not_those_of_a_function() -> None:
    """A key at a function would make all of its tasks one."""
    with pytest.raises(ArgumentError, match="key"):
        options(key="always")
    with pytest.raises(ArgumentError, match="retires"):
        options(retires=3)  # type: ignore[call-arg]


def test_a_task_runs_after_an_instant(backend: Backend) -> None:
    """A length of time is none, and is told as any wrong option is."""
    assert backend.alias == "default"
    with pytest.raises(InvalidTaskError, match="run_after: expected an instant"):
        add.using(run_after=timedelta(hours=1))  # type: ignore[arg-type]


urlpatterns: list[Any] = []
