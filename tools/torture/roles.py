"""``python -m tools.torture.roles ROLE URL FOLDER``: one process of the torture, until SIGTERM.

The environment says whether its clock is read from a file (`TORTURE_CLOCK`), and to how many file
descriptors it is held (`TORTURE_FILES`), which it then uses up now and then; and which process has
begun it (`TORTURE_PARENT`).
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import eventq
from eventq.contrib import Outbox
from eventq.host.clock import Clock, SystemClock
from eventq.host.groups import die_with_parent
from tools.rough.callers import Callers
from tools.rough.worker import TTL_S, Journal
from tools.torture.handlers import HANDLERS

CLOCK, FILES, PARENT = "TORTURE_CLOCK", "TORTURE_FILES", "TORTURE_PARENT"
SHOP = "shop.db"
ORDERS = "CREATE TABLE IF NOT EXISTS orders (key TEXT PRIMARY KEY, tags TEXT NOT NULL)"
WORKERS = 4
SLOW_EVERY_S = 0.5
FORK_SHARE = 0.3
# A forked child that hangs ends by then, in seconds.
CHILD_S = 20
ORDER_EVERY_S = 0.05
VISIT_EVERY_S = 0.1
PAGES = ("/", "/tasks", "/errors", "/flows", "/limits", "/schedules", "/changes")
# All descriptors are used up for so long, so often, in seconds.
STARVED_S, STARVED_EVERY_S = 0.2, 1.0
# What a call may be told while the disk is broken.
AWAY = (eventq.LogUnavailableError.__name__, eventq.LogOutcomeUnknownError.__name__)


class JumpingClock(SystemClock):
    """The machine's clock, moved by the microseconds that stand in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now_us(self) -> int:
        """See Clock.now_us."""
        return super().now_us() + int(self._file.read_text(encoding="ascii") or 0)


class Role:
    """What all roles have: where the log and the journals are, and whether it is to end."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.stop = threading.Event()
        self.broken = Journal(folder / "broken")

    def queue(self, **options: Any) -> eventq.Queue:  # noqa: ANN401 - those of Queue
        """The queue, with the clock that it is to have."""
        file = os.environ.get(CLOCK)
        clock: Clock = JumpingClock(Path(file)) if file else SystemClock()
        return eventq.Queue(self.url, backoff="50ms", clock=clock, **options)

    def report(self, texts: Iterable[str]) -> None:
        """Writes down what must not be; what a log says that is away may be."""
        for text in texts:
            if not text.startswith(AWAY):
                self.broken.write("broken", text=text)

    def call(self) -> None:
        """Asks for all sorts of things, by threads and by forked children."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop.set())
        chance = Random(os.getpid())
        with self.queue() as queue:
            journal = Journal(self.folder / "calls")
            callers = Callers(queue, journal, name=f"p{os.getpid()}-")
            callers.start()
            told = 0
            while not self.stop.wait(SLOW_EVERY_S):
                with suppress(eventq.LogUnavailableError):
                    callers.make({"what": "slow", "number": callers.next()}, priority=9)
                if chance.random() < FORK_SHARE:
                    self.fork(queue)
                broken = callers.broken[told:]
                told += len(broken)
                self.report(broken)
            callers.stop()
            self.report(callers.broken[told:])

    def fork(self, queue: eventq.Queue) -> None:
        """A child uses the open queue of its parent, and ends without closing it."""
        if os.fork():
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            return
        try:
            signal.alarm(CHILD_S)
            callers = Callers(queue, Journal(self.folder / "calls"), name=f"f{os.getpid()}-")
            for number in range(3):
                with suppress(eventq.LogUnavailableError):
                    callers.make({"what": "does", "number": number})
        except eventq.EventqError as error:
            self.report([f"{type(error).__name__}: {error} (in a forked child)"])
        finally:
            os._exit(0)

    def work(self, kind: str) -> None:
        """Works on tasks."""
        handlers = [HANDLERS[kind]]
        with self.queue(workers=WORKERS, handlers=handlers) as queue:
            queue.run(lease_ttl=TTL_S, grace="10s")

    def relay(self) -> None:
        """Writes orders into a database of its own, each with a task, and relays those."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop.set())
        shop = self.folder / SHOP
        calls = Journal(self.folder / "calls")
        with self.queue() as queue, closing(sqlite3.connect(shop, timeout=30.0)) as session:
            outbox = Outbox(queue, at=f"sqlite:///{shop}")
            outbox.create()
            session.execute(ORDERS)
            number = 0
            with outbox.relaying():
                while not self.stop.wait(ORDER_EVERY_S):
                    number += 1
                    key, tags = f"o{os.getpid()}-{number}", {"what": "does", "number": number}
                    asked = {"op": "new", "key": key, "tags": tags}
                    calls.write("call", call=key, state="invoked", **asked)
                    values = (key, json.dumps(tags))
                    session.execute("INSERT INTO orders (key, tags) VALUES (?, ?)", values)
                    outbox.new(tags, name="does", key=key, on=session)
                    if number % 3:
                        session.commit()
                    else:
                        session.rollback()
            outbox.close()

    def console(self) -> None:
        """Shows pages to a browser that never rests."""
        # Python swallows what a handler raises where a module is being compiled.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        # Not before it is needed: it takes as long to import as all the rest.
        from eventq.web.access import Person  # noqa: PLC0415
        from eventq.web.console import Options  # noqa: PLC0415
        from eventq.web.serve import Address, ConsoleServer  # noqa: PLC0415

        with self.queue() as queue:
            options = Options(cache=self.folder / "cache")
            person = Person("ada@here", authenticated=False)
            server = ConsoleServer(queue, person, options, Address(port=0))
            threading.Thread(target=self._visit, args=(server.start_url(),), daemon=True).start()
            server.run()

    def _visit(self, address: str) -> None:
        import httpx2  # noqa: PLC0415 - as above

        where, _, code = address.partition("#")
        chance = Random(os.getpid())
        with httpx2.Client(base_url=where.removesuffix("/start"), timeout=60.0) as client:
            origin = {"origin": where.removesuffix("/start")}
            client.post(where, data={"code": code}, headers=origin)
            while not self.stop.wait(VISIT_EVERY_S):
                page = chance.choice(PAGES)
                try:
                    status = client.get(page).status_code
                except httpx2.HTTPError:
                    # The server is told to end.
                    return
                if status not in {200, 503}:
                    self.report([f"the console answers {status} for {page}"])


def starve() -> None:
    """Uses up all descriptors, again and again."""
    while True:
        time.sleep(STARVED_EVERY_S)
        held: list[int] = []
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        time.sleep(STARVED_S)
        for descriptor in held:
            os.close(descriptor)


def main() -> None:
    """Plays the role."""
    name, url, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    # However the torture ends, nothing of it is left at work.
    die_with_parent(int(os.environ[PARENT]))
    # Whoever is told to end before a run, or a role, minds it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Whoever does not end says where it stands.
    faulthandler.register(signal.SIGUSR1)
    (folder / "begun" / str(os.getpid())).touch()
    role = Role(url, folder)
    if files := os.environ.get(FILES):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), most))
        threading.Thread(target=starve, daemon=True).start()
    roles: dict[str, Callable[[], None]] = {
        "caller": role.call,
        "relay": role.relay,
        "console": role.console,
    }
    if name in HANDLERS:
        role.work(name)
    else:
        roles[name]()


if __name__ == "__main__":
    main()
