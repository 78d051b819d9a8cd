"""The relays of outboxes that a run has beside its attempts, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from eventq.errors import ArgumentError
from eventq.host.surroundings import in_thread

if TYPE_CHECKING:
    from eventq.runner.runner import RunReport
    from eventq.runner.slot import RunSlot


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
    outboxes: list[Relayed],
    run: Callable[[], RunReport],
    slot: RunSlot,
    *,
    until_idle: bool,
) -> RunReport:
    """Runs beside the relays; until idle, also what their outboxes held then, and hold at its end.

    Other relays may take those rows meanwhile, and only a run then finds their tasks: so it is idle
    once neither a relay nor the run behind it had anything to do.
    """
    if not until_idle:
        with ExitStack() as stack:
            for outbox in outboxes:
                stack.enter_context(outbox.relaying())
            return run()
    _relay(outboxes)
    report, is_idle = run(), False
    while not is_idle and not slot.was_stopped:
        count, later = _relay(outboxes), run()
        report, is_idle = report.plus(later), not count and later.is_empty
    return report


async def await_with_relays(
    outboxes: list[Relayed],
    run: Callable[[], Awaitable[RunReport]],
    slot: RunSlot,
    *,
    until_idle: bool,
) -> RunReport:
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
    report, is_idle = await run(), False
    while not is_idle and not slot.was_stopped:
        count, later = await in_thread(_relay, outboxes), await run()
        report, is_idle = report.plus(later), not count and later.is_empty
    return report


def _relay(outboxes: list[Relayed]) -> int:
    return sum(outbox.relay() for outbox in outboxes)
