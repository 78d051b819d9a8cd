"""A console in a process of its own, and who asks it: a browser without a screen, by plain HTTP."""

from __future__ import annotations

import http.client
import logging
import resource
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from eventq import Queue
from eventq.web.access import Person
from eventq.web.console import Options
from eventq.web.serve import Address, ConsoleServer
from tools.bench.bench import children, heard, used_cpu_s

PATIENT_S = 120.0


class Asked(Struct, frozen=True):
    """One answer: how long the server took, how much CPU all its threads, and what came."""

    path: str
    status: int
    took_ms: float
    cpu_ms: float
    body: bytes


class Times(logging.Handler):
    """What the console says of each access."""

    def __init__(self) -> None:
        super().__init__()
        self.last_us = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps how long the last answer took; of event streams nothing is kept."""
        if record.getMessage() == "asked" and record.path != "/events":  # type: ignore[attr-defined]
            self.last_us = record.took_us  # type: ignore[attr-defined]


def serve(connection: Connection, url: str, cache: str) -> None:
    """A child that serves a console, and answers what it has used."""
    times = Times()
    logger = logging.getLogger("eventq.web")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(times)
    with Queue(url) as queue:
        person = Person("ada", authenticated=False)
        server = ConsoleServer(queue, person, Options(cache=Path(cache)), Address(port=0))
        thread = threading.Thread(target=server.run)
        thread.start()
        connection.send("ready")
        connection.send((server.port, server.start_url().partition("#")[2]))
        while connection.recv() == "used":
            connection.send((times.last_us, used_cpu_s(), memory_mb()))
        server.stop()
        thread.join()


def memory_mb() -> float:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


class Browser:
    """Somebody who has come in to a console; each has a connection of its own."""

    def __init__(self, port: int, headers: dict[str, str], connection: Connection) -> None:
        self._port = port
        self._headers = headers
        self._connection = connection
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENT_S)

    @classmethod
    def come_in(cls, connection: Connection) -> Browser:
        """By the start code that the server has sent."""
        port, code = heard(connection)
        form = urlencode({"code": code})
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "origin": f"http://127.0.0.1:{port}",
        }
        door = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENT_S)
        door.request("POST", "/start", form, headers)
        answer = door.getresponse()
        cookie = answer.headers["set-cookie"].partition(";")[0]
        door.close()
        return cls(port, {"cookie": cookie}, connection)

    def other(self) -> Browser:
        """Another window of the same person."""
        return Browser(self._port, self._headers, self._connection)

    def used(self) -> tuple[int, float, float]:
        """How long the last answer took (us), the CPU (s) and the memory (MB) of the server."""
        self._connection.send("used")
        found: tuple[int, float, float] = heard(self._connection)
        return found

    def leave(self) -> None:
        """Ends the server."""
        self._connection.send("end")

    def get(self, path: str) -> Asked:
        """One answer."""
        _, before_s, _ = self.used()
        status, body = self.plain(path)
        took_us, after_s, _ = self.used()
        return Asked(path, status, took_us / 1_000, 1_000 * (after_s - before_s), body)

    def whole(self, path: str) -> Asked:
        """The page itself, however often it has to be asked for; and how long that took here."""
        _, before_s, _ = self.used()
        began_s = time.perf_counter()
        while True:
            status, body = self.plain(path)
            if status != http.client.ACCEPTED:
                break
        took_ms = 1_000 * (time.perf_counter() - began_s)
        _, after_s, _ = self.used()
        return Asked(path, status, took_ms, 1_000 * (after_s - before_s), body)

    def plain(self, path: str) -> tuple[int, bytes]:
        """Status and body; redirects are followed."""
        while True:
            self._http.request("GET", path, headers=self._headers)
            answer = self._http.getresponse()
            body = answer.read()
            if answer.status != http.client.SEE_OTHER:
                return answer.status, body
            where = urlsplit(answer.headers["location"])
            path = f"{where.path}?{where.query}" if where.query else where.path

    def beats(self) -> Generator[int]:
        """The positions that an event stream of its own tells."""
        stream = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENT_S)
        stream.request("GET", "/events", headers=self._headers)
        answer = stream.getresponse()
        try:
            while line := answer.readline():
                if line.startswith(b"data: {"):
                    yield msgspec.json.decode(line[6:]).get("seq", 0)
        except (OSError, http.client.HTTPException):
            return
        finally:
            stream.close()


@contextmanager
def browsing(url: str, cache: Path) -> Iterator[Browser]:
    """A console over a log, and somebody in it."""
    with children(serve, [(url, str(cache))]) as [child]:
        browser = Browser.come_in(child)
        yield browser
        browser.leave()
