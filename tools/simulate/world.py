"""What all nodes of one simulation share: the time, the log's storage, and who wrote down what.

Nothing here decides; `simulation` does one step after the other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from math import ceil

from msgspec import Struct

from eventq.core.commits import Commit
from eventq.core.durations import SECOND_US
from eventq.eventlog.memory import MemoryStorage
from tools.simulate.chance import Chance

# 28 March 2027, half an hour before clocks in Berlin are changed.
START_US = 1_806_193_800 * SECOND_US
NAMESPACE = "default"
CAUSE = re.compile(r'"cause":(\d+)')
# As callers here are called.
BY_HAND = '"by":"c'
OF_BULK = re.compile(r'"bulk":(\d+)')
JUDGED = re.compile(r'"message":"node (\S+) stopped renewing"')


class NodeDiedError(BaseException):
    """Ends a process wherever it is; nothing of it goes on."""


class Finding(Struct, frozen=True):
    """One thing that must not be."""

    rule: str
    at: int
    """A position of the log, or a step."""
    text: str


class Appended(Struct, frozen=True):
    """A commit that the log took, as the outside saw it."""

    commit: Commit
    by: str
    """The process."""
    at_us: int
    """The true time."""
    looks_since_us: int
    """Since when its process, in this run, has judged whether others have lapsed."""


class World:
    """One simulation's time, storage and evidence."""

    def __init__(self, seed: int, *, tell: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.chance = Chance(seed)
        self.now_us = START_US
        """The true time, which no node knows."""
        self.storage = MemoryStorage()
        self.appended: list[Appended] = []
        """All that the log has taken, in order; no cut takes anything from it."""
        self.causes: list[int] = []
        """The tasks whose ends have cancelled others."""
        self.by_hand: list[int] = []
        """The positions of events that a caller has caused by hand."""
        self.undone: set[int] = set()
        """Those of them that take something back."""
        self.bulks: dict[int, str] = {}
        """Changes to many tasks that have begun, with the process that has begun each."""
        self._ended: set[int] = set()
        self.cuts: list[tuple[int, int]] = []
        """Where the log ended when it was cut, and up to where."""
        self.refused_ids: set[str] = set()
        """Commits that the log said it did not take."""
        self.sometimes: Counter[str] = Counter()
        """How often each rare case was reached."""
        self.happenings = 0
        """Steps: wake-ups, attempts' begins and ends, calls, faults, starts, appends, news."""
        self.looks_since_us: dict[str, int] = {}
        """When each process has begun its last run, by the true time."""
        self.found: list[Finding] = []
        """What was wrong when it happened."""
        self.dead: set[str] = set()
        """The processes that have died."""
        self.is_calm = False
        """No more faults: everything is to drain."""
        self.interlope: Callable[[str], None] = lambda _: None
        """Has another process than this one act, between two moments of one."""
        self.rouse: Callable[[str], None] = lambda _: None
        """Has this process go on, if it stands still."""
        self.on_commit: Callable[[], None] = lambda: None
        """Called after each commit, to wake whoever watches."""
        self._tell = tell

    @property
    def is_told(self) -> bool:
        """Whether somebody reads what is told."""
        return self._tell is not None

    def tell(self, text: str) -> None:
        """Prints what happened, for a replay of one seed."""
        if self._tell is not None:
            self._tell(f"{(self.now_us - START_US) / SECOND_US:10.3f} {text}")

    def note_appended(self, commit: Commit, by: str) -> None:
        """The log has taken a commit."""
        looks_since_us = self.looks_since_us.get(by, self.now_us)
        self.appended.append(Appended(commit, by, self.now_us, looks_since_us))
        for seq, body in enumerate(commit.bodies, commit.first):
            if BY_HAND in body:
                self._note_by_hand(seq, body, by)
            elif body.startswith('{"kind":"cancelled"') and (found := CAUSE.search(body)):
                self.causes.append(int(found[1]))
        self.happenings += 1
        self.on_commit()
        if self._tell is not None:
            kinds = [body.split('"', 4)[3] for body in commit.bodies]
            pairs = zip(commit.tasks, kinds, strict=True)
            said = ", ".join(f"{kind} {task}" if task else kind for task, kind in pairs)
            self.tell(f"    {commit.first}: {by}: {said}")

    def bulks_going_on(self) -> list[int]:
        """The changes to many tasks that have begun and not ended."""
        return [number for number in self.bulks if number not in self._ended]

    def _note_by_hand(self, seq: int, body: str, by: str) -> None:
        if body.startswith('{"kind":"bulk_ended"'):
            self._ended.update(int(number) for number in OF_BULK.findall(body))
            return
        self.by_hand.append(seq)
        if body.startswith('{"kind":"bulk"'):
            self.bulks[seq] = by
        if '"undoes":' in body:
            self.undone.add(seq)


class PlaceClock:
    """One host's clocks: the wall's offset, jumps and drift; the monotonic one drifts as well."""

    def __init__(self, world: World, *, offset_us: int, rate: float) -> None:
        self.offset_us = offset_us
        """How far the wall is ahead of the true time, drift left out; a jump changes it."""
        self.rate = rate
        self.was_wrong = False
        """It was, and nothing corrected it."""
        self._world = world
        self._born_us = world.now_us

    def now_us(self) -> int:
        """See host.clock.Clock."""
        passed_us = self._world.now_us - self._born_us
        return self._born_us + self.offset_us + int(passed_us * self.rate)

    def monotonic(self) -> float:
        """See host.clock.Clock."""
        return (self._world.now_us - self._born_us) * self.rate / SECOND_US

    def ahead_us(self) -> int:
        """How far the wall is ahead of the true time now."""
        passed_us = self._world.now_us - self._born_us
        return self.offset_us + int(passed_us * self.rate) - passed_us

    def true_us(self, length_s: float) -> int:
        """How long a length of this clock takes in truth, in microseconds; 0 only for none."""
        return ceil(length_s * SECOND_US / self.rate)
