"""Ends spans in a thread of its own, so that no attempt waits for a processor or an exporter."""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable

from eventq.host.logger import SafeLogger

logger = SafeLogger("eventq.contrib.otel")

# So much waits for an exporter that hangs; what comes then is dropped.
MOST_WAITING = 10_000
# Spans that end together are worked on together: each time costs the workers a turn.
PAUSE_S = 0.05
# How often is told that some are dropped.
TELL_EVERY_S = 60.0
# At the end of the process.
LAST_S = 5.0


class SpanEnding:
    """What is to be done with spans, in order; dropped where it gets too much."""

    def __init__(self) -> None:
        self.dropped_count = 0
        self._due: deque[Callable[[], object]] = deque()
        self._awake = threading.Event()
        self._over = threading.Event()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._told_s = -math.inf

    def put(self, work: Callable[[], object]) -> None:
        """Has the thread do this soon. Neither waits nor raises."""
        if len(self._due) >= MOST_WAITING:
            self._drop()
            return
        self._due.append(work)
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._begin()
        if not self._awake.is_set():
            self._awake.set()

    def flush(self, timeout_s: float = LAST_S) -> bool:
        """Waits until all that was put is done; returns whether it is."""
        done = threading.Event()
        if self._due or (self._thread is not None and self._thread.is_alive()):
            self.put(done.set)
            return done.wait(timeout_s)
        return True

    def close(self) -> None:
        """Flushes, and ends the thread; what is put later begins another one."""
        self.flush()
        self._over.set()
        self._awake.set()
        with self._guard:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(PAUSE_S)
        atexit.unregister(self.flush)

    def _drop(self) -> None:
        """Counts what is dropped, and tells it from here: the thread may hang for ever."""
        self.dropped_count += 1
        now_s = time.monotonic()
        if now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            self._tell_dropped()

    def _tell_dropped(self) -> None:
        values, self.dropped_count = {"count": str(self.dropped_count)}, 0
        logger.warning("%(count)s spans were dropped: exporting is slow", values, extra=values)

    def _begin(self) -> None:
        """Starts the thread; anew in a forked child."""
        with self._guard:
            if self._thread is not None and self._thread.is_alive():
                return
            if self._process != os.getpid():
                # All but what was just put is the parent's, which ends it there.
                self._process, last = os.getpid(), self._due.pop()
                self._due.clear()
                self._due.append(last)
            self._over, self._awake = threading.Event(), threading.Event()
            arguments = (self._over, self._awake)
            thread = threading.Thread(
                target=self._run, args=arguments, name="eventq-spans", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                # The interpreter ends, or there are too many: the next one tries again.
                return
            if self._thread is None:
                # Before the SDK's own, which was registered earlier.
                atexit.register(self.flush)
            self._thread = thread

    def _run(self, over: threading.Event, awake: threading.Event) -> None:
        while not over.is_set():
            awake.wait()
            over.wait(PAUSE_S)
            awake.clear()
            while self._due:
                try:
                    self._due.popleft()()
                except Exception as error:  # noqa: BLE001 - a processor's fault ends no tracing
                    values = {"error": str(error)}
                    logger.warning("a span was lost: %(error)s", values, extra=values)
            if self.dropped_count:
                self._tell_dropped()
