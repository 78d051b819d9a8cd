"""The context of an attempt in its own process: what it cannot do there, its parent does.

Whether to go on is known here, without asking: the parent says so as soon as it knows.
"""

from __future__ import annotations

import itertools
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import msgspec
from msgspec import Raw

from eventq.core.commits import encode_bodies
from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.errors import ArgumentError
from eventq.handlers.context import AsyncContext, Context
from eventq.handlers.telling import FIRST_S, PLAIN_SETTING, Setting, Telling
from eventq.host.clock import SystemClock
from eventq.runner.isolation.messages import Answer, Channel, ContextCall, Start


class ParentLine:
    """Calls to the parent, and its answers; any thread may call."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._waiting: dict[int, SimpleQueue[Answer]] = {}

    def call(self, method: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
        """Has the parent call a method of the context, and waits for what it returns.

        Raises ArgumentError with the problem that the parent had. A parent that is gone never
        answers: then this process is on its way out.
        """
        number, box = next(self._numbers), SimpleQueue[Answer]()
        self._waiting[number] = box
        self._channel.send(ContextCall(number, method, Raw(msgspec.json.encode(arguments))))
        answer = box.get()
        if answer.problem is not None:
            raise ArgumentError(method, arguments, answer.problem)
        return msgspec.json.decode(answer.value)

    def tell(self, method: str, arguments: dict[str, Any]) -> None:
        """Has the parent call a method of the context; nothing comes back."""
        self._channel.send(ContextCall(0, method, Raw(msgspec.json.encode(arguments))))

    def take(self, answer: Answer) -> None:
        """For the thread that listens: hands an answer to whoever waits for it."""
        self._waiting.pop(answer.number).put(answer)


class IsolatedContext(Context):
    """The context of an attempt that runs in a process of its own."""

    __slots__ = ("_later", "_line")

    def __init__(self, start: Start, line: ParentLine, *, keeps_level: int | None) -> None:
        policy = start.policy or PLAIN_SETTING.policy
        results = {key: bytes(text) for key, text in start.results.items()}
        setting = Setting(policy, keeps_level, self._forward, results=results)
        super().__init__(start.task, SystemClock(), setting)
        self._line = line
        self._later: threading.Timer | None = None
        self._take_deadline(start.deadline_at, start.remaining_us)

    def extend(self, by: Duration | None = None) -> None:
        """See Context.extend."""
        self.check()
        by_us = None if by is None else parse_duration(by, "by")
        self._take_deadline(*self._line.call("extend", {"by_us": by_us}))

    def _forward(self, telling: Telling) -> None:
        """Hands on what the attempt tells, under its lock; what comes right behind, a moment later.

        What is left at its end goes with its outcome.
        """
        telling.is_waiting = False
        if telling.saved is not None or self._clock.monotonic() >= telling.from_s:
            self._hand_on(telling)
        elif self._later is None:
            # It may be the last word for long. Where no thread can be had, the next takes it along.
            with suppress(RuntimeError):
                timer = threading.Timer(FIRST_S, self._hand_on_later, (telling,))
                timer.daemon = True
                timer.start()
                self._later = timer

    def _hand_on(self, telling: Telling) -> None:
        bodies = telling.bodies()
        self._line.tell("tell", {"bodies": encode_bodies(list(bodies))})
        telling.forget(bodies)
        telling.from_s = self._clock.monotonic() + FIRST_S

    def _hand_on_later(self, telling: Telling) -> None:
        # Without its parent there is nobody left to tell.
        with telling.lock, suppress(OSError):
            self._later = None
            if not telling.is_over and telling.bodies():
                self._hand_on(telling)

    def become_async(self) -> None:
        """See Context.become_async."""
        self.__class__ = AsyncIsolatedContext

    def expire(self) -> None:
        """Its deadline has passed, by the parent's clock."""
        self.deadline_s = self._clock.monotonic()

    def _take_deadline(self, at: int | None, remaining_us: int | None) -> None:
        self._deadline_at = at
        if remaining_us is not None:
            self.deadline_s = self._clock.monotonic() + remaining_us / SECOND_US


class AsyncIsolatedContext(IsolatedContext, AsyncContext):
    """The same for an ``async def`` handler."""

    __slots__ = ()
