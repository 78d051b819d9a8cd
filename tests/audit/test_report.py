"""A report of a period: what it counts, and what it tells of nodes, waits and work done twice."""

from __future__ import annotations

import pytest

from eventq.audit.finding import Reach, find_reach
from eventq.audit.report import Report
from eventq.audit.reporting import report
from eventq.audit.why import why
from eventq.core.durations import SECOND_US
from eventq.errors import ArgumentError
from eventq.eventlog import EventLog
from eventq.replay.attempts import past_attempts
from eventq.replay.fold import task_of
from eventq.replay.instants import in_us
from eventq.replay.points import Point
from tests.catalog.test_counting import log_of
from tests.catalog.test_passing_attempts import histories_of
from tests.stage import BEGIN_US, Stage


def reported(stage: Stage, *, after: int = 0) -> Report:
    """The report of what stands behind a position."""
    return report(stage.log, find_reach(stage.log, after, now=stage.now))


@pytest.mark.parametrize("kind", ["generated", "bulk", "stage"])
def test_two_halves_count_what_the_whole_does(kind: str) -> None:
    """Wherever the log is parted: nothing is counted twice, and nothing is left out."""
    log: EventLog = log_of(kind)
    head = log.head()
    whole = report(log, Reach(0, head.seq, head.at))
    for part in (1, 3):
        middle = log.read(after=head.seq * part // 4, limit=1)[0]
        first = report(log, Reach(0, middle.last, middle.at))
        second = report(log, Reach(middle.last, head.seq, head.at))

        assert first.open_after == second.open_before
        for name in ("created", "started", "completed", "failed", "lapsed", "refused", "retried"):
            assert getattr(first, name) + getattr(second, name) == getattr(whole, name), name
        assert first.ran.count + second.ran.count == whole.ran.count
        assert first.by_hand_count + second.by_hand_count == whole.by_hand_count


@pytest.mark.parametrize("kind", ["generated", "bulk", "stage"])
def test_the_longest_runs_are_those_of_the_histories(kind: str) -> None:
    """And the counts of each kind of event."""
    log = log_of(kind)
    head = log.head()
    found = report(log, Reach(0, head.seq, head.at))
    attempts = [
        each
        for history in histories_of(log).values()
        for each in past_attempts(log.namespace, history)
    ]
    runs = sorted(
        (in_us(e.ended_at) - in_us(e.started_at) for e in attempts if e.ended_at is not None),
        reverse=True,
    )
    kinds = [event.kind for c in histories_of(log).values() for event in c]

    assert [run.ran_us for run in found.runs] == runs[:10]
    assert found.ran.count == len(runs)
    assert found.lapsed == sum(each.outcome == "lapsed" for each in attempts)
    assert (found.created, found.started) == (kinds.count("created"), kinds.count("leased"))
    assert (found.refused, found.expired) == (kinds.count("refused"), kinds.count("expired"))


def test_a_silent_node_and_its_work_done_twice_are_told() -> None:
    """Since its last sign, until its next; who had the task by then."""
    stage = Stage()
    number = stage.new()
    fence = stage.lease("h1")
    stage.wait("40s")
    stage.lapse("h1")
    stage.wait("5s")
    stage.lease("h2")
    stage.wait("1s")
    stage.settle(number, fence=fence, worker="h1")
    stage.settle(number)

    found = reported(stage)
    [silence] = found.silences
    [twice] = found.ran_twice
    assert (silence.node, silence.since, silence.leases) == ("h1", BEGIN_US, 1)
    assert (twice.key, twice.node, twice.again_on) == (str(number), "h1", "h2")
    assert (found.lapsed, found.refused) == (1, 1)


def test_a_node_is_silent_until_its_next_sign() -> None:
    """It came back with its outcome before another node had looked."""
    stage = Stage()
    number = stage.new()
    stage.lease("h1")
    stage.wait("40s")
    stage.settle(number)

    [silence] = reported(stage).silences
    assert (silence.since, silence.until) == (BEGIN_US, BEGIN_US + 40 * SECOND_US)


def test_the_longest_wait_is_told_with_what_was_leased_meanwhile() -> None:
    """How many leases, and the name that most of them had."""
    stage = Stage()
    slow = stage.new(priority=-1)
    for _ in range(3):
        stage.new()
    stage.wait("10s")
    stage.lease("h1", 3)
    stage.wait("20s")
    stage.lease("h2", 1)

    [wait, *_] = reported(stage).waits
    assert (wait.key, wait.waited_us) == (str(slow), 30 * SECOND_US)
    assert (wait.leases, wait.most_of, wait.most_leases) == (3, "-", 3)


def test_leases_meanwhile_are_those_that_why_counts() -> None:
    """Also where another task's lease stands in the same commit, before the task's own."""
    stage = Stage()
    last = stage.new(key="last", priority=-1)
    for _ in range(3):
        stage.new()
    stage.wait("10s")
    stage.lease("h1", 1)
    stage.wait("1s")
    stage.lease("h1", 3)

    [wait, *_] = [each for each in reported(stage).waits if each.number == last]
    head = stage.log.head()
    assert wait.leases == 3
    assert wait.leases == why(stage.log, "last", Point(head.seq, head.at)).leases_since


@pytest.mark.parametrize("kind", ["generated", "bulk", "stage"])
def test_why_says_the_same_of_each_long_wait(kind: str) -> None:
    """When it began, and how many leases went to others, also after a lease was given back."""
    log = log_of(kind)
    head = log.head()
    histories = histories_of(log)
    waits = report(log, Reach(0, head.seq, head.at)).waits
    told = []
    for wait in waits:
        leases = [each for each in histories[wait.number] if each.kind == "leased"]
        ended_at = wait.ready_at + wait.waited_us
        [lease] = [each for each in leases if each.decided_at == ended_at]
        answer = why(log, wait.key, Point(lease.seq, lease.decided_at))
        told.append((answer.ready_at, answer.leases_since))

    assert told == [(wait.ready_at, wait.leases) for wait in waits]
    assert any(wait.leases for wait in waits)


def test_a_wait_begins_when_the_task_might_have_run() -> None:
    """Again: at the instant of its retry, not at that of its failure."""
    stage = Stage()
    number = stage.new()
    stage.lease()
    stage.settle(number, "failed")
    failed = task_of(stage.log, number)
    assert failed is not None
    due_at = failed.scheduled_at_us
    stage.wait("1m")
    stage.lease("h2")

    [wait, *_] = reported(stage).waits
    assert due_at > BEGIN_US
    assert (wait.ready_at, wait.waited_us) == (due_at, stage.now - due_at)


def test_what_a_person_did_is_told() -> None:
    """With the name; what handlers and nodes did is not."""
    stage = Stage()
    first, second = stage.new(), stage.new()
    stage.cancel(first, by="ada", reason="no use")
    stage.lease()
    stage.settle(second, "failed")

    [change] = reported(stage).by_hand
    assert (change.kind, change.key, change.by, change.reason) == (
        "cancelled",
        str(first),
        "ada",
        "no use",
    )


def test_an_empty_period_is_empty() -> None:
    """One that ends before it begins is refused."""
    stage = Stage()
    stage.new()
    found = reported(stage, after=1)

    assert (found.created, found.minutes, found.waited.median) == (0, [], None)
    with pytest.raises(ArgumentError, match="where the period begins"):
        find_reach(stage.log, 1, 0, now=stage.now)
