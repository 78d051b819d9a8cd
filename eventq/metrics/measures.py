"""What monitoring is told of a queue, as families of samples; others write them down.

Counters come from a tally that is folded as the log grows, gauges from the projection.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Literal

from msgspec import Struct

from eventq.core.durations import SECOND_US
from eventq.core.projection import Projection
from eventq.eventlog import EventLog
from eventq.metrics.tally import BUCKETS_S, MOST_LABELS, OTHER_NAME, Histogram, Label, Tally
from eventq.node.node import Node

Kind = Literal["gauge", "counter", "histogram"]

# Buckets of limits by a tag's value can be any number: the fullest are told.
MOST_BUCKETS = 100


class Sample(Struct, frozen=True):
    """One number of a family, with its labels in the family's order."""

    labels: tuple[str, ...]
    value: float


class Counted(Struct, frozen=True):
    """One histogram: how many were up to each bound (the last one is infinite), and their sum."""

    labels: tuple[str, ...]
    cumulated: list[tuple[str, int]]
    sum_s: float


class Family(Struct, frozen=True):
    """One metric: its name without ``eventq_``, what it is, and its samples."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...]
    samples: list[Sample]
    counted: list[Counted] = []


class Measures:
    """Takes the numbers of one queue; folds what is new in the log at each time."""

    def __init__(self, node: Node, *, most_labels: int = MOST_LABELS) -> None:
        self._node = node
        self._log: EventLog = node.log
        self._most_labels = most_labels
        self._tally: Tally | None = None
        self._guard = threading.Lock()

    def take(self) -> list[Family]:
        """All families as of now. Raises LogError."""
        with self._guard:
            tally = self._caught_up()
            with self._node.reading() as projection:
                now = self._node.now()
                gauges = _gauges(projection, tally, now)
            return gauges + _counters(tally) + self._of_log(now)

    def _caught_up(self) -> Tally:
        tally = self._tally
        if tally is None or tally.seq < self._log.start().seq:
            tally = Tally(self._log.start().seq, most_labels=self._most_labels)
        self._tally = None  # Half a fold is never kept.
        while commits := self._log.read(after=tally.seq):
            for commit in commits:
                tally.apply(commit)
        self._tally = tally
        return tally

    def _of_log(self, now: int) -> list[Family]:
        head = self._log.head()
        found = [_one("log_position", "Position of the last event.", head.seq)]
        path = self._log.url.removeprefix("sqlite:///")
        if path != self._log.url:
            with suppress(OSError):
                size = Path(path).stat().st_size
                found.append(_one("log_bytes", "Size of the log's file, without its WAL.", size))
        entries = self._log.snapshots.entries()
        if entries:
            age_s = (now - entries[-1].taken_at) / SECOND_US
            found.append(_one("snapshot_age_seconds", "Age of the newest snapshot.", age_s))
        return found


def _gauges(projection: Projection, tally: Tally, now: int) -> list[Family]:
    ready: Counter[Label] = Counter()
    for route, count in projection.ready_routes(now).items():
        ready[tally.label_of(route.lane, route.name)] += count
    tasks = projection.tasks
    leased = Counter(
        tally.label_of(tasks[number].lane, tasks[number].name)
        for holder in projection.holders.values()
        for number in holder.tasks
    )
    waiting: Counter[Label] = Counter()
    for (lane, name), count in projection.waits.counts.items():
        waiting[tally.label_of(lane, name)] += count
    scheduled = Counter({label: count for label, count in tally.open.items() if count})
    scheduled.subtract(ready)
    scheduled.subtract(leased)
    scheduled.subtract(waiting)
    oldest: dict[Label, int] = {}
    for route, since in projection.oldest_ready(now).items():
        label = tally.label_of(route.lane, route.name)
        oldest[label] = min(since, oldest.get(label, since))
    ages = [Sample(label, max(0, now - since) / SECOND_US) for label, since in oldest.items()]
    labels = ("lane", "name")
    return [
        _by("tasks_ready", "Tasks that may run now.", ready),
        _by("tasks_scheduled", "Tasks that wait for their instant.", scheduled),
        _by("tasks_waiting", "Tasks that come after others.", waiting),
        _by("tasks_leased", "Tasks that run.", leased),
        Family(
            "oldest_ready_seconds", "gauge", "How long the oldest ready task waits.", labels, ages
        ),
        *_limits(projection, now),
        _followers(projection),
    ]


def _followers(projection: Projection) -> Family:
    """How far each is behind, the furthest first; the rest are told as the furthest of them."""
    lags = [(projection.seq - each.said.seq, name) for name, each in projection.followers.items()]
    lags.sort(key=lambda each: (-each[0], each[1]))
    told = [Sample((name,), lag) for lag, name in lags[:MOST_LABELS]]
    told += [Sample((OTHER_NAME,), lag) for lag, _ in lags[MOST_LABELS : MOST_LABELS + 1]]
    return Family("follower_lag", "gauge", "Events behind a follower.", ("follower",), told)


def _secret_limits(projection: Projection) -> set[str]:
    """Limits whose values are not told: tasks with tags that are secret run in them."""
    running = (task for task in projection.leased() if task.rarity is not None and task.secret)
    return {bucket.limit for task in running for bucket in task.buckets}


def _limits(projection: Projection, now: int) -> list[Family]:
    limits = projection.governing.limits
    untold = _secret_limits(projection)
    counts: Counter[Label] = Counter()
    for bucket in list(limits.uses):
        value = "" if bucket.limit in untold else bucket.value or ""
        counts[bucket.limit, value] += limits.running(bucket)
    used = [(running, Sample(labels, running)) for labels, running in counts.items()]
    used.sort(key=lambda each: (-each[0], each[1].labels))
    labels = ("limit", "value")
    taken = [sample for _, sample in used[:MOST_BUCKETS]]
    # First those whose buckets are told: the two are compared.
    names = dict.fromkeys([*(sample.labels[0] for sample in taken), *sorted(limits.by_name)])
    known = ((name, limits.by_name[name].said.running) for name in names if name in limits.by_name)
    bounds = [Sample((name,), running) for name, running in known if running is not None]
    paused = sum(each.is_on(now) for each in projection.governing.pauses.by_scope.values())
    return [
        Family("limit_running", "gauge", "Tasks that run in a bucket.", labels, taken),
        Family(
            "limit_bound", "gauge", "How many may run in each.", ("limit",), bounds[:MOST_LABELS]
        ),
        _one("pauses", "Pauses that go on.", paused),
    ]


def _counters(tally: Tally) -> list[Family]:
    attempts = [Sample((*label, how), count) for (label, how), count in tally.attempts.items()]
    missed = [Sample(labels, count) for labels, count in tally.missed.items()]
    labels = ("lane", "name")
    return [
        _by("tasks_created", "Tasks made.", tally.made, kind="counter"),
        Family("attempts", "counter", "Attempts that ended.", (*labels, "outcome"), attempts),
        _by("tasks_expired", "Tasks given up.", tally.expired, kind="counter"),
        _by("refused", "Outcomes after the lease was lost.", tally.refused, kind="counter"),
        Family(
            "schedule_misses", "counter", "Dues without a task.", ("schedule", "outcome"), missed
        ),
        _histogram("wait_seconds", "From ready to leased.", tally.waits),
        _histogram("run_seconds", "From leased to the attempt's end.", tally.runs),
    ]


def _by(name: str, text: str, counts: Counter[Label], *, kind: Kind = "gauge") -> Family:
    samples = [Sample(label, max(0, count)) for label, count in sorted(counts.items())]
    return Family(name, kind, text, ("lane", "name"), samples)


def _one(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, (), [Sample((), value)])


def _histogram(name: str, text: str, found: dict[Label, Histogram]) -> Family:
    bounds = [*map(str, BUCKETS_S), "+Inf"]
    counted = [
        Counted(
            label,
            list(zip(bounds, accumulate(each.counts), strict=True)),
            each.sum_us / SECOND_US,
        )
        for label, each in sorted(found.items())
    ]
    return Family(name, "histogram", text, ("lane", "name"), [], counted)
