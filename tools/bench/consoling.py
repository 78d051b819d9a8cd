"""How quick the console is: pages now and in the past, steps, news; what it weighs and costs."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from multiprocessing.connection import Connection
from random import Random
from statistics import median
from typing import Any

from eventq import Queue
from eventq.catalog.catalog import Catalog
from eventq.eventlog import open_log
from eventq.snapshot import create_every
from eventq.web.routes import PAGES
from tools.bench.bench import Bench, children, heard, percentile
from tools.bench.browsing import Asked, Browser, browsing
from tools.bench.report import Figure, Floor
from tools.generate.bulk import make_bulk

SNAPSHOT_EVENTS = 100_000
WATCHERS = 20
PACE_S = 1 / 300
FILES = ("/static/console.css", "/static/console.js", "/static/icon.svg")


def console(bench: Bench) -> Iterator[Figure]:
    """A log of a million tasks that end, beside 100,000 that are open all the time."""
    url, cache = bench.url(), bench.directory / "cache"
    size = bench.pick(1_000_000, 2_000)
    make(url, tasks=size, pending=size // 10)
    with browsing(url, cache) as browser:
        yield from _live(browser, url, bench.pick(15, 2))
    with browsing(url, cache) as browser:
        yield from _past(browser, url, bench.pick(12, 2))
    for way in (_news, _watched):
        yield from way(bench)


def make(url: str, *, tasks: int, pending: int) -> None:
    """The log with its snapshots and its catalog."""
    log = open_log(url)
    make_bulk(log, tasks=tasks, pending=pending)
    for _ in create_every(log, SNAPSHOT_EVENTS, now=log.head().at):
        pass
    catalog = Catalog.open(log)
    catalog.catch_up()
    catalog.close()
    log.close()


def _live(browser: Browser, url: str, rounds: int) -> Iterator[Figure]:
    paths = [page.path for page in PAGES if "{" not in page.path and not page.folds]
    paths += ["/tasks/doc-5", "/tasks/20"]
    weight = sum(len(browser.get(path).body) for path in ("/", *FILES))
    found: dict[str, list[Asked]] = {path: [] for path in paths}
    with Queue(url) as queue:
        for _ in range(rounds):
            # Something happens, so that no page is as it was.
            queue.new({"n": 1})
            for path in paths:
                found[path].append(browser.get(path))
    _, _, memory_mb = browser.used()
    everything = [each for asked in found.values() for each in asked]
    yield from _times("live pages", everything, 100)
    slowest = max(found, key=lambda path: median(each.cpu_ms for each in found[path]))
    yield from _times(f"live, the slowest page ({slowest})", found[slowest], 100)
    yield Figure("first load, all of it", weight / 1_000, "kB", Floor(120, at_most=True))
    yield Figure("memory, 100,000 open tasks", memory_mb, "MB", Floor(250, at_most=True))


def _past(browser: Browser, url: str, rounds: int) -> Iterator[Figure]:
    log = open_log(url, create=False)
    end = log.head().seq
    log.close()
    chance = Random(1)
    paths = [page.path for page in PAGES if "{" not in page.path and not page.folds]
    jumps, pages, steps = [], [], []
    for _ in range(rounds):
        seq = chance.randrange(end // 5, end)
        jumps.append(browser.whole(f"/?at={seq}"))
        pages += [browser.whole(f"{path}?at={seq}") for path in (*paths, "/tasks/doc-5")]
        ways = (1, 2, 3, 2, 1, 0, -1, -2, 4)
        steps += [browser.whole(f"/?at={min(end, seq + way)}") for way in ways]
    yield from _times("the first look at another instant", jumps, 3_000)
    yield from _times("pages at that instant", pages, 500)
    yield from _times("a step of the slider", steps, 150)


def _times(what: str, found: Iterable[Asked], bound_ms: float) -> Iterator[Figure]:
    asked = list(found)
    bad = {(each.path, each.status) for each in asked if each.status >= 400}
    if bad:
        raise RuntimeError(f"{what}: {bad}")
    bound = Floor(bound_ms, at_most=True)
    yield Figure(f"{what}, p95", percentile([each.took_ms for each in asked], 0.95), "ms", bound)
    yield Figure(f"{what}, p95, CPU", percentile([each.cpu_ms for each in asked], 0.95), "ms")


def _news(bench: Bench) -> Iterator[Figure]:
    """From an append in another process to the page that has it."""
    url, delays_ms = bench.url(), []
    with Queue(url) as queue, browsing(url, bench.directory / "news") as browser:
        beats = browser.beats()
        next(beats)
        for number in range(bench.pick(30, 3)):
            # A page rests a while after each look.
            time.sleep(bench.pick(5, 1) / 10)
            began_s = time.perf_counter()
            task = queue.new({"n": number}, priority=number, key=f"news-{number}")
            while next(beats) < task.number:
                pass
            _, body = browser.plain("/")
            assert task.key.encode() in body, "the page has what the beat has told"
            delays_ms.append(1_000 * (time.perf_counter() - began_s))
        beats.close()
    bound = Floor(300, at_most=True)
    yield Figure("an event to its page, p95", percentile(delays_ms, 0.95), "ms", bound)


def _watched(bench: Bench) -> Iterator[Figure]:
    """Tasks of 1 ms, 300 a second, without and with pages that watch them, in turns."""
    count = bench.pick(1_500, 600)
    for what, loads in (("event streams", False), ("open pages of Now", True)):
        alone, beside, shares = [], [], []
        for _ in range(bench.pick(3, 1)):
            alone.append(_paced(bench, count, watchers=0, loads=loads)[0])
            took_s, share = _paced(bench, count, watchers=WATCHERS, loads=loads)
            beside.append(took_s)
            shares.append(share)
        ratio = median(after / before for before, after in zip(alone, beside, strict=True))
        floor = None if loads else Floor(1.1, at_most=True)
        yield Figure(f"tasks beside {WATCHERS} {what} take", ratio, "times as long", floor)
        yield Figure(f"tasks beside these {what}, median", 1_000 * median(beside), "ms")
        yield Figure(f"the console with {WATCHERS} {what}", 100 * median(shares), "% of a core")


def _paced(bench: Bench, count: int, *, watchers: int, loads: bool) -> tuple[float, float]:
    """How long a task takes from its creation to its end, in seconds, half of them.

    And what share of a core the console used meanwhile.
    """
    url = bench.url()
    Queue(url).close()
    watched = browsing(url, bench.directory / "watched") if watchers else nullcontext()
    with watched as browser, children(work, [(url, count)]) as [worker]:
        # All of them, and who starts the work.
        begun = threading.Barrier(watchers + 1)
        threads = [
            threading.Thread(target=_watch, args=(browser, begun, loads), daemon=True)
            for _ in range(watchers)
        ]
        for thread in threads:
            thread.start()
        begun.wait()
        before_s = 0.0 if browser is None else browser.used()[1]
        began_s = time.perf_counter()
        worker.send("go")
        took_s: float = heard(worker)
        passed_s = time.perf_counter() - began_s
        used_s = 0.0 if browser is None else browser.used()[1] - before_s
    return took_s, used_s / passed_s


def _watch(browser: Browser, begun: threading.Barrier, loads: bool) -> None:  # noqa: FBT001
    """An open page: it hears the beats and, as the script does, loads again once a second.

    It ends with its server.
    """
    own, next_s = browser.other(), 0.0
    beats = own.beats()
    next(beats)
    begun.wait()
    for _ in beats:
        if loads and time.monotonic() >= next_s:
            try:
                own.plain("/")
            except (OSError, http.client.HTTPException):
                return
            next_s = time.monotonic() + 1


def work(connection: Connection, url: str, count: int) -> None:
    """A child that makes tasks at a pace and runs them, and sends how long half of them took."""
    created: dict[int, float] = {}
    took_s: list[float] = []
    with Queue(url, workers=2) as queue:

        def take(_ctx: Any, task: Any) -> None:  # noqa: ANN401 - a worker's two arguments
            time.sleep(0.001)
            took_s.append(time.perf_counter() - created[task.tags["n"]])
            if len(took_s) == count:
                queue.stop()

        connection.send("ready")
        connection.recv()
        maker = threading.Thread(target=_make_paced, args=(queue, count, created))
        maker.start()
        queue.run(take, signals=False)
        maker.join()
    connection.send(median(took_s))


def _make_paced(queue: Queue, count: int, created: dict[int, float]) -> None:
    began_s = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, began_s + number * PACE_S - time.perf_counter()))
        created[number] = time.perf_counter()
        queue.new({"n": number})
