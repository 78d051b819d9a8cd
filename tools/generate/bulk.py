"""Long logs in little time: the common lives of tasks, written as nodes would have, none decided.

What it makes is legal, and in the order in which nodes that take anything lease. It has names,
lanes, tags, errors with tracebacks, retries, ends without success, and actions by hand; not lapses,
limits or flows, which `factory` and other tools make.
"""

from __future__ import annotations

import heapq
from collections import Counter
from random import Random

from msgspec import Struct

from eventq.core.durations import SECOND_US
from eventq.core.seal import seal_commit
from eventq.core.values import COMMIT_EVENTS
from eventq.errors import ArgumentError
from eventq.eventlog import EventLog

# 2026-01-01T00:00:00Z
START_US = 1_767_225_600 * SECOND_US
STEP_US = SECOND_US
# How many tasks come in a second of the log's time.
ARRIVALS = 150
NODES = 12
RENEWED_EVERY = 10

NAMES = [
    ("docs.ocr", "heavy", 0.3, 12.0),
    ("docs.thumbnail", None, 0.3, 1.0),
    ("mail.send", "mail", 0.2, 0.5),
    ("index.update", None, 0.15, 2.0),
    ("export.nightly", "heavy", 0.05, 25.0),
]
NAME_WEIGHTS = [weight for _, _, weight, _ in NAMES]
FAILING, CANCELLED, EDITED, DELAYED, GIVEN_UP = 0.03, 0.002, 0.002, 0.03, 0.1
ERRORS = [
    ("ConnectionError", "[Errno 111] Connection refused by {host}", "mail.py", 40),
    ("TimeoutError", "{host} did not answer within 5 s", "http.py", 88),
    ("ValueError", "{file}: expected a page, got none", "ocr.py", 132),
    ("OSError", "[Errno 28] No space left on device", "files.py", 7),
]
PEOPLE = ["ada", "bob", "eve"]
# When tasks that are left open come due, after the log's beginning.
PENDING_US = 30 * 86_400 * SECOND_US
POLICY = '{"backoff":"linear","backoff_us":10000000,"max_retries":5,"max_age_us":86400000000}'


class BulkMade(Struct, frozen=True):
    """What a made log holds."""

    tasks: int
    events: int
    kinds: dict[str, int]


class Bulk:
    """A log in the making, a second after the other."""

    def __init__(self, log: EventLog, *, tasks: int, seed: int) -> None:
        self.kinds: Counter[str] = Counter()
        self._log = log
        self._rng = Random(seed)
        self._left, self._made = tasks, 0
        self._at = START_US
        self._head = log.head()
        self._ready: list[tuple[int, int, int]] = []
        """Priority, lowest for the highest; instant, number."""
        self._waiting: list[tuple[int, int, int]] = []
        self._running: list[tuple[int, int, int]] = []
        """When it ends, number, fence."""
        self._attempts: dict[int, int] = {}
        self._kind_of: dict[int, tuple[int, int]] = {}
        self._events: list[tuple[int, str]] = []
        self._nodes = [f"host{n}-{1000 + 7 * n}-{self._rng.getrandbits(32):08x}" for n in range(12)]

    @property
    def is_done(self) -> bool:
        """Whether all tasks have been made and have ended."""
        return not (self._left or self._attempts)

    def step(self) -> None:
        """A second passes."""
        self._at += STEP_US
        if (self._at // STEP_US) % RENEWED_EVERY == 0:
            for node in self._nodes:
                self._say(0, "renewed", f'"worker":"{node}","ttl_us":30000000')
        while self._running and self._running[0][0] <= self._at:
            self._end(*heapq.heappop(self._running)[1:])
        while self._waiting and self._waiting[0][0] <= self._at:
            at, priority, number = heapq.heappop(self._waiting)
            heapq.heappush(self._ready, (priority, at, number))
        while self._ready:
            self._lease(heapq.heappop(self._ready)[2])
        for _ in range(min(self._left, self._rng.randrange(2 * ARRIVALS))):
            self._create()
        self._flush()

    def begin(self) -> None:
        """The nodes say that they take everything."""
        for node in self._nodes:
            said = f'"worker":"{node}","ttl_us":30000000,"slots":400,"version":"1","names":["*"]'
            self._say(0, "joined", said)

    def leave_open(self, count: int) -> None:
        """So many tasks come first that are due in a month, and so stay open."""
        for number in range(count):
            name, lane, _, _ = NAMES[number % len(NAMES)]
            place = "" if lane is None else f',"lane":"{lane}"'
            tags = f'{{"path":"/data/later/scan-{number:07}.pdf","tenant":"t{number % 500}"}}'
            at = self._at + PENDING_US + number * STEP_US
            said = f'"policy":{POLICY},"tags":{tags},"scheduled_at":{at},"name":"{name}"{place}'
            self._say(-1, "created", said)
        self._flush()

    def _create(self) -> None:
        rng, number = self._rng, self._next()
        [kind] = rng.choices(range(len(NAMES)), NAME_WEIGHTS)
        name, lane, _, _ = NAMES[kind]
        self._left -= 1
        self._made += 1
        tags = (
            f'{{"path":"/data/incoming/2026/{rng.randrange(1, 13):02}/scan-{self._made:07}.pdf",'
            f'"tenant":"t{rng.randrange(500)}","pages":{rng.randrange(200)},"urgent":false}}'
        )
        place = "" if lane is None else f',"lane":"{lane}"'
        priority = rng.choice([0, 0, 0, 5])
        delayed = rng.random() < DELAYED
        at = self._at + rng.randrange(60) * SECOND_US if delayed else self._at
        self._say(
            -1,
            "created",
            f'"policy":{POLICY}'
            + (f',"key":"doc-{self._made}"' if self._made % 5 == 0 else "")
            + (f',"priority":{priority}' if priority else "")
            + f',"tags":{tags}'
            + (f',"scheduled_at":{at}' if delayed else "")
            + f',"expires_at":{self._at + 86_400 * SECOND_US},"name":"{name}"{place}',
        )
        self._attempts[number] = 0
        self._kind_of[number] = kind, -priority
        heapq.heappush(self._waiting, (at, -priority, number))

    def _lease(self, number: int) -> None:
        rng = self._rng
        chance = rng.random()
        if chance < CANCELLED and not self._attempts[number]:
            by = rng.choice(PEOPLE)
            self._say(number, "cancelled", f'"reason":"ordered by mistake","by":"{by}"')
            self._forget(number)
            return
        if chance > 1 - EDITED:
            tags = f'"tags":{{"path":"/data/again/{number}.pdf","urgent":true}}'
            self._say(number, "updated", f'{tags},"by":"{rng.choice(PEOPLE)}"')
        self._attempts[number] += 1
        node = self._nodes[number % NODES]
        fence = self._next()
        attempt = self._attempts[number]
        self._say(number, "leased", f'"attempt":{attempt},"worker":"{node}","ttl_us":30000000')
        run_us = int(rng.expovariate(1 / NAMES[self._kind_of[number][0]][3]) * SECOND_US)
        heapq.heappush(self._running, (self._at + run_us, number, fence))

    def _end(self, number: int, fence: int) -> None:
        rng = self._rng
        if rng.random() >= FAILING:
            result = f',"result":{{"pages":{number % 97}}}' if number % 3 == 0 else ""
            self._say(number, "completed", f'"fence":{fence}{result}')
            self._forget(number)
            return
        kind, message, file, line = rng.choice(ERRORS)
        said = message.format(host=f"10.0.0.{rng.randrange(60)}", file=f"scan-{number}.pdf")
        trace = (
            'Traceback (most recent call last):\\n  File \\"/srv/app/worker.py\\", line 31, in run'
            f'\\n    return call()\\n  File \\"/srv/app/{file}\\", line {line}, in call\\n'
            f"    self.send(page)\\n{kind}: {said}\\n"
        )
        error = f'{{"type":"{kind}","message":"{said}","traceback":"{trace}"}}'
        self._say(number, "failed", f'"fence":{fence},"error":{error}')
        if rng.random() < GIVEN_UP or self._attempts[number] > 5:
            fatal = self._attempts[number] <= 5
            self._say(number, "expired", f'"reason":"{"fatal" if fatal else "max_retries"}"')
            self._forget(number)
            return
        again = self._at + self._attempts[number] * 10 * SECOND_US
        self._say(number, "retried", f'"scheduled_at":{again}')
        heapq.heappush(self._waiting, (again, self._kind_of[number][1], number))

    def _forget(self, number: int) -> None:
        del self._attempts[number], self._kind_of[number]

    def _next(self) -> int:
        return self._head.seq + len(self._events) + 1

    def _say(self, number: int, kind: str, rest: str) -> None:
        self.kinds[kind] += 1
        own = self._next() if number < 0 else number
        self._events.append((own, f'{{"kind":"{kind}",{rest}}}'))

    def _flush(self) -> None:
        """Appends the second's events, in commits as large as may be."""
        events, first = self._events, self._head.seq + 1
        for begin in range(0, len(events), COMMIT_EVENTS):
            part = events[begin : begin + COMMIT_EVENTS]
            if len(part) > 1 and begin + len(part) < len(events) and "failed" in part[-1][1][:16]:
                # What follows a failure stands in the same commit.
                raise ArgumentError("seed", 0, "one with which no second is too full")
            keys = {
                body.split('"key":"', 1)[1].split('"', 1)[0]: first + begin + place
                for place, (_, body) in enumerate(part)
                if body.startswith('{"kind":"created"') and '"key":"' in body
            }
            commit = seal_commit(
                commit_id=f"{self._rng.getrandbits(128):032x}",
                first=first + begin,
                at=self._at,
                prev=self._head.seal,
                tasks=[number for number, _ in part],
                keys=keys,
                bodies=[body for _, body in part],
            )
            self._log.append(commit)
            self._head = type(self._head)(commit.last, commit.at, commit.seal)
        events.clear()


def make_bulk(log: EventLog, *, tasks: int, pending: int = 0, seed: int = 1) -> BulkMade:
    """Fills an empty log with so many tasks that end, and before them some that stay open.

    Raises ArgumentError.
    """
    if log.head().seq:
        raise ArgumentError("log", log.url, "an empty namespace")
    bulk = Bulk(log, tasks=tasks, seed=seed)
    bulk.begin()
    bulk.leave_open(pending)
    while not bulk.is_done:
        bulk.step()
    return BulkMade(tasks + pending, log.head().seq, dict(bulk.kinds))
