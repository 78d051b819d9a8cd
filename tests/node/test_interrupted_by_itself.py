"""A signal handler that calls the queue in whose call it strikes."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from eventq.core.commits import Commit
from eventq.errors import EventqError
from tests.support import HookedLog, queue_on


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("call", ["new", "stats"])
@pytest.mark.timeout(60)
def test_a_handler_that_calls_the_queue_is_refused_instead_of_waiting_for_itself(call: str) -> None:
    """The call that was struck is made all the same, and so is a later one."""
    log = HookedLog()
    queue = queue_on(log)
    refused: list[str] = []

    def handle(*_: object) -> None:
        try:
            getattr(queue, call)()
        except EventqError as error:
            refused.append(str(error))

    def strike(_: Commit) -> None:
        signal.raise_signal(signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, handle)
    log.before_append = strike

    assert [queue.new().key, queue.new().key] == ["1", "2"]
    assert [text[:31] for text in refused] == ["this thread is in a call of thi"] * 2
