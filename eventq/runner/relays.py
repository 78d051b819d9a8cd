"""The relays of outboxes that a run has beside its attempts, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol, TypeVar, runtime_checkable

from eventq.errors import ArgumentError
from eventq.host.surroundings import in_thread

R = TypeVar("R")


@runtime_checkable
class Relayed(Protocol):
    """What a run relays: an outbox."""

    def relay(self) -> int:
        """Relays all that is committed now; returns how many rows it took."""

    def relaying(self) -> AbstractContextManager[None]:
        """Relays while the block lasts."""


def check_outboxes(outboxes: object) -> list[Relayed]:
    """The outboxes of a run. Raises ArgumentError."""
    found: list[Relayed] = []
    for each in outboxes if isinstance(outboxes, Iterable) else [outboxes]:
        if not isinstance(each, Relayed):
            raise ArgumentError("outboxes", each, "a list of eventq.contrib.Outbox")
        found.append(each)
    return found


def with_relays(
    outboxes: list[Relayed], run: Callable[[], R], join: Callable[[R, R], R], *, until_idle: bool
) -> R:
    """Runs beside the relays; until idle, also what their outboxes held then, and hold at its end.

    ``join`` makes one report of two.
    """
    if not until_idle:
        with ExitStack() as stack:
            for outbox in outboxes:
                stack.enter_context(outbox.relaying())
            return run()
    _relay(outboxes)
    report = run()
    while _relay(outboxes):
        report = join(report, run())
    return report


async def await_with_relays(
    outboxes: list[Relayed],
    run: Callable[[], Awaitable[R]],
    join: Callable[[R, R], R],
    *,
    until_idle: bool,
) -> R:
    """As `with_relays`, in an event loop."""
    if not until_idle:
        stack = ExitStack()
        try:
            for outbox in outboxes:
                await in_thread(stack.enter_context, outbox.relaying())
            return await run()
        finally:
            await in_thread(stack.close)
    await in_thread(_relay, outboxes)
    report = await run()
    while await in_thread(_relay, outboxes):
        report = join(report, await run())
    return report


def _relay(outboxes: list[Relayed]) -> int:
    return sum(outbox.relay() for outbox in outboxes)
