"""How many tasks to hold: fast ones in blocks, slow ones only into free slots."""

from __future__ import annotations

# Work held ahead, in seconds. Long enough to hide a commit, short enough that a new task of
# higher priority, or another process with free workers, hardly waits for it.
AHEAD_S = 0.010
# Half of a commit's events: the other half is for the outcomes of the tasks before.
BLOCK = 500
# Weight of the newest measurement in the running mean.
NEWEST = 0.3


class Pace:
    """Measures task times and says how many tasks to hold beyond the free workers."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._mean_s: float | None = None
        self.stalled = False
        """The executor does not start what it is given: nothing more is wanted until it does."""

    def want(self, free: int) -> int:
        """How many more tasks to lease when so many workers are free, or fewer than none."""
        return 0 if self.stalled else min(BLOCK, max(0, free + self.ahead()))

    def measure(self, total_s: float, count: int) -> None:
        """Takes in that ``count`` tasks took ``total_s`` seconds altogether."""
        mean_s = total_s / count
        if self._mean_s is None or mean_s > self._mean_s:
            # Slower than thought: believed at once, since holding too many hurts others.
            self._mean_s = mean_s
        else:
            self._mean_s += NEWEST * (mean_s - self._mean_s)

    def ahead(self) -> int:
        """How many tasks to hold that no worker is free for; 0 before the first measurement."""
        if self._mean_s is None:
            return 0
        if self._mean_s * BLOCK * 2 <= AHEAD_S * self._workers:
            return BLOCK * 2
        return int(AHEAD_S * self._workers / self._mean_s)
