"""One process's way to the log that all share: it fails, lags, lies about outcomes, and conflicts.

The storage behind it is one and never fails; what a view did to it, the world writes down.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from eventq.core.commits import Commit
from eventq.errors import LogConflictError, LogOutcomeUnknownError, LogUnavailableError
from eventq.eventlog.contract import READ_EVENTS, Decide, Head, StoredEvent, Watch
from eventq.eventlog.memory import MemoryLog, MemoryShelf, MemorySnapshots
from tools.simulate.world import JUDGED, NAMESPACE, NodeDiedError, PlaceClock, World

# What is to happen at the next append of a view, once.
CONFLICT = "conflict"
DIE_BEFORE = "death before the append"
DIE_AFTER = "death after the append"
LOST_BEFORE = "append lost"
LOST_AFTER = "reply lost"
# Only at one that leases.
LOST_AND_AWAY = "reply lost, and the log away"
# It takes so long, by which a lease time may be over; others go on meanwhile.
DRAG = "an append takes long"
DRAGS_US = (300_000, 3_000_000, 40_000_000)
LEASED = re.compile(r'\{"kind":"leased"')
# How long it is then, in microseconds.
AWAY_US = 700_000

# Whoever has read so often since its last append, with others going on each time, reads on alone.
MOST_SLOW_READS = 200


class View(MemoryLog):
    """A log of one process."""

    def __init__(self, world: World, name: str, clock: PlaceClock, *, is_remote: bool) -> None:
        super().__init__(world.storage, url="memory://simulated", namespace=NAMESPACE)
        self.name = name
        self.armed: str | None = None
        """What happens at the next append."""
        self.away_until_us = 0
        """Until when nothing can be reached."""
        self.full_until_us = 0
        """Until when the disk is full."""
        self.frozen: Head | None = None
        """Where the log ends for a reader that lags, until it finds out."""
        self.storm_left = 0
        """So many appends from here on meet others."""
        self.is_slow = False
        """Reads return one commit at a time, and others go on in between."""
        self._slow_reads = 0
        self._world = world
        self._clock = clock
        self._is_remote = is_remote
        self.snapshots = CountedSnapshots(world, self._shelf)
        if is_remote:
            self.remote = RemoteView(self)

    def head(self) -> Head:
        """See EventLog.head."""
        self._reach()
        return self.frozen or super().head()

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        self._reach()
        if self.is_slow:
            self._world.sometimes["slow read"] += 1
            self._slow_reads += 1
            # Where each read brings more to read, nobody would ever append.
            if self._slow_reads <= MOST_SLOW_READS:
                self._world.interlope(self.name)
            limit = 1
        found = super().read(after=after, limit=limit)
        if self.frozen is not None:
            last = self.frozen.seq
            if found and found[-1].last > last:
                self._world.sometimes["stale read"] += 1
            return [commit for commit in found if commit.last <= last]
        return found

    def append_next(self, decide: Decide) -> Commit | None:
        """See EventLog.append_next: one that lets every writer through, and may conflict."""
        commit = decide(self.head())
        if commit is not None:
            self.append(commit)
        return commit

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        world = self._world
        self._reach()
        armed = self._take_armed(commit)
        if armed is None and (judged := JUDGED.search(commit.bodies[0])) and world.chance.one_in(2):
            world.rouse(judged[1])
        if armed is None and world.now_us >= self.full_until_us:
            self._append(commit)
            return
        if armed == DRAG:
            world.sometimes[DRAG] += 1
            world.now_us += world.chance.pick(DRAGS_US)
        if armed in {CONFLICT, DRAG}:
            world.interlope(self.name)
        elif armed in {DIE_BEFORE, LOST_BEFORE}:
            world.refused_ids.add(commit.id)
            world.sometimes[armed] += 1
            raise NodeDiedError if armed == DIE_BEFORE else LogOutcomeUnknownError(armed)
        if world.now_us < self.full_until_us:
            world.refused_ids.add(commit.id)
            world.sometimes["full disk"] += 1
            raise LogUnavailableError("the disk is full")
        self._append(commit)
        if armed in {DIE_AFTER, LOST_AFTER, LOST_AND_AWAY}:
            world.sometimes[armed] += 1
            if armed == LOST_AND_AWAY:
                # Nobody can read back what became of it.
                self.away_until_us = world.now_us + AWAY_US
            raise NodeDiedError if armed == DIE_AFTER else LogOutcomeUnknownError(armed)

    def _take_armed(self, commit: Commit) -> str | None:
        """What is to happen at this append."""
        armed = self.armed
        if armed == LOST_AND_AWAY and not any(map(LEASED.match, commit.bodies)):
            armed = None
        else:
            self.armed = None
        if armed is None and self.storm_left:
            armed, self.storm_left = CONFLICT, self.storm_left - 1
        return armed

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history."""
        self._reach()
        return super().history(task)

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys."""
        self._reach()
        return super().find_keys(keys)

    def caused_by(self, tasks: list[int]) -> dict[int, list[int]]:
        """See EventLog.caused_by."""
        self._reach()
        return super().caused_by(tasks)

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us: a log behind a network has one clock for all."""
        return -self._clock.ahead_us() if self._is_remote else 0

    def heal(self) -> None:
        """Takes all faults away."""
        self.armed = self.frozen = None
        self.away_until_us = self.full_until_us = 0
        self.storm_left = 0
        self.is_slow = False

    def _reach(self) -> None:
        if self._world.now_us < self.away_until_us:
            self._world.sometimes["unavailable"] += 1
            raise LogUnavailableError("the log is away")

    def _append(self, commit: Commit) -> None:
        # Whoever lags learns of it here.
        self.frozen = None
        try:
            super().append(commit)
        except LogConflictError:
            self._world.refused_ids.add(commit.id)
            self._world.sometimes["conflict"] += 1
            raise
        self._slow_reads = 0
        self._world.note_appended(commit, self.name)


class CountedSnapshots(MemorySnapshots):
    """Snapshots whose use is noted."""

    def __init__(self, world: World, shelf: Callable[[], MemoryShelf]) -> None:
        super().__init__(shelf)
        self._world = world

    def get(self, seq: int) -> bytes | None:
        """See Snapshots.get."""
        self._world.sometimes["fold from a snapshot"] += 1
        return super().get(seq)


class RemoteView:
    """What a view offers that stands for a log behind a network: a guess saves a question."""

    append_s = 0.0

    def __init__(self, view: View) -> None:
        self._view = view

    def append_next(self, decide: Decide, *, guess: Head, waits: bool = True) -> Commit | None:  # noqa: ARG002
        """See Remote.append_next."""
        commit = decide(guess)
        if commit is not None:
            self._view.append(commit)
        return commit

    def watch(self, wake: Callable[[], None], *, heard: Callable[[], bool]) -> Watch:  # noqa: ARG002
        """See Remote.watch."""
        return self._view.watch(wake)
