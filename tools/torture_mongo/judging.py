"""What a log must show after any number of faults, and how soon work went on after each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from eventq.errors import LogUnavailableError
from eventq.eventlog import EventLog
from eventq.replay.fold import read_all
from tests.checker import check_log
from tools.history.checker import Checker
from tools.history.reading import read_log
from tools.mongod import Member, ReplicaSet
from tools.torture_mongo.faults import Fault
from tools.torture_mongo.load import Acknowledged, Load

POLL_S = 0.02
WORK = ("created", "completed")
# How many tasks are created and completed before the next fault: the set is whole, and at work.
BUSY = 25
# Work that does not go on within this has stopped for good.
GIVE_UP_S = 60.0


class Verdict(Struct, frozen=True):
    """What a good log held, and the delays in seconds from each new primary to the next work."""

    events: int
    tasks: int
    delays_s: list[float]


def torture(servers: ReplicaSet, log: EventLog, load: Load, faults: list[Fault]) -> Verdict:
    """Does each of the faults to the set under load, lets all work end, and judges the log.

    Raises AssertionError where anything was lost, done twice or given up.
    """
    reader = Reader(log)
    delays_s: list[float] = []

    def elected(_primary: Member) -> None:
        began_s = time.monotonic()
        reader.wait_for_work()
        delays_s.append(time.monotonic() - began_s)

    for fault in faults:
        reader.wait_for_work(BUSY)
        fault(servers, elected)
    acknowledged = load.stop_producing()
    reader.wait_until(lambda: reader.kinds["completed"] >= len(acknowledged), "all to be completed")
    load.stop_working()
    return judge(log, acknowledged, delays_s)


def judge(log: EventLog, acknowledged: Acknowledged, delays_s: list[float]) -> Verdict:
    """Checks a log at rest. Raises AssertionError whose message says what is wrong."""
    report = check_log(log)
    assert report.keys == acknowledged, "what producers were told is not what the log holds"
    assert report.states == {"completed": len(acknowledged)}, f"not all completed: {report.states}"
    # A lease that lapsed shows as `failed`, and work that was done twice as `refused`.
    assert report.kinds["failed"] == 0, "an attempt failed, or its lease lapsed"
    assert report.kinds["refused"] == 0, "a task was worked on twice"
    checker = Checker(log.namespace)
    for commit in read_log(log.url, log.namespace):
        checker.add(commit)
    findings = checker.finish()
    assert not findings, f"the history checker: {findings[0]}"
    return Verdict(report.events, len(report.tasks), delays_s)


class Reader:
    """Reads what comes, and counts it; bears a log that is away for a while."""

    def __init__(self, log: EventLog) -> None:
        self.kinds: Counter[str] = Counter()
        self._log = log
        self._after = 0

    def wait_for_work(self, count: int = 1) -> None:
        """Returns once so many tasks were created and others completed after this call."""
        self.wait_until(lambda: True, "the log to answer")
        before = self.kinds.copy()
        self.wait_until(
            lambda: min(self.kinds[kind] - before[kind] for kind in WORK) >= count,
            "work to go on",
        )

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Reads until the condition holds. Raises TimeoutError."""
        ends_s = time.monotonic() + GIVE_UP_S
        while time.monotonic() < ends_s:
            if self._read() and condition():
                return
            time.sleep(POLL_S)
        raise TimeoutError(f"waited {GIVE_UP_S:g} s for {what}")

    def _read(self) -> bool:
        """Takes in what is new; False while the log is away."""
        try:
            for commit, events in read_all(self._log, after=self._after):
                self.kinds.update(event.kind for event in events)
                self._after = commit.last
        except LogUnavailableError:
            return False
        return True
