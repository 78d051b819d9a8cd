"""The pulse of a live queue: one thread looks at the log for all pages that watch.

It says where the log ends and how many tasks are in each state; pages ask for the rest themselves.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from msgspec import Struct

from eventq.errors import EventqError
from eventq.host.bell import Bell
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.replay.query import state_counts

logger = SafeLogger("eventq.web")

# Without an append, tasks become ready all the same.
LOOK_S = 1.0
# Between two beats: quick enough for an eye, and seldom enough for the machine.
REST_S, WATCHER_REST_S, MOST_REST_S = 0.1, 0.005, 0.25
MOST_WATCHERS = 100
# A page rests so long at least, and all of them together look once in so long.
REST_MS, LOOK_MS = 1_000, 100


class Beat(Struct, frozen=True):
    """What pages are told."""

    seq: int
    at: int
    counts: dict[str, int]
    problem: str | None = None
    """Why the log cannot be read now."""
    rest_ms: int = REST_MS
    """How long a page is to rest between two looks: the longer, the more pages there are."""


class Watcher:
    """One open page. It sees the newest beat, and misses those in between."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.beat: Beat | None = None
        self._loop = loop
        self._news = asyncio.Event()

    def tell(self, beat: Beat) -> None:
        """Says something new, from any thread."""
        self.beat = beat
        self.wake()

    def wake(self) -> None:
        """Ends its wait, though there is nothing new."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    async def next(self, timeout_s: float) -> Beat | None:
        """The newest beat, once there is one that was not seen; None when time is up."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return None
        self._news.clear()
        return self.beat


class Pulse:
    """Beats while anybody watches."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._watchers: set[Watcher] = set()
        self._thread: threading.Thread | None = None
        self._bell = Bell()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether it beats no more."""
        return self._closed

    def join(self, watcher: Watcher) -> bool:
        """Has somebody watch; False where too many do."""
        with self._lock:
            if self._closed or len(self._watchers) >= MOST_WATCHERS:
                return False
            self._watchers.add(watcher)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="eventq-console-pulse", daemon=True
                )
                self._thread.start()
        self._bell.ring()
        return True

    def leave(self, watcher: Watcher) -> None:
        """Somebody watches no more; may come twice."""
        with self._lock:
            self._watchers.discard(watcher)
        self._bell.ring()

    def end(self) -> None:
        """Ends all streams, and begins no other; may come twice, from any thread."""
        with self._lock:
            self._closed = True
            watchers, self._watchers = self._watchers, set()
        for watcher in watchers:
            watcher.wake()
        self._bell.ring()

    def close(self) -> None:
        """Ends it, and waits until it has ended; may come twice."""
        self.end()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        try:
            watch = self._node.log.watch(self._bell.ring)
        except EventqError as error:
            self._give_up(error)
            return
        last: Beat | None = None
        try:
            while self._goes_on():
                beat = self._look()
                if last is None or _is_news(last, beat):
                    last = beat
                    self._publish(beat, lambda _watcher: True)
                else:
                    newest = last
                    self._publish(newest, lambda watcher: watcher.beat is None)
                time.sleep(self._rest_s())
                self._bell.wait(LOOK_S)
        finally:
            watch.close()

    def _give_up(self, error: EventqError) -> None:
        """The log is lost: all who watch are told; the next who comes has it looked for again."""
        beat = _lost(error)
        with self._lock:
            self._thread = None
        self._publish(beat, lambda _watcher: True)

    def _rest_s(self) -> float:
        """The more pages there are, the less often all of them are told."""
        return min(MOST_REST_S, REST_S + WATCHER_REST_S * len(self._watchers))

    def _goes_on(self) -> bool:
        """Whether anybody watches; if not, the next one begins a new thread."""
        with self._lock:
            if not self._watchers:
                self._thread = None
            return bool(self._watchers)

    def _publish(self, beat: Beat, wants: Callable[[Watcher], bool]) -> None:
        with self._lock:
            watchers = [watcher for watcher in self._watchers if wants(watcher)]
        for watcher in watchers:
            watcher.tell(beat)

    def _look(self) -> Beat:
        try:
            with self._node.reading() as projection:
                now = self._node.now()
                counts = state_counts(projection, now=now)
                rest_ms = max(REST_MS, LOOK_MS * len(self._watchers))
                return Beat(projection.seq, now, counts, rest_ms=rest_ms)
        except EventqError as error:
            return _lost(error)


def _lost(error: EventqError) -> Beat:
    """That the log cannot be read, which is logged as well."""
    logger.warning("the log cannot be read", extra={"error": str(error)})
    return Beat(0, 0, {}, str(error))


def _is_news(last: Beat, beat: Beat) -> bool:
    return (last.seq, last.counts, last.problem) != (beat.seq, beat.counts, beat.problem)
