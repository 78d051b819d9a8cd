"""A log that a wrong clock sent ahead: stamps stay in order, and tasks go by the right clock."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from eventq import Queue, Stats, Task
from eventq.audit.stepper.cursor import Cursor
from eventq.audit.why import why
from eventq.core.commits import decode_bodies, encode_bodies
from eventq.core.durations import SECOND_US
from eventq.core.seal import seal_commit
from eventq.core.task import instant
from eventq.eventlog.memory import MemoryStorage
from eventq.replay.fold import replay
from eventq.replay.points import find_point
from eventq.replay.query import take_stats
from eventq.snapshot import restore, take
from eventq.snapshot.codec import decode, encode
from eventq.snapshot.comparing import compare
from eventq.verify.verifier import verify
from tests.checker import check_log
from tests.support import HookedLog, ManualClock, final, node_of, queue_on

YEARS = 10 * 365 * 86_400


class Place:
    """One log with a process of a wrong clock, which is ahead, and processes of a right one."""

    def __init__(self, ahead_s: float = YEARS) -> None:
        self.storage = MemoryStorage()
        self.clock, self.wrong = ManualClock(), ManualClock()
        self.wrong.jump(ahead_s)
        self.bad = self.queue(clock=self.wrong)

    def queue(self, **options: Any) -> Queue:  # noqa: ANN401 - a queue's
        """One more process on the log."""
        return queue_on(HookedLog(self.storage), **{"clock": self.clock, "workers": 1, **options})

    def advance(self, seconds: float) -> None:
        """Time passes for all."""
        self.clock.advance(seconds)
        self.wrong.advance(seconds)

    def done(self, queue: Queue) -> list[str]:
        """Runs what is due, and gives the keys in order."""
        ran: list[str] = []
        queue.run(lambda _ctx, task: ran.append(task.key), until="idle")
        return ran

    def check(self) -> None:
        """The log is good by the verifier's own rules, and folds to one projection only."""
        log = HookedLog(self.storage)
        check_log(log)
        whole = replay(log)
        whole.check()
        again = restore(decode(encode(take(whole))))
        assert compare(whole, again).is_empty
        assert again.decided_at == whole.decided_at
        stamps = [event.at for event in self.queue().events()]
        assert stamps == sorted(stamps)


@pytest.fixture
def place() -> Place:
    """A log whose only task was made ten years ahead."""
    place = Place()
    place.bad.new(key="bad")
    return place


def at(place: Place, seconds: float) -> Any:  # noqa: ANN401 - a datetime
    """So many seconds from now by the right clock."""
    return instant(place.clock.us) + timedelta(seconds=seconds)


def test_what_is_scheduled_waits_for_its_instant(place: Place) -> None:
    """Tomorrow is tomorrow, for every process and for one that comes later."""
    ours = place.queue()
    ours.new(key="tomorrow", scheduled_at=at(place, 86_400))
    ours.new(key="soon", delay="1h")
    ours.new(key="now")

    assert place.done(place.queue()) == ["now", "bad"]
    place.advance(3_601)
    assert place.done(ours) == ["soon"]
    place.advance(86_400)
    assert place.done(place.queue()) == ["tomorrow"]
    place.check()


def test_what_expires_does_so_at_its_instant(place: Place) -> None:
    """An expiry of tomorrow is taken, holds until then, and is kept then."""
    ours = place.queue()
    ours.new(key="kept", expires_at=at(place, 86_400), scheduled_at=at(place, 60))
    ours.new(key="late", max_age="1h", scheduled_at=at(place, 60))
    place.advance(61)
    assert place.done(place.queue()) == ["kept", "late", "bad"]
    ours.new(key="gone", max_age="1h", delay="5m")
    place.advance(3_601)

    assert place.done(place.queue()) == []
    assert final(ours, "gone").state == "expired"
    place.check()


def test_a_retry_comes_after_its_backoff(place: Place) -> None:
    """A backoff passes by the right clock, also between processes."""
    ours = place.queue(backoff="10s")
    ours.new(key="flaky", max_age="1d")
    ours.cancel("bad")

    def failing(_ctx: object, _task: Task) -> None:
        ours.stop()
        raise ValueError

    ours.run(failing)
    assert final(place.queue(), "flaky").state == "scheduled"
    place.advance(11)

    assert place.done(place.queue()) == ["flaky"]
    place.check()


def test_a_command_by_hand_means_now(place: Place) -> None:
    """`retry` makes what the wrong clock has scheduled ready, and `update` counts from now."""
    place.bad.new(key="stuck", delay="1h")
    ours = place.queue(max_age="2h")
    ours.new(key="mine", delay="1h")
    assert final(ours, "stuck").state == "scheduled"

    assert ours.retry("stuck").state == "ready"
    assert ours.update("mine", delay="30m").state == "scheduled"
    assert place.done(place.queue()) == ["stuck", "bad"]
    ours.cancel("mine")
    ours.retry("mine")
    assert final(ours, "mine").expires_at == at(place, 7_200)
    place.check()


def test_the_same_call_again_gives_the_same_task(place: Place) -> None:
    """A key's delay is reckoned from the instant that the task was made by."""
    ours = place.queue()
    first = ours.new({"a": 1}, key="k", delay="1h")
    place.advance(5)

    assert place.queue().new({"a": 1}, key="k", delay="1h").number == first.number
    assert first.created_at == at(place, -5)
    assert first.scheduled_at == at(place, 3_595)


def test_priorities_hold_among_what_is_due(place: Place) -> None:
    """What is scheduled for tomorrow beats nobody today, whatever the log's stamp says."""
    ours = place.queue()
    ours.new(key="first tomorrow", priority=9, scheduled_at=at(place, 86_400))
    ours.new(key="second", priority=1)
    ours.new(key="first", priority=5)

    assert place.done(place.queue()) == ["first", "second", "bad"]
    place.check()


def test_a_wrong_clock_that_goes_on_is_borne(place: Place) -> None:
    """Each process decides by its own clock, in turns, and the log stays good."""
    ours = place.queue()
    for turn in range(6):
        place.advance(10)
        (ours if turn % 2 else place.bad).new(key=str(turn) * 2 + "k", delay=f"{turn}s")
        ours.tasks(state="ready")
        with node_of(ours).reading() as projection:
            projection.check()
    place.advance(10)

    # What a wrong clock has delayed waits until then, or for a retry by hand.
    assert place.done(place.queue()) == ["11k", "33k", "55k", "bad", "00k"]
    ours.retry("22k")
    assert place.done(place.queue()) == ["22k"]
    place.check()


@pytest.mark.parametrize("seconds, is_followed", [(59, True), (61, False)])
def test_a_little_ahead_is_followed(seconds: float, is_followed: bool) -> None:  # noqa: FBT001
    """Up to a minute a node keeps to the log's time, and says nothing of it."""
    place = Place(seconds)
    place.bad.new()
    ours = place.queue()

    ours.new(key="k")

    assert (list(ours.events())[-1].body.decided_at is None) is is_followed
    assert final(ours, "k").created_at == at(place, seconds if is_followed else 0)
    place.check()


def shown(cursor: Cursor) -> tuple[int, Stats]:
    """The instant of its view, and what is there then."""
    at = cursor.projection.advanced_to
    return at, take_stats(cursor.projection, now=at)


def test_a_cursor_goes_by_what_was_decided(place: Place) -> None:
    """Forward and backward show the same, as of the right clock."""
    ours = place.queue()
    ours.new(key="later", delay="1h")
    place.advance(10)
    place.done(ours)
    log = HookedLog(place.storage)
    cursor = Cursor(log, now=place.clock.us)
    seen = []
    while cursor.forward():
        seen.append(shown(cursor))
    assert seen[1][0] == place.clock.us - 10 * SECOND_US

    while cursor.seq > 1:
        assert shown(cursor) == seen.pop()
        cursor.backward()


def test_looking_back_goes_by_what_was_decided(place: Place) -> None:
    """The present is that of the clock, a position's that of its decision; `why` says the same."""
    ours = place.queue()
    ours.new(key="urgent tomorrow", priority=9, scheduled_at=at(place, 86_400))
    ours.new(key="today")
    place.done(place.queue())
    log, now = HookedLog(place.storage), place.clock.us

    end = find_point(log, "end", now=now)
    grant = why(log, "today", find_point(log, 4, now=now))

    assert end.at == find_point(log, 3, now=now).at == now
    assert why(log, "urgent tomorrow", end).task.state == "scheduled"
    assert "no task was ahead" in " ".join([grant.verdict, *grant.notes])
    assert "too early" not in " ".join(why(log, "bad", end).notes)


@pytest.mark.parametrize("command", ["verify", "stats"])
def test_a_command_tells_both_times(command: str, tmp_path: Path) -> None:
    """On standard error: the log is good, and ends in the future."""
    wrong = ManualClock()
    wrong.us = time.time_ns() // 1_000 + YEARS * SECOND_US
    url = f"sqlite:///{tmp_path}/log.db"
    with Queue(url, clock=wrong) as queue:
        queue.new()

    process = subprocess.run(
        [sys.executable, "-m", "eventq", command, "--url", url],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "the log is ahead of the clock" in process.stderr
    assert "log_at=" in process.stderr
    assert "clock_at=" in process.stderr


class ClockedLog(HookedLog):
    """A log with a clock of its own, as MongoDB's is."""

    def clock_offset_us(self) -> int:
        """How far the log's clock is from the host's, which is years ahead."""
        return -YEARS * SECOND_US


def test_a_deadline_goes_by_the_logs_own_clock() -> None:
    """An attempt on a host with a wrong clock has the time that its task's expiry leaves it."""
    clock = ManualClock()
    clock.jump(YEARS)
    queue = queue_on(ClockedLog(), clock=clock, workers=1)
    queue.new(key="k", max_age="1h")
    left: list[float | None] = []

    queue.run(lambda ctx, _task: left.append(ctx.remaining()), until="idle")

    assert left == [3_600.0]
    assert final(queue, "k").state == "completed"


def warnings(caplog: pytest.LogCaptureFixture) -> list[Any]:
    """The warnings about clocks, which are taken off."""
    found = [each for each in caplog.records if each.name == "eventq.clock"]
    caplog.clear()
    return found


ASKS: dict[str, Callable[[Queue], object]] = {
    "stats": lambda queue: queue.stats(),
    "run": lambda queue: queue.run(lambda *_: None, until="idle"),
}


@pytest.mark.parametrize("ask", ASKS)
def test_both_times_are_told(place: Place, ask: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every run and every `stats` warn of a log that is ahead, and name the two instants."""
    with caplog.at_level(logging.WARNING):
        ours = place.queue()
        for _ in range(2):
            ASKS[ask](ours)
            [record] = warnings(caplog)
            assert "ahead of the clock" in record.getMessage()
            assert record.log_at.startswith("2033-")
            assert record.clock_at.startswith("2023-")


def test_age_alone_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """A queue that nobody used for years is told nothing, nor is the process that made it so."""
    place = Place(0)
    place.bad.new()
    place.advance(YEARS)

    with caplog.at_level(logging.WARNING):
        place.queue().stats()
        place.bad.stats()

    assert not warnings(caplog)


@pytest.mark.parametrize("jump_s", [-3_600, 3_600])
def test_a_jump_is_told_before_it_is_written(
    jump_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The wall clock against the monotonic one, in one process."""
    log, clock = HookedLog(), ManualClock()
    queue = queue_on(log, clock=clock)
    queue.new()
    clock.jump(jump_s)
    told: list[int] = []
    log.before_append = lambda _: told.append(len(warnings(caplog)))

    with caplog.at_level(logging.WARNING):
        queue.new()

    assert told[0] >= 1


def test_a_clock_set_right_again_is_followed_at_once() -> None:
    """One process whose clock was ahead for a while does not stay ahead by itself."""
    log, clock = HookedLog(), ManualClock()
    queue = queue_on(log, clock=clock)
    clock.jump(YEARS)
    queue.new(key="ahead")
    clock.jump(-YEARS)

    task = queue.new(key="k", delay="1h")

    assert task.scheduled_at == instant(clock.us) + timedelta(hours=1)
    assert final(queue, "ahead").state == "ready"


def test_logging_that_raises_changes_nothing() -> None:
    """A filter of the program's on eventq's logger does not keep a task from being made."""

    def refuse(_record: logging.LogRecord) -> bool:
        raise RuntimeError

    logger = logging.getLogger("eventq.clock")
    logger.addFilter(refuse)
    try:
        place = Place()
        place.bad.new()
        place.queue().new(key="k")
    finally:
        logger.removeFilter(refuse)

    place.check()


TAMPERED = [
    ({"decided_at": None}, "order"),
    ({"decided_at": 5}, "schedule"),
    ({"decided_at": 2**62}, "clock"),
]


@pytest.mark.parametrize("changes, rule", TAMPERED, ids=range(len(TAMPERED)))
def test_verify_goes_by_what_was_decided(changes: dict[str, Any], rule: str) -> None:
    """A lease is judged by its own instant, which cannot be any."""
    place = Place()
    place.bad.new(key="bad")
    ours = place.queue()
    ours.new(key="tomorrow", priority=9, scheduled_at=at(place, 86_400))
    ours.new(key="soon", priority=1, delay="5s")
    place.advance(6)
    place.done(place.queue())
    commits = HookedLog(place.storage).read(after=0)
    altered = MemoryStorage()
    target = HookedLog(altered)
    for commit in commits:
        bodies: Any = decode_bodies(commit.bodies)
        if bodies[0].kind == "leased":
            bodies = [replace(body, **changes) for body in bodies]
        sealed = seal_commit(
            commit_id=commit.id,
            first=commit.first,
            at=commit.at,
            prev=target.head().seal,
            tasks=commit.tasks,
            keys=commit.keys,
            bodies=encode_bodies(bodies),
        )
        target.append(sealed)

    verdict = verify(target)

    assert verdict.findings[0].rule == rule
