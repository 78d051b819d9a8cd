"""Workers that go on after they were asked to end: which, since when, and whether all do.

Nothing is ended here: what comes of it is the lookout's to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from operator import attrgetter

from eventq.runner.attempt import Attempt
from eventq.runner.news import logger

# A worker that looks at its context has this long to do so before it counts as stuck.
PATIENCE_S = 1.0
# How often to repeat that no worker is left.
REPEAT_S = 60.0
# So many tasks are named.
NAMED_COUNT = 20

ONE_STUCK = "worker stuck: task %(task)s goes on %(since_s)s s after it was told to end"
ALL_STUCK = "all %(workers)s workers are stuck, so no task can be run: %(tasks)s"


class StuckWatch:
    """Watches the attempts that keep a worker without a lease.

    ``most_s`` is how long all workers may be stuck; None for any time.
    """

    def __init__(self, *, workers: int, most_s: float | None) -> None:
        self.workers = workers
        self._most_s = most_s
        self.strays: list[Attempt] = []
        """Those that go on without a lease, for the longest time first."""
        # Since when no worker is left, and when that was last said.
        self._all_s: float | None = None
        self._said_s: float | None = None

    @property
    def is_total(self) -> bool:
        """Whether all workers were stuck at the last look."""
        return self._all_s is not None

    def look(self, strays: Collection[Attempt], now_s: float) -> bool:
        """Logs what is new; True once all workers have been stuck for longer than ``most_s``."""
        # An isolated one is killed soon.
        found = [
            stray
            for stray in strays
            if stray.begun_s is not None and stray.outcome is None and stray.work.isolated is None
        ]
        for attempt in found:
            attempt.stray_s = min(attempt.stray_s, now_s)
        self.strays = sorted(found, key=attrgetter("stray_s"))
        stuck = [attempt for attempt in self.strays if now_s - attempt.stray_s >= PATIENCE_S]
        for attempt in stuck:
            if not attempt.reported:
                attempt.reported = True
                values: dict[str, object] = {
                    "task": attempt.task.key,
                    "attempt": attempt.task.attempt,
                    "since_s": _since_s(attempt, now_s),
                }
                logger.warning(ONE_STUCK, values, extra=values)
        if len(stuck) < self.workers:
            self._all_s = self._said_s = None
            return False
        self._all_s = self.strays[-1].stray_s if self._all_s is None else self._all_s
        if self._said_s is None or now_s - self._said_s >= REPEAT_S:
            self._said_s = now_s
            named = [f"{a.task.key} ({_since_s(a, now_s)} s)" for a in stuck[:NAMED_COUNT]]
            values = {"workers": self.workers, "tasks": ", ".join(named)}
            logger.warning(ALL_STUCK, values, extra=values)
        return self._most_s is not None and now_s - self._all_s >= self._most_s

    def pause_s(self, now_s: float) -> float:
        """Seconds until `look` may report something; infinite when nothing is stuck."""
        return max(0.001, min(self._dues(), default=float("inf")) - now_s)

    def _dues(self) -> Iterator[float]:
        for attempt in self.strays:
            if not attempt.reported:
                yield attempt.stray_s + PATIENCE_S
        if self._said_s is not None:
            yield self._said_s + REPEAT_S
        if self._all_s is not None and self._most_s is not None:
            yield self._all_s + self._most_s


def _since_s(attempt: Attempt, now_s: float) -> float:
    return round(now_s - attempt.stray_s, 1)
