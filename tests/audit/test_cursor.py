"""What a cursor finds, and how it meets the edges of a log: empty, growing, damaged, unknown."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from functools import partial

import pytest
from msgspec.structs import replace

from eventq import Context, LogCorruptError, Queue
from eventq.audit.stepper.cursor import Cursor
from eventq.core.commits import Commit, Event, Unknown
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.errors import ArgumentError
from eventq.eventlog import EventLog, open_log
from eventq.eventlog.memory import MemoryLog, MemoryStorage
from eventq.replay.points import Point
from eventq.snapshot import create, projection_at
from tests.driver import append_texts, memory_log
from tests.support import ManualClock

TASKS = 5
FAR = 2**62
# Logs in memory live as long as the process, so each has a name of its own.
NUMBERS = itertools.count()


class Stop(Exception):  # noqa: N818 - it only ends a search
    """Raised to stop a search."""


@pytest.fixture
def clock() -> ManualClock:
    """The clock the log was written by."""
    return ManualClock()


@pytest.fixture
def log(clock: ManualClock) -> Iterator[MemoryLog]:
    """Five tasks; one failed twice and one was cancelled and reopened."""
    url = f"memory://cursor-{next(NUMBERS)}"
    with Queue(url, clock=clock, workers=1, backoff=0, max_retries=1) as queue:
        queue.new_many({"n": n} for n in range(TASKS))
        queue.cancel("2", reason="not now")
        queue.retry("2")
        queue.run(fail_the_third, until="idle")
        found = open_log(url)
        assert isinstance(found, MemoryLog)
        yield found


def fail_the_third(_ctx: object, task: object) -> None:
    """A worker for whom one task is too much."""
    if getattr(task, "key", "") == "3":
        raise ValueError("too much")


def save_and_fail(ctx: Context, _task: object) -> None:
    """A worker that hands something to an attempt that will not come."""
    ctx.save(1)
    raise ValueError("too much")


def is_among(wanted: range, _projection: Projection, event: Event, _task: Task | None) -> bool:
    """A condition: whether the event has one of these positions."""
    return event.seq in wanted


def here(log: EventLog) -> Cursor:
    """A cursor at the end of the log."""
    cursor = Cursor(log, now=FAR)
    cursor.jump(log.head().seq)
    return cursor


def state_of(task: Task | None) -> str | None:
    """The state of a task, if there is one."""
    return None if task is None else task.state


def forged(log: MemoryLog, commit: Commit, **fields: object) -> MemoryLog:
    """A log with the same commits but one, in which fields are others."""
    copy = MemoryLog(MemoryStorage(), url="memory://", namespace=log.namespace)
    commits = [
        replace(c, **fields) if c == commit else c for c in log.storage.commits[log.namespace]
    ]
    copy.storage.commits[log.namespace] = commits
    copy.storage.positions = log.storage.positions
    return copy


def with_unknown(log: MemoryLog) -> MemoryLog:
    """The log with two more events, of a kind that a newer version has."""
    text = '{"kind":"muted","note":"[bold]"}'
    append_texts(log, [1, 0], text, text)
    return log


def test_an_empty_log_has_one_place() -> None:
    """Neither forward nor backward leads anywhere, and nothing is found."""
    cursor = Cursor(memory_log(), now=0)
    cursor.jump("end")

    assert (cursor.forward(), cursor.backward(), cursor.seq) == (False, False, 0)
    assert not cursor.find(kind="leased")
    assert not cursor.find(back=True, task=1)
    assert cursor.events(before=9, after=9) == []
    assert (cursor.event, cursor.view().stats.total) == (None, 0)


def test_a_step_tells_what_its_event_changed(log: MemoryLog) -> None:
    """Fields of the task and numbers of the queue, before and after."""
    cursor = Cursor(log, now=FAR)
    assert cursor.find(kind="leased")

    changed = {change.name: (change.before, change.after) for change in cursor.step.task_changes}
    counts = {change.name: (change.before, change.after) for change in cursor.step.count_changes}
    assert changed["state"] == ("ready", "leased")
    assert changed["attempt"] == (0, 1)
    assert set(changed) == {"state", "attempt", "fence", "worker", "started_at_us"}
    assert counts == {"ready": (TASKS, TASKS - 1), "leased": (0, 1), "attempts": (0, 1)}


def test_a_final_task_is_shown_with_its_end(log: MemoryLog) -> None:
    """The projection forgets it; the step has it before and after."""
    cursor = Cursor(log, now=FAR)
    assert cursor.find(kind="completed")

    assert cursor.task is not None
    assert cursor.task.state == "completed"
    assert cursor.task.number not in cursor.projection.tasks


def test_a_reopened_task_is_shown_as_it_was(log: MemoryLog) -> None:
    """Before its reopening it was final, which only its history knows."""
    cursor = Cursor(log, now=FAR)
    assert cursor.find(kind="retried", task=2)

    changed = {change.name: (change.before, change.after) for change in cursor.step.task_changes}
    assert changed["state"] == ("cancelled", "ready")
    assert changed["final_reason"] == ("not now", None)


def test_a_node_is_found_by_its_name(log: MemoryLog) -> None:
    """The first event that names it is its first lease, the last one its last."""
    cursor = Cursor(log, now=FAR)
    cursor.find(kind="leased")
    [worker] = cursor.projection.holders
    first, last = cursor.seq, here(log)

    assert last.find(back=True, worker=worker)
    assert last.event is not None
    assert last.event.kind == "leased"
    assert last.seq > first
    cursor.jump(0)
    assert cursor.find(worker=worker)
    assert cursor.seq == first
    assert not cursor.find(back=True, worker=worker)


def test_a_condition_is_run_to_in_both_directions(log: MemoryLog) -> None:
    """Also one about the event's own task, which may be final by then."""
    cursor = Cursor(log, now=FAR)

    assert cursor.find(condition=lambda _, __, task: state_of(task) == "expired")
    assert cursor.event is not None
    assert cursor.event.kind == "expired"
    assert cursor.find(back=True, condition=lambda projection, *_: projection.leased_count == 0)
    assert cursor.projection.leased_count == 0
    assert not cursor.find(condition=lambda *_: False)
    assert cursor.seq == log.head().seq
    assert not cursor.find(back=True, condition=lambda *_: False)
    assert cursor.seq == 0


def test_a_search_back_by_a_condition_folds_rarely_where_a_limit_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is run forward by stretches, and finds what a search event by event would find."""
    url = f"memory://cursor-{next(NUMBERS)}"
    with Queue(url, clock=ManualClock(), workers=1) as queue:
        queue.set_limit("smtp", running=1)
        queue.new_many({"n": n} for n in range(60))
    log = open_log(url)
    cursor = Cursor(log, now=FAR)
    folds: list[int] = []

    def counted(log: EventLog, point: Point) -> Projection:
        folds.append(point.seq)
        return projection_at(log, point)

    monkeypatch.setattr("eventq.audit.stepper.cursor.projection_at", counted)
    monkeypatch.setattr("eventq.audit.stepper.cursor.STEPWISE_EVENTS", 5)
    for seq in range(1, log.head().seq):
        cursor.jump("end")
        folds.clear()
        assert cursor.find(back=True, condition=partial(is_among, range(seq + 1)))
        assert cursor.seq == seq
        assert len(folds) <= 8
    assert not cursor.find(back=True, condition=lambda *_: False)
    assert cursor.seq == 0


def test_a_search_can_be_stopped(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it tells the position to may raise; the cursor goes on from where it stands."""
    monkeypatch.setattr("eventq.audit.stepper.cursor.PROGRESS_EVENTS", 1)

    def progress(seq: int) -> None:
        if seq in {7, 9}:
            raise Stop

    cursor = Cursor(log, now=FAR)
    with pytest.raises(Stop):
        cursor.find(condition=lambda *_: False, progress=progress)
    assert cursor.seq == 7
    assert cursor.event is not None
    assert cursor.event.seq == 7
    with pytest.raises(Stop):
        cursor.find(kind="expired", progress=progress)
    assert cursor.seq == 7
    assert cursor.forward()
    cursor.projection.check()


def test_a_jump_can_be_stopped(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays where it was."""
    monkeypatch.setattr("eventq.snapshot.starting.FAR_EVENTS", 0)
    monkeypatch.setattr("eventq.audit.stepper.cursor.STEPWISE_EVENTS", 0)
    cursor = Cursor(log, now=FAR)
    cursor.forward()

    def progress(_seq: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        cursor.jump(9, progress=progress)
    assert cursor.seq == 1
    assert cursor.event is not None
    cursor.projection.check()


def test_a_snapshot_on_the_way_is_taken(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A jump over one starts there; one that folds on reads from where it was."""
    monkeypatch.setattr("eventq.snapshot.starting.FAR_EVENTS", 3)
    monkeypatch.setattr("eventq.audit.stepper.cursor.STEPWISE_EVENTS", 0)
    cursor = Cursor(log, now=FAR)
    cursor.forward()
    read: list[int] = []
    cursor.jump("end", progress=read.append)
    plain = dict(cursor.projection.tasks)
    assert read[0] == 1

    entry = create(log, Point(9, 0), now=FAR)
    cursor.jump(1)
    read.clear()
    cursor.jump("end", progress=read.append)

    # A snapshot is held against its own commit first.
    assert min(read) == entry.seq - 1
    assert cursor.projection.tasks == plain
    cursor.projection.check()


def test_a_jump_to_an_instant_is_told_as_of_then(log: MemoryLog, clock: ManualClock) -> None:
    """What has become ready by then is ready, and a step forgets it again."""
    with Queue(log.url, clock=clock) as queue:
        queue.new(delay="60s")
    clock.advance(120)
    cursor = Cursor(log, now=clock.now_us())
    cursor.jump("end")
    late = cursor.view().stats

    cursor.jump(log.head().seq)
    assert (late.ready, late.scheduled) == (1, 0)
    assert (cursor.view().stats.ready, cursor.view().stats.scheduled) == (0, 1)


def test_a_point_that_is_none_moves_nothing(log: MemoryLog) -> None:
    """The error is that of all points."""
    cursor = Cursor(log, now=FAR)
    cursor.forward(3)

    with pytest.raises(ArgumentError, match="where the log ends"):
        cursor.jump(1_000)
    assert cursor.seq == 3


def test_a_log_may_grow(log: MemoryLog, clock: ManualClock) -> None:
    """Its new end is reached from the old one, and is in the window."""
    cursor = here(log)
    end = cursor.seq
    assert not cursor.forward()

    with Queue(log.url, clock=clock) as queue:
        queue.new_many([{}, {}])
    assert cursor.forward(1_000)
    assert cursor.seq == end + 2
    assert [event.seq for event in cursor.events(before=1, after=5)] == [end + 1, end + 2]


def test_what_an_attempt_told_is_taken_back_by_its_history(clock: ManualClock) -> None:
    """Also of a named task, whose route it shares with others, when no undo was kept."""
    url = f"memory://cursor-{next(NUMBERS)}"
    with Queue(url, clock=clock, workers=1, max_retries=0) as queue:
        queue.new({}, name="mail")
        queue.run(save_and_fail, names=["*"], until="idle")
    cursor = Cursor(open_log(url), now=FAR)
    cursor._undos = deque(maxlen=0)
    cursor.find(kind="failed")

    cursor.backward()

    assert cursor.event is not None
    assert cursor.event.kind == "saved"
    cursor.projection.check()


def test_an_unknown_kind_changes_no_number(log: MemoryLog) -> None:
    """It is shown as it is stored, in both directions, about a final task or a node."""
    cursor = here(with_unknown(log))
    end = cursor.seq

    for seq in (end, end - 1):
        cursor.jump(seq)
        assert isinstance(cursor.event and cursor.event.body, Unknown)
        assert {change.name for change in cursor.step.task_changes} <= {"newer"}
        assert cursor.step.count_changes == []
    assert newer_of(cursor) == (None, {1: (end - 1, "muted")})
    cursor.forward()
    assert newer_of(cursor) == ((end, "muted"), {1: (end - 1, "muted")})
    cursor.backward(2)
    assert newer_of(cursor) == (None, {})


def newer_of(cursor: Cursor) -> tuple[object, object]:
    """What the projection there has met of a newer eventq."""
    return cursor.projection.unknown, cursor.projection.strangers


@pytest.mark.parametrize("stepwise", [0, 2_000])
@pytest.mark.parametrize("field", ["bodies", "seal"])
def test_damage_ends_the_way_right_before_it(
    log: MemoryLog, field: str, stepwise: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is approached, the error names the position, and the way back is open."""
    monkeypatch.setattr("eventq.audit.stepper.cursor.STEPWISE_EVENTS", stepwise)
    commit = next(c for c in log.storage.commits[log.namespace] if '"kind":"leased"' in c.bodies[0])
    value: object = bytes(32)
    if field == "bodies":
        value = [commit.bodies[0].replace('"attempt":1', '"attempt":7'), *commit.bodies[1:]]
    damaged = forged(log, commit, **{field: value})
    cursor = Cursor(damaged, now=FAR)

    for go in (to_the_end, walk_on, run_on):
        cursor.jump(1)
        with pytest.raises(LogCorruptError) as caught:
            go(cursor)
        assert caught.value.position == commit.first
        assert cursor.seq == commit.first - 1
        assert cursor.event is not None
        cursor.projection.check()
        assert cursor.view().seq == cursor.seq
        assert cursor.backward()


def to_the_end(cursor: Cursor) -> None:
    """Goes there at once."""
    cursor.jump("end")


def walk_on(cursor: Cursor) -> None:
    """Goes on as long as it leads anywhere."""
    while cursor.forward():
        pass


def run_on(cursor: Cursor) -> None:
    """Runs on for what never holds."""
    cursor.find(condition=lambda *_: False)


@pytest.mark.parametrize("stepwise", [0, 2_000])
def test_an_illegal_move_is_damage_at_its_own_position(
    log: MemoryLog, stepwise: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forger's seals fit, yet the events before it in its commit can be stepped through."""
    monkeypatch.setattr("eventq.audit.stepper.cursor.STEPWISE_EVENTS", stepwise)
    waits = '{"kind":"created","policy":{"backoff":"constant","backoff_us":0}}'
    expired = '{"kind":"expired","reason":"max_age"}'
    commit = append_texts(log, [log.head().seq + 1, 1], waits, expired)
    cursor = Cursor(log, now=FAR)

    for go in (to_the_end, walk_on):
        cursor.jump(0)
        with pytest.raises(LogCorruptError) as caught:
            go(cursor)
        assert caught.value.position == commit.last
        assert cursor.seq == commit.first
        assert cursor.event is not None
        assert cursor.event.seq == cursor.seq
        assert cursor.projection.counts["expired"] == 1
        cursor.projection.check()


def test_a_body_that_is_no_body_is_shown_as_it_is(log: MemoryLog) -> None:
    """The list of events shows its text; the cursor does not go there."""
    commit = log.storage.commits[log.namespace][-1]
    damaged = forged(log, commit, bodies=['{"kind":"leased"}'] * len(commit.bodies))
    cursor = Cursor(damaged, now=FAR)
    cursor.jump(commit.first - 1)

    shown = cursor.events(before=0, after=1)
    assert shown[1].body == Unknown("damaged", '{"kind":"leased"}')
    with pytest.raises(LogCorruptError):
        cursor.forward()
