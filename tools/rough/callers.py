"""Those who call for tasks: what they ask is drawn, and what they are told is written down."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import eventq
from tools.rough.waiting import wait_for
from tools.rough.worker import Journal

CALLERS = 4
GAP_S = 0.03
# So often all callers ask for the same at the same moment.
RUSH_S = 0.3
COME_BACK_S = 1.0
PAUSE_S = 0.4
MEND_S = 1.5


class Callers:
    """Threads that ask one queue for all sorts of things, and write down what they were told."""

    def __init__(self, queue: eventq.Queue, journal: Journal, *, name: str = "c") -> None:
        """``name`` begins the IDs of calls, which no other callers of the log may have."""
        self.broken: list[str] = []
        """What no caller should ever be told."""
        self._journal = journal
        self._name = name
        self._queue = queue
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._calls = self._numbers = 0
        self._keys: list[str] = []
        self._threads = [
            threading.Thread(target=self._go_on, args=(random.Random(f"{name}{number}"),))
            for number in range(CALLERS)
        ]

    def start(self) -> None:
        """Starts them."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends them."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def next(self) -> int:
        """A number that no other task has in its tags."""
        self._numbers -= 1
        return self._numbers

    def make(self, tags: dict[str, Any], **options: Any) -> eventq.Task | None:  # noqa: ANN401
        """One call for a task, written down."""
        asked = {"op": "new", "tags": tags, "key": options.get("key")}
        asked["unique"] = "unique" in options
        made = self._told([asked], lambda: [self._queue.new(tags, name="does", **options)])
        return made[0] if made else None

    def _go_on(self, chance: random.Random) -> None:
        asks = [
            *[self._plain] * 4,
            self._governed,
            self._governed,
            self._linked,
            self._linked,
            self._keyed,
            self._unique,
            self._flow,
            self._manage,
            self._manage,
            self._come_back,
            self._mend,
        ]
        rushed = 0
        while not self._is_over.wait(chance.random() * 2 * GAP_S):
            rush = int(time.monotonic() / RUSH_S)
            try:
                if rush > rushed:
                    rushed = rush + 1
                    time.sleep((rush + 1) * RUSH_S - time.monotonic())
                    self._rush(rush)
                else:
                    chance.choice(asks)(chance)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is to be reported
                self.broken.append(f"{type(error).__name__}: {error}")

    def _told(
        self, asked: list[dict[str, Any]], ask: Callable[[], list[eventq.Task]]
    ) -> list[eventq.Task]:
        with self._lock:
            names = [f"{self._name}{self._calls + index}" for index in range(len(asked))]
            self._calls += len(asked)
        for name, each in zip(names, asked, strict=True):
            self._journal.write("call", call=name, state="invoked", **each)
        state, made = "ok", []
        try:
            made = ask()
        except eventq.LogOutcomeUnknownError:
            state = "unknown"
        except (eventq.KeyConflictError, eventq.DuplicateTaskError, eventq.NotAllowedError):
            state = "failed"
        except eventq.LogUnavailableError:
            self._answer(names, "failed", made)
            raise
        self._answer(names, state, made)
        self._keys += [task.key for task in made]
        return made

    def _answer(self, names: list[str], state: str, made: list[eventq.Task]) -> None:
        for place, name in enumerate(names):
            task = {"task": made[place].number} if made else {}
            self._journal.write("call", call=name, state=state, **task)

    def _tags(self, chance: random.Random, what: str | None = None) -> dict[str, Any]:
        kinds = ("does", "does", "fails", "hopeless", "snoozes", "makes", "calls")
        return {"what": what or chance.choice(kinds), "number": chance.randrange(10**9)}

    def _some(self, chance: random.Random) -> list[str]:
        known = self._keys[-30:]
        return list(dict.fromkeys(chance.choices(known, k=2))) if known else []

    def _plain(self, chance: random.Random) -> None:
        options: dict[str, Any] = {"priority": chance.randrange(3)}
        if chance.random() < 0.3:
            options["delay"] = chance.choice((0.1, 0.4, 1.0))
        options["max_retries"] = chance.randrange(4)
        if chance.random() < 0.2:
            options["max_age"] = chance.choice((0.5, 2.0))
            options.pop("delay", None)
        if chance.random() < 0.2:
            options["backoff"] = eventq.Backoff.exponential("20ms", cap="30ms")
        self.make(self._tags(chance), **options)

    def _governed(self, chance: random.Random) -> None:
        tags = {**self._tags(chance, chance.choice(("does", "fails"))), "host": chance.randrange(2)}
        options: dict[str, Any] = {"limits": [chance.choice(("two", "rated", "hosted"))]}
        if chance.random() < 0.3:
            options = {"exclusive": ["x"]}
        self.make(tags, max_retries=3, share=chance.choice(("big", "small", None)), **options)

    def _linked(self, chance: random.Random) -> None:
        if some := self._some(chance):
            self.make(
                self._tags(chance),
                after=some,
                if_failed=chance.choice(("cancel", "run")),
                max_retries=2,
            )

    def _keyed(self, chance: random.Random) -> None:
        # Twice the same, or something else; by several threads at a time.
        key = f"k{int(time.monotonic() * 10)}"
        self.make({"what": "does", "number": chance.randrange(2)}, key=key)

    def _unique(self, chance: random.Random) -> None:
        self.make(self._tags(chance), unique=f"u{chance.randrange(3)}", max_retries=2)

    def _flow(self, chance: random.Random) -> None:
        tags = [self._tags(chance) for _ in range(3)]
        ends = [{"what": "does", "number": chance.randrange(10**9)} for _ in range(2)]

        def ask() -> list[eventq.Task]:
            with self._queue.flow() as flow:
                first = flow.new(tags[0], name="does", max_retries=1)
                flow.new(tags[1], name="does", after=[first], max_retries=1)
                flow.new(tags[2], name="does", max_retries=1)
                flow.on_failure(ends[0], name="does")
                flow.finally_(ends[1], name="does")
            return flow.tasks

        self._told([{"op": "new", "tags": each} for each in (*tags, *ends)], ask)

    def _come_back(self, chance: random.Random) -> None:
        """What the end of a task has cancelled comes back with it, or by itself."""
        made = self.make(self._tags(chance, "hopeless"), max_retries=0, priority=5)
        keys: list[str] = []
        for _ in range(2):
            if made is not None:
                keys.append(made.key)
                made = self.make(self._tags(chance, "does"), after=[made])
        # Of one whose outcome is unknown there is no key.
        if made is None:
            return
        (first, second), last = keys, made.key
        wait_for(lambda: self._ended_at(last), COME_BACK_S)
        with suppress(eventq.NotAllowedError):
            if chance.random() < 0.5:
                self._queue.retry(second)
                self._queue.cancel(second)
            self._queue.retry(first)

    def _mend(self, chance: random.Random) -> None:
        """A member that has failed is mended before its flow is over, which then has no failure."""
        tags = [self._tags(chance, "fails"), self._tags(chance, "does"), self._tags(chance, "does")]

        def ask() -> list[eventq.Task]:
            with self._queue.flow() as flow:
                flow.new(tags[0], name="does", max_retries=0, priority=5)
                flow.new(tags[1], name="does", delay=MEND_S)
                flow.on_failure(tags[2], name="does")
            return flow.tasks

        made = self._told([{"op": "new", "tags": each} for each in tags], ask)
        for _ in range(2):
            if made:
                wait_for(lambda: self._ended_at(made[0].key), COME_BACK_S)
                with suppress(eventq.NotAllowedError):
                    self._queue.retry(made[0].key)

    def _ended_at(self, key: str) -> int | None:
        task = self._queue.get(key)
        return None if task is None else task.finished_at_us

    def _rush(self, number: int) -> None:
        """All callers come here at the same moment, so that they share a commit."""
        kind = number % 3
        if kind == 0:
            self.make({"what": "does", "number": number}, key=f"rush-{number}")
        elif kind == 1:
            self.make({"what": "does", "number": number}, unique="rush")
        elif self._keys:
            with suppress(eventq.NotAllowedError):
                self._queue.cancel(self._keys[-1])

    def _manage(self, chance: random.Random) -> None:
        keys = self._some(chance)
        by = f"{self._name}{self._calls}-{chance.randrange(10**9)}"
        asks: list[Callable[[], object]] = [
            lambda: self._queue.set_limit("two", running=1 + chance.randrange(2)),
            lambda: self._queue.pause(tags={"host": 1}, until=PAUSE_S),
            lambda: self._queue.pause(limit="two", until=PAUSE_S),
        ]
        if keys:
            old = chance.choice(self._keys[-150:])
            asks += [lambda: self._queue.cancel(keys[0], by=by)]
            asks += [lambda: self._queue.retry(old, by=by)] * 2
            asks += [lambda: self._queue.update(keys[0], priority=chance.randrange(3), by=by)]
        # Where the machine is slow, a pause would have ended before it begins.
        with suppress(eventq.NotAllowedError, eventq.ArgumentError):
            chance.choice(asks)()
