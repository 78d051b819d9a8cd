"""When a running node writes snapshots by itself: in a thread of its own, so that no work waits.

A snapshot that cannot be written is logged as a warning; the run goes on.
"""

from __future__ import annotations

import threading

from eventq.core.projection import Projection
from eventq.errors import EventqError
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.snapshot import put, take
from eventq.snapshot.keeping import newest_seq

logger = SafeLogger("eventq.runner")

# Events since the newest snapshot after which a node that is idle writes one: they take a second
# or two to replay.
IDLE_EVENTS = 100_000
# After so many it does so all the same: some queues are never idle, and need it most.
BUSY_EVENTS = 1_000_000


class SnapshotKeeper:
    """Watches how far one node's log has gone beyond its newest snapshot.

    There are never fewer events between two snapshots than there are open tasks in one, so that
    all of them together stay small against the log.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        # Behind which there is nothing to do; the thread learns where the newest one is.
        self._newest_seq = 0
        self.thread: threading.Thread | None = None

    def look(self, projection: Projection, *, idle: bool) -> None:
        """Has a snapshot written if one is due. Costs nothing otherwise."""
        events = IDLE_EVENTS if idle else BUSY_EVENTS
        if self._is_due(projection, events):
            if self.thread is not None and self.thread.is_alive():
                return
            thread = threading.Thread(
                target=self._run, args=(events,), name="eventq-snapshot", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                # The system gives no more threads. The next try comes after as many events more.
                logger.warning("no snapshot written", extra={"error": str(error)})
                self._newest_seq = projection.seq
            else:
                self.thread = thread

    def stop(self) -> None:
        """Waits for the one that is being written; may come twice."""
        if self.thread is not None:
            self.thread.join()

    def _is_due(self, projection: Projection, events: int) -> bool:
        behind = projection.seq - self._newest_seq
        return behind >= max(events, len(projection.tasks)) and projection.unknown is None

    def _run(self, events: int) -> None:
        try:
            self._write_if_due(events)
        except EventqError as error:
            logger.warning("no snapshot written", extra={"error": str(error)})
        except Exception:
            logger.exception("no snapshot written")

    def _write_if_due(self, events: int) -> None:
        log = self._node.log
        # Another node may have written one, which is as good.
        found_seq = newest_seq(log)
        with self._node.reading(as_left=True) as projection:
            self._newest_seq = found_seq
            if not self._is_due(projection, events):
                return
            snapshot = take(projection)
            # Also when it fails: the next try comes after as many events more.
            self._newest_seq = snapshot.seq
        entry = put(log, snapshot, now=self._node.now())
        logger.info("snapshot written", extra={"seq": entry.seq, "bytes": entry.size_bytes})
