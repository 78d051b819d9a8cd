"""What goes wrong, one fault a step; and how all of it ends.

A fault strikes a host, its process, its view of the log, or a clock. Only `end` repairs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from eventq.archive import archive_events, delete_archived, find_end
from eventq.core.durations import SECOND_US
from eventq.core.places import Vacancy
from eventq.core.seal import seal_commit
from eventq.core.settle import Outcome, SettleAndLease
from eventq.core.values import NODE
from eventq.errors import ArgumentError, EventqError, LogUnavailableError
from eventq.eventlog.contract import Head
from eventq.eventlog.memory import MemoryLog
from eventq.replay.points import Point
from eventq.snapshot import put, take
from tools.folders import memory
from tools.simulate.folds import check_snapshot
from tools.simulate.hosts import Host
from tools.simulate.view import (
    CONFLICT,
    DIE_AFTER,
    DIE_BEFORE,
    DRAG,
    LOST_AFTER,
    LOST_AND_AWAY,
    LOST_BEFORE,
)
from tools.simulate.world import NodeDiedError, World

HOUR_US = 3_600 * SECOND_US
ARMED = (
    CONFLICT,
    CONFLICT,
    DIE_BEFORE,
    DIE_AFTER,
    LOST_BEFORE,
    LOST_AFTER,
    LOST_AND_AWAY,
    LOST_AND_AWAY,
    DRAG,
    DRAG,
)
# What all must know who lease.
RULED_NEWER = '{"kind":"ruled"}'
# A task that needs a word that nobody here knows.
CREATED_NEWER = (
    '{"kind":"created","policy":{"backoff":"linear","backoff_us":10000000},'
    '"tags":{},"needs":["wings"]}'
)


class Faults:
    """The faults of one simulation: those kinds that its seed has drawn."""

    def __init__(self, world: World, hosts: Sequence[Host], *, without: Collection[str]) -> None:
        self._world = world
        self._hosts = hosts
        kinds: list[Callable[[Host], None]] = [
            self._crash,
            self._stall,
            self._arm,
            self._arm,
            self._take_away,
            self._fill_disk,
            self._freeze,
            self._slow,
            self._jump,
            self._stop,
            self._snapshot,
            self._write_newer,
            self._archive,
            self._settle_twice,
            self._storm,
        ]
        self.foreign: list[int] = []
        """Positions of events that only a newer eventq knows."""
        self.has_newer_queue = False
        """One of them is about the queue: nobody here decides any more."""
        self.archive: tempfile.TemporaryDirectory[str] | None = None
        """Where archives are, once there is one."""
        # Few kinds at a time find more than all together: each then meets itself.
        drawn = world.chance.some(kinds, share=0.6) or kinds
        self._kinds = [kind for kind in drawn if kind.__name__[1:] not in without]
        self.names = sorted({kind.__name__[1:] for kind in self._kinds})

    def strike(self) -> None:
        """One fault."""
        chance = self._world.chance
        host = chance.pick(self._hosts)
        if self._kinds and host.process is not None:
            kind = chance.pick(self._kinds)
            self._world.happenings += 1
            self._world.tell(f"  fault: {kind.__name__[1:]} {host.name}")
            kind(host)

    def end(self) -> None:
        """Everything works from here on; clocks that are wrong stay so."""
        for host in self._hosts:
            host.stalled_until_us = 0
            host.starts_us = min(host.starts_us, self._world.now_us)
            if host.process is not None:
                host.process.view.heal()
                for executor in host.process.executors:
                    executor.hasten()
                host.process.wake(self._world.now_us)

    def close(self) -> None:
        """Takes the archives away."""
        if self.archive is not None:
            self.archive.cleanup()

    def _lasts_us(self) -> int:
        return int(self._world.chance.pick((0.4, 3.0, 40.0)) * SECOND_US)

    def _crash(self, host: Host) -> None:
        self._world.sometimes["crash"] += 1
        host.lose()

    def _stall(self, host: Host) -> None:
        """A whole process stands still, attempts and all: one that has some, if there is any."""
        busy = [each for each in self._hosts if _holds(each)]
        host = self._world.chance.pick(busy) if busy else host
        length_us = int(self._world.chance.pick((0.5, 1.5, 4.0)) * host.plan.ttl_us)
        if busy and length_us > host.plan.ttl_us:
            self._world.sometimes["stall beyond the lease"] += 1
        host.stalled_until_us = self._world.now_us + length_us

    def _arm(self, host: Host) -> None:
        assert host.process is not None, "a process is struck"
        host.process.view.armed = self._world.chance.pick(ARMED)

    def _storm(self, host: Host) -> None:
        """Whatever it appends for a while, somebody else was quicker."""
        assert host.process is not None, "a process is struck"
        host.process.view.storm_left = self._world.chance.pick((3, 10))
        self._world.sometimes["a storm of conflicts"] += 1

    def _take_away(self, host: Host) -> None:
        until_us = self._world.now_us + self._lasts_us()
        for each in self._hosts if self._world.chance.one_in(3) else [host]:
            if each.process is not None:
                each.process.view.away_until_us = until_us

    def _fill_disk(self, _: Host) -> None:
        until_us = self._world.now_us + self._lasts_us()
        for each in self._hosts:
            if each.process is not None:
                each.process.view.full_until_us = until_us

    def _freeze(self, host: Host) -> None:
        assert host.process is not None, "a process is struck"
        view = host.process.view
        if view.frozen is None and self._world.now_us >= view.away_until_us:
            view.frozen = view.head()

    def _slow(self, host: Host) -> None:
        assert host.process is not None, "a process is struck"
        host.process.view.is_slow = not host.process.view.is_slow

    def _jump(self, host: Host) -> None:
        """The wall clock jumps, forth or back, and the other one goes on."""
        self._world.sometimes["wall clock jumps"] += 1
        jump_us = self._world.chance.pick(
            (-HOUR_US, -90 * SECOND_US, -SECOND_US, SECOND_US, HOUR_US)
        )
        host.clock.offset_us += jump_us
        host.clock.was_wrong = host.clock.was_wrong or not host.is_remote

    def _stop(self, host: Host) -> None:
        """Its run is asked to stop, once or twice."""
        assert host.process is not None, "a process is struck"
        if (runner := host.process.runner) is not None:
            self._world.sometimes["graceful stop"] += 1
            runner.stop()
            if self._world.chance.one_in(3):
                runner.stop()

    def _snapshot(self, host: Host) -> None:
        """A snapshot is put into the log's database, for processes that start later."""
        assert host.process is not None, "a process is struck"
        if self._world.now_us < host.process.view.away_until_us:
            return
        node = host.process.node
        with node.reading(as_left=True) as projection:
            taken = take(projection)
            self._world.found += check_snapshot(projection)
        # What it stands for may have been cut from the log meanwhile.
        with suppress(EventqError):
            put(host.process.view, taken, now=node.now())
            self._world.sometimes["snapshot"] += 1

    def _write_newer(self, host: Host) -> None:
        """A node of a newer eventq writes what these do not know, about a task or aside."""
        assert host.process is not None, "a process is struck"
        world, view = self._world, host.process.view
        known = host.process.node._folded.projection  # noqa: SLF001 - a look that reads nothing
        if world.now_us < max(view.away_until_us, view.full_until_us) or view.frozen is not None:
            return
        task, text = NODE, '{"kind":"dreamt","skip":true}'
        if world.chance.one_in(20):
            text, self.has_newer_queue = RULED_NEWER, True
            world.sometimes["newer event about the queue"] += 1
        elif world.chance.one_in(3):
            task, text = 0, CREATED_NEWER
        elif known is not None and known.tasks and world.chance.one_in(3):
            task, text = world.chance.pick(list(known.tasks)), '{"kind":"pondered"}'
        head = MemoryLog.head(view)
        is_new = text == CREATED_NEWER
        commit = seal_commit(
            commit_id=f"{head.seq:032x}",
            first=head.seq + 1,
            at=head.at,
            prev=head.seal,
            tasks=[head.seq + 1 if is_new else task],
            keys={},
            bodies=[text],
        )
        before = view.armed, view.storm_left
        view.armed, view.storm_left = None, 0
        view.append(commit)
        view.armed, view.storm_left = before
        self.foreign.append(commit.first)
        if text != RULED_NEWER:
            known_as = "task of a newer eventq" if is_new or task else "newer event aside"
            world.sometimes[known_as] += 1

    def _archive(self, host: Host) -> None:
        """The beginning of the log goes into an archive, and as a rule from the log."""
        assert host.process is not None, "a process is struck"
        world, view = self._world, host.process.view
        if world.now_us < view.away_until_us or view.frozen is not None or view.is_slow:
            return
        if self.archive is None:
            # A disk would be waited for, and nothing is cut off here.
            self.archive = tempfile.TemporaryDirectory(prefix="simulated-", dir=memory())
        head = view.head()
        end = find_end(view, Point(max(view.start().seq, head.seq - 20), head.at))
        if end.seq <= view.start().seq:
            return
        until = Head(end.seq, end.at, end.seal)
        report = archive_events(view, self.archive.name, until=until)
        world.sometimes["archived"] += 1
        if world.chance.one_in(4):
            return
        try:
            delete_archived(view, self.archive.name, until=report.until, now=host.clock.now_us())
        except ArgumentError:
            world.sometimes["cut held back by a follower"] += 1
        else:
            world.sometimes["cut"] += 1
            world.cuts.append((head.seq, report.until.seq))

    def _settle_twice(self, host: Host) -> None:
        """An outcome comes once more, long after it was settled, or for a lease long lost."""
        assert host.process is not None, "a process is struck"
        world, start = self._world, host.process.view.start().seq
        # None is in doubt for so long that archives have it.
        ended = [e for e in host.effects if e.outcome == "completed" and e.fence > start]
        if not ended or host.process.runner is None:
            return
        effect = world.chance.pick(ended)
        outcome = Outcome(effect.task, effect.fence, "completed")
        command = SettleAndLease(effect.node, [outcome], host.plan.ttl_us, Vacancy(0, 0))
        with suppress(LogUnavailableError, NodeDiedError):
            for _ in range(1 + world.chance.below(2)):
                host.call(lambda queue: queue._node.execute(command))  # noqa: SLF001 - a late reply
                world.sometimes["late outcome"] += 1


def _holds(host: Host) -> bool:
    """Whether its process goes on, and has attempts."""
    runner = None if host.process is None else host.process.runner
    return runner is not None and bool(runner.attempts.held)
