"""A PostgreSQL server of the tests' own, by Debian's programs, in a folder and on a port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
# It refuses to run as root, so that it runs as one of these there.
USERS = ("postgres", "nobody")
# The tests kill processes of ours, never the server.
OPTIONS = "-c fsync=off -c listen_addresses=127.0.0.1 -c max_connections=50"

_numbers = count(1)


class Postgres:
    """One running server."""

    def __init__(self, port: int) -> None:
        self._port = port

    def new_url(self) -> str:
        """The URL of a database that is new and empty."""
        import psycopg  # noqa: PLC0415 - where there is a server

        name = f"shop{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name: str) -> str:
        """The URL of a database."""
        return f"postgresql://owner@127.0.0.1:{self._port}/{name}"


@contextmanager
def running() -> Iterator[Postgres]:
    """A server; skips the test where there are no programs, save in CI."""
    programs = FOLDERS[0] if FOLDERS else None
    found = shutil.which("initdb", path=None if programs is None else str(programs))
    if found is None:
        assert os.environ.get("CI") != "true", "install Debian's package postgresql"
        pytest.skip("there is no PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="eventq-pg-"))
    user = _user()
    if user is not None:
        shutil.chown(folder, user)
    data, port = folder / "data", _free_port()

    def call(program: str, *words: str) -> None:
        command = [str(Path(found).parent / program), "-D", str(data), *words]
        done = subprocess.run(
            command, user=user, cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    try:
        call("initdb", "-U", "owner", "--auth=trust", "--no-sync")
        options = f"{OPTIONS} -p {port} -c unix_socket_directories={folder}"
        call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield Postgres(port)
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """Whom the server runs as; None where the tests are not root's."""
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - not everywhere

    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in USERS if user in names)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
