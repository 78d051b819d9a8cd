"""``manage.py eventq``: the command on the queue of a backend, in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import eventq
from tests.contrib.django.site import settings as site

MANAGE = Path(site.__file__).parent / "manage.py"
ADD = "tests.contrib.django.site.shop.tasks.add"


class Site:
    """A site in a folder, by its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SHOP_FOLDER": str(folder)}
        self.environment.pop("SHOP_DATABASE", None)

    def run(self, *words: str, code: int = 0) -> str:
        """What a command prints, and says on standard error."""
        done = subprocess.run(
            [sys.executable, str(MANAGE), *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that goes on while the block does, then is told to end."""
        command = [sys.executable, str(MANAGE), *words]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)

    def queue(self) -> eventq.Queue:
        """The queue of its default backend."""
        return eventq.Queue(f"sqlite:///{self.folder}/tasks.db")


@pytest.fixture
def shop(tmp_path: Path) -> Site:
    """A site whose tables are made."""
    found = Site(tmp_path)
    found.run("migrate", "--run-syncdb", "--verbosity", "0")
    return found


def until(condition: Callable[[], bool]) -> bool:
    """Whether it comes to that, within a bound."""
    patience = threading.Event()
    for _ in range(2_000):
        if condition():
            return True
        patience.wait(0.03)
    return False


def test_commands_are_those_of_eventq(shop: Site) -> None:
    """On the backend's own queue, named or not; what is none of eventq's is refused."""
    with shop.queue() as queue:
        queue.new({"left": 1}, name=ADD)

    assert ADD in shop.run("eventq", "ls")
    assert ADD not in shop.run("eventq", "--backend", "plain", "ls")
    assert "completed 1," in shop.run("eventq", "run", "--until-idle")
    assert f'"name":"{ADD}"' in shop.run("eventq", "handlers", "--json").replace(" ", "")
    refused = shop.run("eventq", "--backend", "nope", "ls", code=1)
    assert "TASKS has no backend 'nope' of eventq's; there: default, plain" in refused
    assert "no such" in shop.run("eventq", "nonsense", code=2).lower()


def test_a_run_in_several_processes_does_the_same(shop: Site) -> None:
    """Its children find Django, the backend and the tasks by themselves."""
    with shop.queue() as queue:
        for number in range(20):
            queue.new({"left": number}, name=ADD)

    assert "completed 20," in shop.run("eventq", "run", "--processes", "2", "--until-idle")


@pytest.mark.slow
def test_a_run_begins_anew_when_code_has_changed(shop: Site) -> None:
    """With --autoreload; and what it has leased is given back."""
    with shop.queue() as queue:
        first = queue.new({"left": 1}, name=ADD)
        with shop.running("eventq", "run", "--autoreload"):
            queue.wait(first.key, timeout="60s")
            seen = {each.body.worker for each in queue.events() if each.kind == "leased"}  # type: ignore[union-attr]
            source = MANAGE.parent / "urls.py"
            before = source.stat()
            # Its reloader looks at the times of files alone.
            assert until(lambda: touched(source) and reloaded(queue, seen))
            os.utime(source, (before.st_atime, before.st_mtime))


def touched(source: Path) -> bool:
    """Has a file look changed."""
    found = source.stat().st_mtime + 1
    os.utime(source, (found, found))
    return True


def reloaded(queue: eventq.Queue, seen: set[str]) -> bool:
    """Whether another node has run a task since."""
    task = queue.new({"left": 2}, name=ADD)
    try:
        queue.wait(task.key, timeout="3s")
    except eventq.WaitTimeoutError:
        return False
    workers = {each.body.worker for each in queue.events() if each.kind == "leased"}  # type: ignore[union-attr]
    return bool(workers - seen)


def test_isolated_tasks_run_under_django(shop: Site) -> None:
    """In processes that have set Django up: with its database; a crash takes no other along."""
    shop.run("shell", "-c", ISOLATED)
    with shop.queue() as queue, shop.running("eventq", "run") as worker:
        told, later, dead = (queue.wait(key, timeout="60s") for key in ("1", "2", "3"))
        number = worker.pid

    assert told.result[1:] == ["7", 1]
    assert told.result[0] != number
    assert later.result == 1
    assert "SIGABRT" in str(dead.last_error)


ISOLATED = """
from tests.contrib.django.site.shop import tasks
from tests.contrib.django.site.shop.models import Order
Order.objects.create(number="7")
tasks.render.enqueue("7")
tasks.render_later.enqueue("7")
tasks.crash.enqueue()
"""
