"""What has happened so far, by lane and name: a fold of its own, beside the projection.

It reads no clock and no log; who folds hands it commits in order. Labels are bounded: of the pairs
of lane and name, and of schedules, the first so many that the log has are counted apart, and all
later ones as one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from msgspec import Struct

from eventq.core.commits import AnyBody, Commit, Unknown, decode_bodies
from eventq.core.durations import SECOND_US
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Refused,
    Released,
    Retried,
    Updated,
)
from eventq.core.queue_events import Ticked
from eventq.core.task import DEFAULT_LANE
from eventq.core.values import LAPSED

# A lane and a name.
Label = tuple[str, str]

MOST_LABELS = 200
OTHER_NAME = "other"
OTHER: Label = (OTHER_NAME, OTHER_NAME)
UNNAMED = ""
# Upper bounds of the histograms, in seconds.
BUCKETS_S = (0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0)


class Histogram:
    """How often lengths fell between the bounds, and their sum."""

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_us = 0

    def observe(self, length_us: int) -> None:
        """Counts one length."""
        self.counts[bisect_left(BUCKETS_S, length_us / SECOND_US)] += 1
        self.sum_us += length_us


class Open(Struct, gc=False):
    """What an open task's next event needs to know."""

    label: Label
    ready_at: int | None
    """From when on it might have been leased; None while that is not known."""
    name: str | None = None
    leased_at: int = 0


class Tally:
    """The counters of a namespace up to position `seq`."""

    def __init__(self, seq: int, *, most_labels: int = MOST_LABELS) -> None:
        """``seq`` is where the log begins: what was archived before is not counted."""
        self.seq = seq
        self.labels: set[Label] = set()
        self.open: Counter[Label] = Counter()
        self.made: Counter[Label] = Counter()
        self.attempts: Counter[tuple[Label, str]] = Counter()
        """By how they ended: completed, failed, lapsed, cancelled or released."""
        self.expired: Counter[Label] = Counter()
        self.refused: Counter[Label] = Counter()
        self.missed: Counter[tuple[str, str]] = Counter()
        """Dues that made no task, by schedule and outcome; later schedules are one."""
        self.schedules: set[str] = set()
        """Those that are counted apart."""
        self.waits: dict[Label, Histogram] = {}
        self.runs: dict[Label, Histogram] = {}
        self._most_labels = most_labels
        self._tasks: dict[int, Open] = {}

    def apply(self, commit: Commit) -> None:
        """Counts one commit, which follows what was counted."""
        for seq, (number, body) in enumerate(
            zip(commit.tasks, decode_bodies(commit.bodies), strict=True), commit.first
        ):
            if type(body) is Created:
                self._create(seq, commit.at, body)
            elif type(body) is Ticked:
                if body.outcome != "made":
                    self.missed[self._schedule_of(body), body.outcome] += body.count
            elif number:
                self._change(number, commit.at, body)
        self.seq = commit.last

    def label_of(self, lane: str | None, name: str | None) -> Label:
        """The label of a lane and a name, as far as it is counted apart."""
        label = (lane or DEFAULT_LANE, name or UNNAMED)
        return label if label in self.labels else OTHER

    def _schedule_of(self, body: Ticked) -> str:
        if len(self.schedules) < self._most_labels:
            self.schedules.add(body.schedule)
        return body.schedule if body.schedule in self.schedules else OTHER_NAME

    def _create(self, seq: int, at: int, body: Created) -> None:
        label = self._label_for(body.lane, body.name)
        self.made[label] += 1
        self.open[label] += 1
        ready_at = None if body.after else max(at, body.scheduled_at or at)
        self._tasks[seq] = Open(label, ready_at, body.name)

    def _label_for(self, lane: str | None, name: str | None) -> Label:
        """The label of a lane and a name, which may be new."""
        if len(self.labels) < self._most_labels:
            self.labels.add((lane or DEFAULT_LANE, name or UNNAMED))
        return self.label_of(lane, name)

    def _change(self, number: int, at: int, body: AnyBody | Unknown) -> None:
        task = self._tasks.get(number)
        if task is None:
            if type(body) is Retried and body.reopens is not None:
                label = self.label_of(body.reopens.lane, body.reopens.name)
                self._tasks[number] = Open(label, max(at, body.scheduled_at), body.reopens.name)
                self.open[label] += 1
            return
        if type(body) is Leased:
            if task.ready_at is not None:
                self._observe(self.waits, task.label, at - task.ready_at)
            task.leased_at = at
        elif type(body) is Retried:
            task.ready_at = max(at, body.scheduled_at)
        elif isinstance(body, Completed | Failed | Released):
            self._end_attempt(task, at, _outcome_of(body))
            if type(body) is Released:
                task.ready_at = at if body.scheduled_at is None else body.scheduled_at
        else:
            self._note(task, body)
        if isinstance(body, Completed | Expired | Cancelled):
            self._end(number, task, at, body)

    def _note(self, task: Open, body: AnyBody | Unknown) -> None:
        """Takes in what is neither the beginning of an attempt nor its end."""
        if type(body) is Refused:
            self.refused[task.label] += 1
        elif type(body) is Updated and body.lane is not None:
            self.open[task.label] -= 1
            task.label = self._label_for(body.lane, task.name)
            self.open[task.label] += 1

    def _end_attempt(self, task: Open, at: int, outcome: str) -> None:
        self.attempts[task.label, outcome] += 1
        self._observe(self.runs, task.label, at - task.leased_at)
        task.leased_at = 0

    def _end(self, number: int, task: Open, at: int, body: Completed | Expired | Cancelled) -> None:
        if type(body) is Expired:
            self.expired[task.label] += 1
        if task.leased_at:
            # It was called off while it ran.
            self._end_attempt(task, at, "cancelled")
        self.open[task.label] -= 1
        del self._tasks[number]

    def _observe(self, found: dict[Label, Histogram], label: Label, length_us: int) -> None:
        histogram = found.get(label)
        if histogram is None:
            histogram = found[label] = Histogram()
        histogram.observe(max(0, length_us))


def _outcome_of(body: Completed | Failed | Released) -> str:
    if type(body) is Failed:
        return "lapsed" if body.error.type == LAPSED else "failed"
    return "completed" if type(body) is Completed else "released"
