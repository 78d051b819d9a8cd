"""When a relay looks, where nothing tells it of commits."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from eventq.contrib.outbox.relay import Relay
from tests.support import wait_until


class LookedAt:
    """An outbox with one committed row, and a count of how often a relay has looked at it."""

    def __init__(self) -> None:
        self.place = SimpleNamespace(watch=lambda _: None, shown="an outbox")
        self.count = 0

    def visit(self, work: Callable[[LookedAt], object]) -> None:
        """See Source.visit."""
        work(self)

    def check(self) -> None:
        """See OutboxStore.check."""

    def relay(self, _limit: int, _append: object) -> int:
        """See OutboxStore.relay."""
        self.count += 1
        return int(self.count == 1)


def test_a_row_that_is_found_ends_no_search_for_others() -> None:
    """Their transactions may still be open."""
    outbox = LookedAt()
    relay = Relay(outbox, poll_s=3_600.0)  # type: ignore[arg-type]

    relay.expect()
    relay.start()
    wait_until(lambda: outbox.count > 4)
    relay.stop()

    assert not relay.is_alive()
