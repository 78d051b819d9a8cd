"""Checks a log against what must always hold: the verifier of `eventq.replay`, as assertions.

It keeps every task, for tests to look at, and compares all that the log's indexes say.

    report = check_log(log)                 # everything, with seals and indexes of the log
    report = check_commits(name, commits)   # commits from the first on: order, seals, moves
    report = check_events(events)           # moves and dispatch only

Each raises AssertionError whose message begins with the first position that is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from eventq.core.commits import AnyBody, Commit, Event, Unknown
from eventq.core.moves import changes
from eventq.eventlog.contract import EventLog, Head
from eventq.eventlog.memory import MemoryLog, MemoryStorage
from eventq.verify.indexes import IndexMode, Keys
from eventq.verify.past import remember
from eventq.verify.rules import Rules
from eventq.verify.seen import Seen
from eventq.verify.terms import Last
from eventq.verify.verifier import Verification

OPEN = ("pending", "leased", "failed")


@dataclass
class Report:
    """What a good log holds."""

    events: int
    commits: int
    kinds: Counter[str]
    tasks: dict[int, Seen]

    @property
    def keys(self) -> dict[str, int]:
        """The task of each caller's key."""
        found = {task.key: number for number, task in self.tasks.items()}
        return {key: number for key, number in found.items() if key is not None}

    @property
    def states(self) -> Counter[str]:
        """How many tasks are in each state: pending, leased, completed, expired, cancelled."""
        return Counter(task.state for task in self.tasks.values())

    @property
    def all_final(self) -> bool:
        """Whether every task has reached its end."""
        return not any(task.state in OPEN for task in self.tasks.values())


def check_log(
    log: EventLog, *, batch: int = 1_000, indexes: IndexMode = "full", newer: bool = False
) -> Report:
    """Checks a log that nobody appends to meanwhile: invariants 1 to 10, 15 and its own indexes.

    With ``newer``, it may hold what only a newer eventq knows.
    """
    tasks: dict[int, Seen] = {}

    def keep(task: Seen) -> None:
        tasks[task.number] = task

    verification = Verification(log, indexes=indexes, batch=batch, on_final=keep)
    verdict = verification.run(())
    for finding in verdict.findings:
        if newer and finding.rule == "unknown":
            continue
        raise AssertionError(f"{finding.seq}: {finding.problem}")
    assert verdict.complete, f"{verdict.seq}: the end was not reached"
    tasks |= verification.rules.tasks
    tasks = dict(sorted(tasks.items()))
    return Report(verdict.events, verdict.commits, Counter(verdict.counts), tasks)


def check_commits(namespace: str, commits: list[Commit]) -> Report:
    """Checks that commits tile the positions and seals recompute (1), and all their events."""
    return check_log(_Listed(namespace, commits), indexes="none")


def check_events(events: Iterable[Event]) -> Report:
    """Checks the moves, leases, fences, order, instants, attempts and keys (4 to 10)."""
    past = _Told()
    tasks: dict[int, Seen] = {}

    def keep(task: Seen) -> None:
        tasks[task.number] = task

    rules = Rules(past, past.refuse, on_final=keep)
    keys = Keys()
    kinds: Counter[str] = Counter()
    position, at = 0, 0
    numbers: list[int] = []
    bodies: list[AnyBody | Unknown] = []
    for event in events:
        assert event.seq == position + 1, f"{event.seq}: follows {position}"
        assert event.at >= at, f"{event.seq}: time runs backwards"
        if numbers and event.at != at:
            _take(rules, position, at, numbers, bodies)
        position, at = event.seq, event.at
        past.events[position] = event
        kinds[event.kind] += 1
        numbers.append(event.task)
        bodies.append(event.body)
    _take(rules, position, at, numbers, bodies)
    for key, seq in rules.keyed:
        keys.add(key, seq)
    keys.finish(past, past.refuse)
    return Report(position, 0, kinds, dict(sorted((tasks | rules.tasks).items())))


def _take(
    rules: Rules, last: int, at: int, numbers: list[int], bodies: list[AnyBody | Unknown]
) -> None:
    rules.take(last + 1 - len(numbers), at, numbers, list(bodies))
    numbers.clear()
    bodies.clear()


class _Told:
    """The past of events that stand in no log."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}

    def task(self, number: int, before: int) -> Seen | None:
        """See Past.task."""
        mine = [e for e in self.events.values() if e.task == number and e.seq < before]
        return remember(number, [(e.seq, e.at, e.body) for e in mine])

    def event(self, seq: int) -> tuple[int, AnyBody | Unknown] | None:
        """See Past.event."""
        found = self.events.get(seq)
        return None if found is None else (found.task, found.body)

    def last(self, number: int, before: int) -> Last | None:
        """See Past.last."""
        mine = [e for e in self.events.values() if e.task == number and e.seq < before]
        mine = [event for event in mine if changes(event.body)]
        return Last(mine[-1].seq, mine[-1].decided_at, mine[-1].body) if mine else None

    def is_trusted(self, seq: int) -> bool:  # noqa: ARG002 - all is there
        """See Past.is_trusted."""
        return False

    def refuse(self, seq: int, _rule: str, problem: str) -> None:
        """What is found is raised at once."""
        raise AssertionError(f"{seq}: {problem}")


class _Listed(MemoryLog):
    """A log that gives just these commits, however wrong they are."""

    def __init__(self, namespace: str, commits: list[Commit]) -> None:
        super().__init__(MemoryStorage(), url="memory://", namespace=namespace)
        self._listed = commits

    def head(self) -> Head:
        """See EventLog.head; an end that is never reached when the commits are wrong."""
        if not self._listed:
            return super().head()
        last = self._listed[-1]
        return Head(last.first + max(len(last.bodies), 1) - 1, last.at, last.seal)

    def read(self, *, after: int, limit: int = 0) -> list[Commit]:  # noqa: ARG002 - gives all
        """See EventLog.read."""
        return [] if after else self._listed
