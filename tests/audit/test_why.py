"""Why a task was or was not dispatched: each answer by hand."""

from __future__ import annotations

import pytest

from eventq import TaskNotFoundError
from eventq.audit import Why, why
from eventq.core.durations import SECOND_US
from eventq.core.seal import seal_commit
from eventq.core.values import Policy
from eventq.replay.points import Point
from tests.stage import BEGIN_US, PLAIN, Stage


def ask(stage: Stage, number: int, seq: int | None = None) -> Why:
    """The answer now, or at a position."""
    if seq is None:
        return why(stage.log, str(number), stage.end)
    return why(stage.log, str(number), Point(seq, stage.log.read(after=seq - 1, limit=1)[0].at))


class TestWaiting:
    """Why it does not run."""

    def test_scheduled_by_its_creation(self, stage: Stage) -> None:
        """The instant, how long until then, and the event that chose it."""
        stage.new(scheduled_at=BEGIN_US + 3_600 * SECOND_US)
        stage.wait("15m")

        answer = ask(stage, 1)
        assert answer.verdict == "it is scheduled for 2023-11-14 23:13:20.000Z, in 45m"
        assert answer.notes == [
            "because of created at 1: to run 1h later, retried 5 times at most",
        ]

    def test_scheduled_by_a_failure_or_an_edit(self, stage: Stage) -> None:
        """The last event that chose the instant, not one that changed something else."""
        stage.new()
        stage.lease()
        stage.settle(1, "failed")
        stage.update(1, priority=3)
        assert ask(stage, 1).notes == [
            "because of retried at 4: 1st of 5 retries: 1 x 10s after the failure"
        ]
        stage.update(1, delay="1m", by="ann")

        words = "because of updated at 6: to run in 1m, instead of in 10s by ann"
        assert ask(stage, 1).notes == [words]

    def test_tasks_ahead(self, stage: Stage) -> None:
        """How many, by which field, and the first by name."""
        stage.new(scheduled_at=BEGIN_US + SECOND_US)
        stage.new(5)
        stage.wait("2s")
        stage.new(0)
        stage.update(3, scheduled_at=BEGIN_US + SECOND_US)
        stage.new(7)

        answer = ask(stage, 3)
        assert answer.verdict == ("3 tasks are ahead: 2 by higher priority, 1 by lower number")
        assert answer.rank is not None
        assert [(rival.task.number, rival.field) for rival in answer.rank.ahead] == [
            (5, "priority"), (2, "priority"), (1, "number"),
        ]  # fmt: skip
        assert "no node holds a lease" in answer.notes

    def test_one_ahead_by_its_instant(self, stage: Stage) -> None:
        """In the singular, and with the nodes that are at work."""
        stage.new(9)
        stage.lease("h1")
        stage.new()
        stage.wait("1s")
        stage.new()

        answer = ask(stage, 4)
        assert answer.verdict == "1 task is ahead: 1 by earlier scheduled_at"
        assert answer.notes[-1] == "1 node holds 1 lease"
        assert [(load.worker, load.leases) for load in answer.loads] == [("h1", 1)]

    def test_nothing_blocks_it_and_nobody_has_asked(self, stage: Stage) -> None:
        """It is next, and no lease has been granted since it became ready."""
        stage.new()
        stage.wait("90s")

        answer = ask(stage, 1)
        assert answer.verdict == (
            "nothing blocks it: it is next; "
            "no lease has been granted since it became ready, so no free worker has asked"
        )
        assert answer.notes[0] == "it has been ready for 1m30s, since 2023-11-14 22:13:20.000Z"

    def test_nobody_has_asked_since_the_last_lease(self, stage: Stage) -> None:
        """Others went first; since then nobody asked."""
        stage.new()
        stage.new(5)
        fence = stage.lease()
        stage.wait("12s")

        answer = ask(stage, 1)
        assert answer.verdict == (
            "nothing blocks it: it is next; "
            f"no lease has been granted since {fence}, 12s ago, so no free worker has asked"
        )
        words = "when it became ready no task was ahead; 1 lease went to others since"
        assert answer.notes[1] == words

    def test_past_its_expiry(self, stage: Stage) -> None:
        """From that very instant on it is not next, whatever its rank."""
        stage.new(expires_at=BEGIN_US + SECOND_US)
        stage.wait("1s")

        at = "2023-11-14 22:13:21.000Z"
        words = f"it is past its expiry since {at}: the next node that looks expires it"
        assert ask(stage, 1).verdict == words

    def test_one_past_its_expiry_is_not_ahead(self, stage: Stage) -> None:
        """Nobody leases it, so nobody waits for it."""
        stage.new(9, expires_at=BEGIN_US + SECOND_US)
        stage.new()
        stage.wait("1s")

        answer = ask(stage, 2)
        assert answer.rank is not None
        assert (answer.rank.place, answer.rank.overdue) == (1, 1)
        assert answer.verdict.startswith("nothing blocks it")


class TestDispatched:
    """Why it ran when it did."""

    def test_whom_a_lease_beat(self, stage: Stage) -> None:
        """Each rival with the field that decided, and how many were ahead at first."""
        stage.new(5)
        stage.new(1)
        stage.new(1)
        stage.wait("1s")
        stage.new(1)
        stage.new(0)
        stage.lease(count=3)

        answer = ask(stage, 2, 7)
        assert answer.verdict == "it has been leased to h1 since 2023-11-14 22:13:21.000Z, for 0s"
        assert answer.grant is not None
        assert [(rival.task.number, rival.field) for rival in answer.grant.rank.behind] == [
            (3, "number"), (4, "scheduled_at"), (5, "priority"),
        ]  # fmt: skip
        ahead = "1 task was ahead: 1 by higher priority"
        leased = "when it leased this task"
        assert answer.notes == [
            "lease 7, attempt 1 on h1, waited 1s after it became ready",
            f"when it became ready {ahead}; 1 lease went to others since",
            "it beat 3 tasks: 1 by higher priority, 1 by earlier scheduled_at, 1 by lower number",
            f"last sign of life of the node 0s ago, at 7, {leased}; its lease lasts 30s",
        ]

    def test_an_earlier_lease_by_its_position(self, stage: Stage) -> None:
        """The point decides which lease is meant."""
        stage.new()
        first = stage.lease("h1")
        stage.settle(1, "failed")
        stage.wait("10s")
        second = stage.lease("h2")
        stage.settle(1)
        answers = [ask(stage, 1, first), ask(stage, 1, second), ask(stage, 1)]

        assert [answer.grant and answer.grant.seq for answer in answers] == [first, second, second]
        assert [answer.grant and answer.grant.worker for answer in answers] == ["h1", "h2", "h2"]

    def test_a_node_that_is_silent(self, stage: Stage) -> None:
        """The last sign of life is the renewal, not the lease."""
        stage.new()
        stage.lease("h2")
        stage.wait("10s")
        renewed = stage.renew("h2")
        stage.wait("25s")

        answer = ask(stage, 1)
        words = (
            f"last sign of life of the node 25s ago, at {renewed}, when it renewed its leases; "
            "its lease lasts 30s"
        )
        assert answer.notes[-1] == words

    def test_completed(self, stage: Stage) -> None:
        """Since when and why, and the lease it came of."""
        stage.new()
        stage.lease()
        stage.wait("2s")
        stage.settle(1)

        answer = ask(stage, 1)
        assert answer.verdict == (
            "it has been completed since 2023-11-14 22:13:22.000Z, "
            "by completed at 3: ran 2s on h1, counted from its lease"
        )
        assert answer.notes[-1] == "no other task was ready"

    def test_between_a_failure_and_what_follows(self, stage: Stage) -> None:
        """A position in the middle of the commit."""
        stage.new()
        stage.lease()
        stage.settle(1, "failed")

        words = "its attempt has just failed; what follows stands in the same commit, behind"
        assert ask(stage, 1, 3).verdict == words

    def test_a_lease_out_of_order(self, stage: Stage) -> None:
        """A log that breaks the order is told as that, with who should have been first."""
        stage.new()
        stage.new(5)
        body = '{"kind":"leased","attempt":1,"worker":"h1","ttl_us":30000000}'
        stage.log.append(
            seal_commit(
                commit_id="x", first=3, at=stage.now, prev=stage.log.head().seal, tasks=[1],
                keys={}, bodies=[body],
            )
        )  # fmt: skip
        answer = why(stage.log, "1", Point(3, stage.now))

        assert answer.grant is not None
        assert not answer.grant.in_order
        assert "out of order: 1 task was ahead: 1 by higher priority" in answer.notes


class TestGivenUp:
    """Why it never ran, or not again."""

    def test_expired_behind_others(self, stage: Stage) -> None:
        """How long it waited, and who was in the way at its end."""
        stage.new(0, policy=Policy("linear", 10, max_age_us=60 * SECOND_US))
        stage.new_many([3, 3, 3])
        stage.lease()
        stage.wait("60s")
        stage.expire()

        answer = ask(stage, 1)
        assert answer.verdict == (
            "it has been expired since 2023-11-14 22:14:20.000Z, "
            "by expired at 6: max_age of 1m passed while waiting"
        )
        assert answer.notes == [
            "it had been ready for 1m, since 2023-11-14 22:13:20.000Z",
            "when it became ready no task was ahead; 1 lease went to others since",
            "at its end, 2 tasks were ahead: 2 by higher priority",
        ]

    def test_cancelled_before_its_instant(self, stage: Stage) -> None:
        """It was never ready at all."""
        stage.new(scheduled_at=BEGIN_US + 3_600 * SECOND_US)
        stage.cancel(1, reason="no longer needed", by="ann")

        answer = ask(stage, 1)
        assert answer.verdict.endswith("by cancelled at 2: called off by ann: no longer needed")
        assert answer.notes == [
            "it was still scheduled, for 2023-11-14 23:13:20.000Z",
            "because of created at 1: to run 1h later, retried 5 times at most",
        ]

    def test_a_late_outcome_hides_nothing(self, stage: Stage) -> None:
        """What is refused afterwards does not change the answer."""
        stage.new(policy=PLAIN)
        fence = stage.lease("h2")
        stage.wait("31s")
        stage.lapse("h2")
        stage.cancel(1)
        stage.settle(1, fence=fence, worker="h2")

        answer = ask(stage, 1)
        assert answer.verdict.endswith("by cancelled at 5: called off")
        assert answer.grant is None


def test_rivals_are_named_up_to_the_limit(stage: Stage) -> None:
    """All are counted."""
    stage.new_many([3, 2, 1, 0, 0])

    rank = why(stage.log, "3", stage.end, limit=1).rank
    assert rank is not None
    assert (len(rank.ahead), len(rank.behind)) == (1, 1)
    assert (rank.ahead_count, rank.behind_count) == (2, 2)


def test_a_task_that_was_not_there_yet(stage: Stage) -> None:
    """The error says when it was created."""
    stage.new()
    stage.new()

    with pytest.raises(TaskNotFoundError, match="it was created at 2"):
        why(stage.log, "2", Point(1, stage.now))


class TestOvertaken:
    """Who went past a task that is ready."""

    def test_who_was_leased_since_and_was_not_ahead_then(self, stage: Stage) -> None:
        """Those that came later with a higher priority; not those that were ahead already."""
        stage.new(3)
        stage.new(0)
        for _ in range(7):
            stage.new(9)
        for _ in range(8):
            stage.lease()

        answer = ask(stage, 2)

        assert answer.overtaken_count == 7
        assert [rival.task.number for rival in answer.overtaken] == [3, 4, 5, 6, 7]
        assert {rival.field for rival in answer.overtaken} == {"priority"}
        words = "overtook it since it became ready: 3, 4, 5, 6, 7, ...; 3 by higher priority, 9"
        assert f"7 tasks {words}" in answer.notes

    def test_nobody_overtook_it(self, stage: Stage) -> None:
        """Who was ahead when it became ready only had its turn."""
        stage.new(3)
        stage.new(0)
        stage.lease()

        answer = ask(stage, 2)

        assert (answer.overtaken, answer.overtaken_count) == ([], 0)
        assert not any("overtook" in note for note in answer.notes)
