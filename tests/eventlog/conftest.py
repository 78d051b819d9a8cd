"""The logs that the contract suite runs against."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from eventq.eventlog import EventLog, open_log
from eventq.eventlog.sqlite.log import SqliteLog
from tests.eventlog.commits import Opener, open_sqlite
from tests.eventlog.processes import PREAMBLE, Process, Starter
from tests.servers import new_url


def memory_url(request: pytest.FixtureRequest) -> str:
    """A log in memory under a name that no other test uses."""
    name = request.getfixturevalue("tmp_path").name
    return f"memory://{name.replace('_', '-')}"


def sqlite_url(request: pytest.FixtureRequest) -> str:
    """A file that does not exist yet."""
    return f"sqlite:///{request.getfixturevalue('tmp_path')}/log.db"


def mongo_url(request: pytest.FixtureRequest) -> str:
    """A database that does not exist yet."""
    return new_url(request.getfixturevalue("mongod"))


def file_url(request: pytest.FixtureRequest) -> str:
    """A file of lines that does not exist yet."""
    return f"file:///{request.getfixturevalue('tmp_path')}/log.jsonl"


# The logs this suite runs against; each makes a URL of its own for one test.
LOGS: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "memory": memory_url,
    "sqlite": sqlite_url,
    "mongo": mongo_url,
    "file": file_url,
}
# Those that a queue can run on: they wake others, can be cut, and keep snapshots.
WORKING = LOGS.keys() - {"file"}
# Those that hold one namespace.
SINGLE = {"file"}

# Those with one writer at a time: nobody else appends during a turn.
ONE_WRITER = {"memory", "sqlite", "file"}


@pytest.fixture(params=LOGS)
def log_name(request: pytest.FixtureRequest) -> str:
    """Which kind of log the test runs against."""
    return str(request.param)


@pytest.fixture
def _working(log_name: str) -> None:
    """For tests of what logs do on which queues run."""
    if log_name not in WORKING:
        pytest.skip("no queue runs on such a log")


@pytest.fixture
def one_writer(log_name: str) -> bool:
    """Whether a turn keeps all others from appending."""
    return log_name in ONE_WRITER


@pytest.fixture
def open_another(request: pytest.FixtureRequest, log_name: str) -> Iterator[Opener]:
    """Opens logs that share one store; closes them after the test."""
    url = LOGS[log_name](request)
    opened: list[EventLog] = []

    def opener(namespace: str = "default") -> EventLog:
        if namespace != "default" and log_name in SINGLE:
            pytest.skip("such a log holds one namespace")
        opened.append(open_log(url, namespace=namespace))
        return opened[-1]

    yield opener
    for log in opened:
        log.close()


@pytest.fixture
def log(open_another: Opener) -> EventLog:
    """An empty log."""
    return open_another()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the SQLite log of a test is."""
    return tmp_path / "log.db"


@pytest.fixture
def sqlite_log(path: Path) -> Iterator[SqliteLog]:
    """A new SQLite log."""
    with closing(open_sqlite(path)) as opened:
        yield opened


@pytest.fixture
def start(path: Path) -> Iterator[Starter]:
    """Starts a process that runs a script on the log's path; none outlives the test."""
    processes: list[Process] = []

    def starter(script: str, *arguments: str) -> Process:
        process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + script, str(path), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # So that what went wrong in it is in the message of the assert that fails here.
            stderr=subprocess.STDOUT,
            text=True,
            # A group of its own, so that its children are ended with it.
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield starter
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
