"""Who hears what attempts tell, at the moments when that changes hands."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import pytest

from eventq import Queue
from eventq.core.events import Progressed
from eventq.handlers.telling import Telling
from eventq.runner.hearing import Hearing


class HookedLock:
    """A lock that calls a function right after it was given back, once."""

    def __init__(self, after: Callable[[], object]) -> None:
        self._lock = threading.Lock()
        self._after = after

    def __enter__(self) -> None:
        """Takes the lock."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Gives it back."""
        self._lock.release()
        after, self._after = self._after, lambda: None
        after()


@pytest.fixture
def telling() -> Telling:
    """What an attempt has told first."""
    with Queue("memory://") as queue:
        telling = Telling(queue.new())
    tell(telling, 1)
    return telling


def tell(telling: Telling, done: int) -> None:
    """Tells how far the attempt has come, as its worker does."""
    telling.progress = Progressed(telling.fence, done=done)
    telling.is_waiting = True


def bodies(hearing: Hearing, now_s: float) -> list[object]:
    """What a commit would take along."""
    found = hearing.take(now_s, most_events=10, most_bytes=10_000)
    return [body for each in found for body in each.bodies]


def test_a_word_that_comes_as_the_last_one_is_settled_is_taken_once(telling: Telling) -> None:
    """Right after it was found that nothing is left, and before the attempt is left out for it."""
    hearing = Hearing(lambda: None)
    hearing.hear(telling)
    heard = hearing.take(0.0, most_events=10, most_bytes=10_000)

    def tell_more() -> None:
        tell(telling, 2)
        hearing.hear(telling)

    telling.lock = HookedLock(tell_more)  # type: ignore[assignment]
    hearing.settle(heard, 0.0)

    assert bodies(hearing, 1.0) == [Progressed(telling.fence, done=2)]


def test_a_word_that_comes_as_a_next_run_takes_over_is_heard_there(telling: Telling) -> None:
    """It was on its way to the run before, and reaches that when all has been taken from it."""
    earlier, later = Hearing(lambda: None), Hearing(lambda: None)

    class TakenOver(deque[Telling]):
        """It is taken from right before something is added."""

        def append(self, each: Telling, /) -> None:
            """See deque.append."""
            later.take_over(earlier)
            super().append(each)

    earlier._new = TakenOver()
    earlier.hear(telling)

    assert bodies(later, 0.0) == [Progressed(telling.fence, done=1)]
