"""``manage.py eventq COMMAND``: the `eventq` command, on the queue of a backend.

The command is begun as a program is, in this process, with Django set up.
"""

from __future__ import annotations

import os
import runpy
import sys
from argparse import REMAINDER

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.autoreload import run_with_reloader

from eventq.contrib.django.settings import BACKEND_ENV, BackendSettings, backend_at, own_aliases
from eventq.queue import Queue

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
        found = backend_at(backend)
        if found is None:
            there = ", ".join(own_aliases()) or "none"
            raise CommandError(f"TASKS has no backend {backend!r} of eventq's; there: {there}")
        os.environ.update(_surroundings(backend, found.settings))
        if words[:1] == ["run"] and RELOAD in words:
            run_with_reloader(_run_reloaded, backend, [w for w in words[1:] if w != RELOAD])
            return
        if words and words[0] in OF_QUEUES and "-h" not in words and "--help" not in words:
            words = [words[0], WORKER, *words[1:]]
        sys.argv = ["eventq", *words]
        runpy.run_module("eventq", run_name="__main__", alter_sys=True)


def _surroundings(alias: str, given: BackendSettings) -> dict[str, str]:
    """What `eventq` and its children are to know of the place."""
    url, namespace = given.place
    known = [os.environ.get("PYTHONPATH"), *sys.path[:1]]
    return {
        BACKEND_ENV: alias,
        "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE,
        "EVENTQ_URL": str(url),
        "EVENTQ_NAMESPACE": str(namespace),
        "EVENTQ_ARCHIVE": str(given.given.get("archive", "")),
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
    queue: Queue = backend_at(alias).queue
    queue.run(signals=False, lanes=options["--lane"] or None, names=options["--name"] or None)
