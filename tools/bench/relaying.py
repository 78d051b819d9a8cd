"""How fast committed rows become tasks, and begin: ``python -m tools.bench.relaying``.

``rate``: a relay on PostgreSQL, rows of 200 bytes. ``notify``, ``poll``: from the commit to the
start in another process, on PostgreSQL and SQLite, one at a time. ``django``: the same of a view in
`atomic()` and `manage.py eventq run`. The server is one of the tests', so without fsync, save with
``--database URL``, of an empty database.
"""

from __future__ import annotations

import argparse
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

import eventq
from eventq.contrib import Outbox

HERE = Path(__file__).parents[2]
SITE = HERE / "tests" / "contrib" / "django" / "site" / "manage.py"
MEASURES = ("rate", "notify", "poll", "django")
ROWS = 10_000
COMMITS = 200
PAUSE_S = 0.02
WARM_UP = 5


def main() -> None:
    """Prints a line for each measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measures", nargs="*", choices=[*MEASURES, []], default=[])
    parser.add_argument("--database", metavar="URL")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        run_worker(*given.worker)
        return
    for name in given.measures or MEASURES:
        with (
            tempfile.TemporaryDirectory(prefix="eventq-relaying-") as folder,
            _server(given) as new,
        ):
            url = f"sqlite:///{folder}/shop.db" if name == "poll" else new()
            began_s, cpu_s = time.monotonic(), _cpu_s()
            words = measure(name, Path(folder), url)
            wall_s = time.monotonic() - began_s
            print(f"{name}: {words} (in {wall_s:.1f} s, {_cpu_s() - cpu_s:.1f} s of CPU)")


def measure(name: str, folder: Path, url: str) -> str:
    """One measure, in words."""
    if name == "rate":
        return _rate(folder, url)
    if name == "django":
        return _django(folder, url)
    return _latency(folder, url)


def run_worker(log: str, database: str) -> None:
    """Runs what the outbox holds, in a process of its own; each task's result is its start."""
    with eventq.Queue(log, workers=1) as queue, Outbox(queue, database, relay=False) as outbox:

        @queue.task("start")
        def start(commit: int) -> float:  # noqa: ARG001 - for the log
            return time.time()

        queue.run(outboxes=[outbox])


def _rate(folder: Path, url: str) -> str:
    with eventq.Queue(f"sqlite:///{folder}/tasks.db") as queue:
        outbox = Outbox(queue, url, relay=False)
        outbox.create()
        text = "x" * 180
        with psycopg.connect(url) as connection:
            for number in range(ROWS):
                outbox.new({"number": number, "text": text}, on=connection)
        began_s = time.monotonic()
        count = outbox.relay()
        took_s = time.monotonic() - began_s
    return f"{count / took_s:,.0f} rows a second"


def _latency(folder: Path, url: str) -> str:
    log = f"sqlite:///{folder}/tasks.db"
    with eventq.Queue(log) as queue:
        outbox = Outbox(queue, url, relay=False)
        outbox.create()
        command = [sys.executable, "-m", "tools.bench.relaying", "--worker", log, url]
        with _process(command, HERE), closing(_connect(url)) as connection:

            def commit(number: int) -> tuple[str, float]:
                task = eventq.TaskSpec({"commit": number}, name="start")
                key = outbox.new(task, on=connection)
                connection.commit()
                return key, time.time()

            def began(key: str) -> float:
                while queue.get(key) is None:
                    time.sleep(0.005)
                found: float = queue.wait(key, timeout="60s").result
                return found

            return _shown(_measured(commit, began))


def _django(folder: Path, url: str) -> str:
    os.environ |= {
        "SHOP_FOLDER": str(folder),
        "SHOP_DATABASE": url,
        "DJANGO_SETTINGS_MODULE": "tests.contrib.django.site.settings",
    }
    import django  # noqa: PLC0415 - the environment first

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415 - as above
    from django.test import Client  # noqa: PLC0415 - as above

    from eventq.contrib.django.framework import task_backends  # noqa: PLC0415 - as above
    from tests.contrib.django.site.shop.models import Done  # noqa: PLC0415 - as above

    call_command("migrate", run_syncdb=True, verbosity=0)
    backend: Any = task_backends["default"]
    client = Client()
    with _process([sys.executable, str(SITE), "eventq", "run"], folder):

        def commit(number: int) -> tuple[str, float]:
            answer = client.get(f"/order/{number}/").json()
            return answer["task"], answer["committed_at"]

        def began(key: str) -> float:
            while backend.queue.get(key) is None:
                time.sleep(0.005)
            task = backend.queue.wait(key, timeout="60s")
            return Done.objects.get(number=task.tags["number"]).at

        return _shown(_measured(commit, began))


def _measured(
    commit: Callable[[int], tuple[str, float]], began: Callable[[str], float]
) -> list[float]:
    """Seconds from each commit to the start of its task; the first ones warm up."""
    found = []
    for number in range(COMMITS + WARM_UP):
        key, committed_at = commit(number)
        found.append(began(key) - committed_at)
        time.sleep(PAUSE_S)
    return found[WARM_UP:]


def _shown(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=20)
    return f"p50 {statistics.median(seconds) * 1e3:.1f} ms, p95 {cuts[-1] * 1e3:.1f} ms"


def _connect(url: str) -> Any:  # noqa: ANN401 - of either driver
    if url.startswith("sqlite:///"):
        return sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30.0)
    return psycopg.connect(url)


@contextmanager
def _server(given: argparse.Namespace) -> Iterator[Callable[[], str]]:
    """What gives the URL of an empty database of PostgreSQL."""
    if given.database:
        yield lambda: given.database
        return
    from tests.contrib.postgres import running  # noqa: PLC0415 - where none is given

    with running() as server:
        yield server.new_url


@contextmanager
def _process(command: list[str], folder: Path) -> Iterator[None]:
    """A process while the block lasts."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _cpu_s() -> float:
    """Of this process, and of its children that have ended."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(each) for each in whose]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
