"""Whether a key is one task, and whether the log's own indexes tell what its commits tell.

Stories and keys are kept as hashes: 16 bytes a key, and a story for each task that is looked at.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Literal

from eventq.core.commits import Commit
from eventq.core.events import Created
from eventq.errors import LogCorruptError
from eventq.eventlog.contract import EventLog, Head
from eventq.verify.links import FLOW_MARK
from eventq.verify.terms import Past, Report

IndexMode = Literal["none", "sample", "full"]

# A sample is one position in so many that there are about this many of them in the log.
SAMPLED_POSITIONS = 3_000
# How many keys one question to the index is about.
ASKED_KEYS = 1_000
# Keys are sorted a part at a time, which bounds what is in memory twice.
PARTS = 64


class Keys:
    """Rule 10: a key is one task. It keeps 16 bytes a key."""

    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(PARTS)]
        self._seqs = [array("q") for _ in range(PARTS)]

    def add(self, key: str, seq: int) -> None:
        """Takes in the key of a task created at the position."""
        hashed = hash(key)
        part = hashed % PARTS
        self._hashes[part].append(hashed)
        self._seqs[part].append(seq)

    def finish(self, past: Past, report: Report) -> None:
        """Reports each key that two tasks have, once the past has shown more than equal hashes."""
        for hashes, seqs in zip(self._hashes, self._seqs, strict=True):
            if len(set(hashes)) == len(hashes):
                continue
            owners: dict[int, list[int]] = {}
            for hashed, seq in zip(hashes, seqs, strict=True):
                owners.setdefault(hashed, []).append(seq)
            for found in owners.values():
                if len(found) > 1:
                    _tell_twins(sorted(found), past, report)


def _tell_twins(seqs: list[int], past: Past, report: Report) -> None:
    taken: dict[str, int] = {}
    for seq in seqs:
        event = past.event(seq)
        if event is None or type(event[1]) is not Created:
            continue
        body = event[1]
        key = body.key if body.flow_key is None else FLOW_MARK + body.flow_key
        if key is None:
            continue
        if key in taken:
            report(seq, "key", f"its key is taken by task {taken[key]}")
        taken.setdefault(key, seq)


class Indexes:
    """The histories of tasks and the owners of keys, against those the log's indexes give."""

    def __init__(self, log: EventLog, mode: IndexMode, *, begin: int, end: Head) -> None:
        self._log = log
        self._mode = mode
        self._end = end.seq
        step = 1 if mode == "full" else max(1, (end.seq - begin) // SAMPLED_POSITIONS)
        # Which ones depends on the seal, so that another log has another sample.
        self._step, self._phase = step, int.from_bytes(end.seal[:8], "big") % step
        self._stories: dict[int, int] = {}
        self._keys: dict[str, int] = {}

    def take(self, commit: Commit) -> None:
        """Takes in a commit that has been verified."""
        if self._mode == "none":
            return
        first, tasks, stories = commit.first, commit.tasks, self._stories
        for seq in range(first + (self._phase - first) % self._step, commit.last + 1, self._step):
            if tasks[seq - first] == seq:
                stories[seq] = 0
        if not stories.keys().isdisjoint(tasks):
            for index, number in enumerate(tasks):
                if number in stories:
                    event = (first + index, commit.at, commit.bodies[index], stories[number])
                    stories[number] = hash(event)
        for key, seq in commit.keys.items():
            if seq % self._step == self._phase:
                self._keys[key] = seq

    def ask_keys(self, report: Report) -> None:
        """Asks the index for the keys taken in, once there are enough to ask for, or at the end."""
        keys = self._keys
        if not keys:
            return
        try:
            found = self._log.find_keys(list(keys))
        except LogCorruptError as error:
            report(min(keys.values()), "index", f"the index of keys fails: {error.problem}")
            found = keys
        for key, seq in keys.items():
            if found.get(key) != seq:
                report(seq, "index", f"the index of keys says {found.get(key)} for its key")
        self._keys = {}

    def tidy(self, report: Report) -> None:
        """Gives memory back; to be called now and then."""
        if len(self._keys) >= ASKED_KEYS:
            self.ask_keys(report)

    def finish(self, report: Report, *, enough: Callable[[], bool]) -> None:
        """Compares the stories; stops once there are enough findings."""
        self.ask_keys(report)
        for number, story in self._stories.items():
            if enough():
                return
            told = 0
            try:
                for event in self._log.history(number):
                    if event.seq <= self._end:
                        told = hash((event.seq, event.at, event.body, told))
            except LogCorruptError as error:
                report(number, "index", f"the index of tasks fails: {error.problem}")
                continue
            if told != story:
                report(number, "index", "the index has another history of this task")
