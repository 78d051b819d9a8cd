"""Every argument of the library with every value: a typed error that names it, or it is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from eventq import Backoff, Cancel, Fail, Handlers, Queue, Retry, Snooze, TaskSpec
from eventq.audit import flow_at, parse_expression, story
from eventq.catalog.selector import Selector
from eventq.errors import EventqError
from eventq.eventlog import open_log
from eventq.replay.points import Point, find_point
from eventq.sandbox import attempted_keys, whatif
from tests.checker import check_log
from tests.web.desk import fill
from tools.hostile.signatures import Target, methods_of, target_of
from tools.hostile.values import VALUES, OwnError

KEY = "img/0"
# Good values of what must be given, by the argument's name.
GOOD: dict[str, Any] = {
    "key": KEY,
    "name": "mail.send",
    "tasks": [{"n": 1}],
    "tags": {"n": 1},
    "task": KEY,
    "change": 2,
    "number": 2,
    "query": "SELECT 1",
    "spec": "* * * * *",
    "interval": "1h",
    "wait": "1s",
    "step": "1s",
    "first": "1s",
    "delay": "1s",
    "per": "tenant",
    "url": "memory://",
    "value": "end",
    "text": "task.state == 'ready'",
    "kinds": None,
    "handler": TaskSpec({"n": 1}),
    "running": 1,
    "function": len,
    "since": "2026-01-01T00:00:00+00:00",
}
# They run until they are told to stop, or end the queue that all others are called on.
LEFT_OUT = {"queue.close", "queue.stop", "queue.events", "queue.run", "queue.wait"}
# What takes parts of eventq itself, or of the program's, not values.
NO_VALUES = {"log", "clock", "chance", "anchors", "now", "point", "progress", "argument"}
POINTS = {("whatif", "after"), ("whatif", "until"), ("attempted_keys", "at")}
# Taken at its word it would run until a signal.
ENDLESS = {("Queue.run", "until", "none")}


class Api:
    """A queue with a past, and all that can be called with a value."""

    def __init__(self, folder: Path) -> None:
        self.queue = Queue(f"sqlite:///{folder}/api.db", workers=1, max_retries=0)
        fill(self.queue)
        self._good = {**GOOD, "log": self.queue.log, "now": 2**50, "worker": lambda *_: None}
        self._good["point"] = find_point(self.queue.log, "end", now=2**50)
        self._good |= {
            "at": self._good["point"],
            "after": Point(1, 0),
            "until": self._good["point"],
        }
        self.targets = [each for each in self._targets() if each.name not in LEFT_OUT]
        self.cases = [
            (target, argument, value)
            for target in self.targets
            for argument, value in product((*target.positional, *target.named), VALUES)
            if argument not in NO_VALUES and (target.name, argument) not in POINTS
            if (target.name, argument, value) not in ENDLESS
        ]

    def play(self, number: int) -> Counter[str]:
        """Calls one target with one value. Raises AssertionError for an error of another kind."""
        target, argument, value = self.cases[number]
        try:
            self._use(target, argument, VALUES[value])
        except OwnError:
            return Counter(["the value's own error"])
        except Exception as error:
            words = str(error)
            is_ours = isinstance(error, EventqError) and words.isprintable()
            if not is_ours and not (
                isinstance(error, TypeError | ValueError) and argument in words
            ):
                raise AssertionError(f"{target.name}({argument}={value}): {error!r}") from error
            return Counter(["an error of eventq" if is_ours else "an error that names it"])
        return Counter(["taken"])

    def check(self) -> None:
        """Raises AssertionError where the log is not good, or the queue takes no task."""
        check_log(self.queue.log)
        self.queue.new({"n": 0})

    def close(self) -> None:
        """Ends the queue."""
        self.check()
        self.queue.close()

    def _use(self, target: Target, argument: str, value: object) -> None:
        result = target.with_value(argument, value, self._good.__getitem__)
        if isinstance(result, Iterator):
            next(result, None)
        if hasattr(result, "__enter__"):
            with result:
                pass
        if not isinstance(result, Exception):
            repr(result)

    def _wait(self, key: Any, **options: Any) -> object:  # noqa: ANN401 - the matrix's
        return self.queue.wait(key, **{"timeout": 0, **options})

    def _targets(self) -> Iterator[Target]:
        queue = self.queue
        yield from methods_of("queue", queue, Queue)
        yield target_of("Queue.run", _run, Queue.run)
        yield target_of("Queue.wait", self._wait, Queue.wait)
        yield target_of("Queue", _opened, Queue.__init__)
        yield from methods_of(
            "schedules[]", queue.schedules["check_mail"], type(queue.schedules["check_mail"])
        )
        for name in ("task", "cron", "every", "follow", "limit", "fair"):
            yield target_of(f"Handlers.{name}", _registering(name), getattr(Handlers, name))
        for name in ("constant", "linear", "exponential"):
            yield target_of(f"Backoff.{name}", getattr(Backoff, name), getattr(Backoff, name))
        for outcome in (Retry, Snooze, Cancel, Fail):
            yield target_of(outcome.__name__, outcome, outcome.__init__)
        yield target_of("TaskSpec", TaskSpec, TaskSpec.__init__)
        yield target_of("Selector.parse", Selector.parse, Selector.parse)
        yield target_of("open_log", open_log, open_log)
        for function in (find_point, flow_at, story, parse_expression, attempted_keys, whatif):
            yield target_of(function.__name__, function, function)


def _opened(**options: Any) -> None:  # noqa: ANN401 - whatever the matrix holds
    with Queue(**{"url": "memory://", **options}) as queue:
        queue.new({"n": 1})


def _run(**options: Any) -> object:  # noqa: ANN401 - as above
    with Queue("memory://", max_retries=0) as queue:
        queue.new({"n": 1})
        return queue.run(**{"worker": _handler, "until": "idle", "signals": False, **options})


def _registering(name: str) -> Callable[..., object]:
    """Defines something in a new collection, and binds that to a queue."""

    def register(*args: Any, **options: Any) -> object:  # noqa: ANN401 - as above
        handlers = Handlers()
        made = getattr(handlers, name)(*args, **options)
        if callable(made):
            made(_handler)
        with Queue("memory://", handlers=[handlers]) as queue:
            return list(queue.handlers)

    return register


def _handler(*_args: object) -> None:
    """Does nothing."""
