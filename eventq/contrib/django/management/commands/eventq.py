"""``manage.py eventq COMMAND``: the `eventq` command, on the queue of a backend.

The command is begun as a program is, in this process, with Django set up.
"""

from __future__ import annotations

import os
import runpy
import sys
from argparse import REMAINDER
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.autoreload import run_with_reloader

from eventq.contrib.django.framework import task_backends
from eventq.contrib.django.settings import BACKEND_ENV, BackendSettings
from eventq.queue import DEFAULT_URL, Queue

WORKER = "eventq.contrib.django.worker:queue"
# Commands that look at a module of the application's, which is ours here.
OF_QUEUES = {"handlers", "rerun", "run"}
RELOAD = "--autoreload"
ONLY = "takes no other options beside --lane and --name"


class Command(BaseCommand):
    """Hands all behind the command's name to `eventq`."""

    help = (
        "Runs eventq's command on the queue of a backend: run, console, schedules, ls, why ... "
        "`run` finds the tasks of all applications by itself, and takes --autoreload in addition."
    )
    # The command may be wanted to find out what is wrong.
    requires_system_checks: list[str] = []  # noqa: RUF012 - as Django has it

    def add_arguments(self, parser: CommandParser) -> None:
        """``--backend`` before, all else behind the name of a command of eventq's."""
        parser.add_argument("--backend", default="default", help="Its alias in TASKS.")
        parser.add_argument("words", nargs=REMAINDER, metavar="COMMAND ...")

    def handle(self, *_: object, backend: str, words: list[str], **__: object) -> None:
        """Begins it. Raises CommandError for an alias that is none of eventq's."""
        given = _settings_of(backend)
        os.environ.update(_surroundings(backend, given))
        if words[:1] == ["run"] and RELOAD in words:
            run_with_reloader(_run_reloaded, backend, [w for w in words[1:] if w != RELOAD])
            return
        if words and words[0] in OF_QUEUES and "-h" not in words and "--help" not in words:
            words = [words[0], WORKER, *words[1:]]
        sys.argv = ["eventq", *words]
        runpy.run_module("eventq", run_name="__main__", alter_sys=True)


def _settings_of(alias: str) -> BackendSettings:
    known = [each for each in task_backends if _is_ours(each)]
    if alias not in known:
        there = ", ".join(known) or "none"
        raise CommandError(f"TASKS has no backend {alias!r} of eventq's; there: {there}")
    backend: Any = task_backends[alias]
    found: BackendSettings = backend.settings
    return found


def _is_ours(alias: str) -> bool:
    return isinstance(getattr(task_backends[alias], "settings", None), BackendSettings)


def _surroundings(alias: str, given: BackendSettings) -> dict[str, str]:
    """What `eventq` and its children are to know of the place."""
    found = given.of_queue
    known = [os.environ.get("PYTHONPATH"), *sys.path[:1]]
    return {
        BACKEND_ENV: alias,
        "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE,
        "EVENTQ_URL": str(found.get("url", DEFAULT_URL)),
        "EVENTQ_NAMESPACE": str(found.get("namespace", "default")),
        "EVENTQ_ARCHIVE": str(found.get("archive", "")),
        # Where manage.py stands, so that a child finds what it finds.
        "PYTHONPATH": os.pathsep.join(each for each in known if each),
    }


def _run_reloaded(alias: str, words: list[str]) -> None:
    """Runs in a thread of Django's, whose process ends when code has changed."""
    options: dict[str, list[str]] = {"--lane": [], "--name": []}
    for name, value in zip(words[::2], [*words[1::2], None], strict=False):
        if name not in options or value is None:
            raise CommandError(f"run {RELOAD} {ONLY}, got {name}")
        options[name].append(value)
    backend: Any = task_backends[alias]
    queue: Queue = backend.queue
    queue.run(signals=False, lanes=options["--lane"] or None, names=options["--name"] or None)
