"""Nodes that tick the same schedules, in one thread and in virtual time; each may crash anywhere.

Nodes decide and fold by eventq's own code; only the loop around them is another one than a run's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from msgspec import Struct

from eventq.core.audience import PLAIN_AUDIENCE
from eventq.core.durations import SECOND_US
from eventq.core.new_task import TaskSpec
from eventq.core.options import make_policy
from eventq.core.places import Vacancy
from eventq.core.queue_events import Ticked
from eventq.core.scheduling import Tick
from eventq.core.settle import Outcome, SettleAndLease
from eventq.core.task import Task
from eventq.eventlog.contract import EventLog
from eventq.node.node import Node
from eventq.replay.fold import read_all
from eventq.runner.defining import Defining
from eventq.runner.options import RunOptions
from eventq.runner.ticking import Ticking
from eventq.runner.workload import Workload
from eventq.schedules.plans import CodedSchedule, check_rules
from eventq.schedules.rules import check_timing
from eventq.snapshot import put, take

# 28 March 2027, 00:00:30 UTC: a day on which clocks in Berlin are changed.
START = 1_806_192_030 * SECOND_US
HOUR_US, MINUTE_US = 3_600 * SECOND_US, 60 * SECOND_US
# How far clocks are apart at the most.
APART_US = 5 * SECOND_US
# The longest pause between two looks of one node or another.
PAUSE_US = 20 * SECOND_US
# One of so many looks ends in a crash: half of them before the node appends, half right after.
CRASH_ONE_IN = 40
# A snapshot is taken after so many looks.
SNAPSHOT_LOOKS = 200
BLOCK = 400


class Played(Struct, frozen=True):
    """What came of it."""

    dues: int
    """How many there were, by counting minutes."""
    ticked: int
    made: int
    twice: int
    lost: int
    crashes: int
    events: int


class Clock:
    """The time that all share, and how far a node's clock is ahead of it."""

    shared_us = 0

    def __init__(self, ahead_us: int) -> None:
        self._ahead_us = ahead_us

    def now_us(self) -> int:
        """See host.clock.Clock."""
        return Clock.shared_us + self._ahead_us

    def monotonic(self) -> float:
        """See host.clock.Clock."""
        return Clock.shared_us / SECOND_US


class Place:
    """One node, its runs one after the other: what a process has, which a crash takes away."""

    def __init__(self, log: EventLog, ahead_us: int, workload: Workload, seed: int) -> None:
        self._log = log
        self._ahead_us = ahead_us
        self._workload = workload
        self._chance = random.Random(seed).random
        self.crash()

    def crash(self) -> None:
        """Another process takes the place, which knows what the log holds."""
        self.node = Node(self._log, clock=Clock(self._ahead_us))
        options = RunOptions(30 * SECOND_US, 0.0, None, None, self._chance)
        self._defining = Defining(self.node, self._workload, options)
        self._ticking = Ticking(self.node)
        self._leased: list[Task] = []

    def look(self) -> tuple[Tick, ...]:
        """What it sees to be due."""
        with self.node.reading() as projection:
            return self._ticking.look(projection, now=self.node.now())

    def tick(self, ticks: tuple[Tick, ...]) -> None:
        """Plans and ticks."""
        self._defining.define()
        self._ticking.tick(ticks)

    def work(self) -> None:
        """Completes what it has leased, and leases more."""
        outcomes = [Outcome(task.number, task.fence, "completed") for task in self._leased]
        command = SettleAndLease(self.node.name, outcomes, 30 * SECOND_US, Vacancy(BLOCK))
        committed = self.node.execute(command)
        self._leased = [
            task for task in committed.tasks if task is not None and task.worker == self.node.name
        ]

    def keep_snapshot(self) -> None:
        """Puts a snapshot into the log's database, which later processes begin with."""
        with self.node.reading() as projection:
            put(self._log, take(projection), now=Clock.shared_us)

    @property
    def is_working(self) -> bool:
        """Whether it holds tasks."""
        return bool(self._leased)


def play(log: EventLog, *, schedules: int, nodes: int, hours: float, seed: int) -> Played:
    """Plays so many schedules of a minute on so many nodes; the log must be empty."""
    draw = random.Random(seed)
    Clock.shared_us = START
    workload = _workload(schedules)
    ahead = [APART_US * index // max(1, nodes - 1) for index in range(nodes)]
    places = [Place(log, each, workload, seed + index) for index, each in enumerate(ahead)]
    ends_at = START + int(hours * HOUR_US)
    crashes = looks = 0
    places[0].tick(())
    while Clock.shared_us < ends_at:
        Clock.shared_us = min(ends_at, Clock.shared_us + draw.randrange(PAUSE_US))
        crashes += _round(places, draw)
        looks += 1
        if looks % SNAPSHOT_LOOKS == 0:
            draw.choice(places).keep_snapshot()
    # What is due by the clock that is ahead of all has come.
    last = places[-1]
    while ticks := last.look():
        last.tick(ticks)
    return _counted(log, schedules, until=ends_at + ahead[-1], crashes=crashes)


def _round(places: list[Place], draw: random.Random) -> int:
    """Some nodes look at the same moment, and each acts on what it saw; returns the crashes."""
    crashes = 0
    seen = [(place, place.look()) for place in draw.sample(places, draw.randint(1, len(places)))]
    draw.shuffle(seen)
    for place, due in seen:
        ticks = due
        if draw.randrange(CRASH_ONE_IN) == 0:
            crashes += 1
            if draw.random() < 0.5:
                # Its commit is in the log, and nobody has told it so.
                place.tick(ticks)
            place.crash()
            continue
        while ticks:
            place.tick(ticks)
            ticks = place.look()
    # One of them works, and dies in no attempt: what is counted here are dues.
    worker = seen[0][0]
    worker.work()
    while worker.is_working:
        worker.work()
    return crashes


def _workload(schedules: int) -> Workload:
    rules = check_rules(catch_up=1_000, within=None, overlap="allow")
    timings = [
        check_timing(cron="* * * * *", zone="Europe/Berlin", jitter=None),
        check_timing(cron="*/1 * * * *", zone="UTC", jitter=None),
        check_timing(every="1m", jitter=None),
    ]
    coded = tuple(
        CodedSchedule(f"s{index}", timings[index % len(timings)], rules, TaskSpec({"n": index}))
        for index in range(schedules)
    )
    return Workload(
        PLAIN_AUDIENCE, {None: 1}, {}, None, {}, make_policy(), is_plain=True, schedules=coded
    )


def _counted(log: EventLog, schedules: int, *, until: int, crashes: int) -> Played:
    found: dict[str, list[int]] = {f"s{index}": [] for index in range(schedules)}
    made = events = 0
    for body in _ticks(log):
        found[body.schedule].append(body.due)
        made += body.outcome == "made"
    ticked = sum(map(len, found.values()))
    twice = ticked - sum(len(set(dues)) for dues in found.values())
    expected = lost = 0
    for dues in found.values():
        # An interval's begin where it was planned.
        first = dues[0] if dues else START
        wanted = set(range(first, until + 1, MINUTE_US))
        expected += len(wanted)
        lost += len(wanted - set(dues))
    events = log.head().seq
    return Played(expected, ticked, made, twice, lost, crashes, events)


def _ticks(log: EventLog) -> Iterator[Ticked]:
    for _, events in read_all(log, after=0):
        yield from (event.body for event in events if isinstance(event.body, Ticked))
