"""What the tests under Django share: a site whose data are in a folder, and a log for each test."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import django
import pytest
from django.db import connections
from django.test import override_settings

FOLDER = tempfile.mkdtemp(prefix="eventq-site-")
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
os.environ["SHOP_FOLDER"] = FOLDER
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib.django.site.settings"
django.setup()

from django.core.management import call_command  # noqa: E402 - Django is set up first

from eventq.contrib.django import Backend  # noqa: E402 - as above
from eventq.contrib.django.framework import task_backends  # noqa: E402 - as above
from eventq.contrib.django.models import OutboxRecord  # noqa: E402 - as above
from eventq.contrib.django.queues import close_queues  # noqa: E402 - as above
from eventq.runner.runner import RunReport  # noqa: E402 - as above
from eventq.verify import verify  # noqa: E402 - as above
from tests.contrib.django.site import settings as site  # noqa: E402 - as above
from tests.contrib.django.site.shop.models import Done, Order  # noqa: E402 - as above

# Under the site's own settings, before a test changes them.
import_module("tests.contrib.django.site.urls")

Work = Callable[[], RunReport]


@pytest.fixture(scope="session")
def tables() -> None:
    """The site's tables, in both of its databases."""
    for alias in ("default", "other"):
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)


@pytest.fixture
def tasks_setting(tmp_path: Path) -> dict[str, Any]:
    """The setting TASKS, with logs of the test's own."""
    url = f"sqlite:///{tmp_path}/tasks.db"
    known: dict[str, dict[str, Any]] = site.TASKS
    return {
        alias: {**given, "OPTIONS": {**given["OPTIONS"], "url": url}}
        for alias, given in known.items()
    }


@pytest.fixture
def backend(tables: None, tasks_setting: dict[str, Any]) -> Iterator[Backend]:
    """The default backend, on a log of the test's own, which is verified at the end."""
    del tables
    with override_settings(TASKS=tasks_setting):
        found = task_backends["default"]
        assert isinstance(found, Backend)
        yield found
        assert verify(found.queue.log).ok
    close_queues()
    for model in (OutboxRecord, Order, Done):
        model.objects.all().delete()
    connections.close_all()


@pytest.fixture
def work(backend: Backend) -> Work:
    """Relays and runs all that there is to do."""
    return lambda: backend.queue.run(until="idle", signals=False)
