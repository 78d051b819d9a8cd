"""The reasons of what ends a task or a lease from outside: expiry, people, late outcomes."""

from __future__ import annotations

import pytest

from eventq import TaskState
from eventq.audit import story
from eventq.core.durations import SECOND_US
from eventq.core.values import Policy
from tests.stage import BEGIN_US, Stage, error_of, fail, last, told


class TestExpired:
    """Which limit was reached."""

    def test_retries(self, stage: Stage) -> None:
        """Used up, or never allowed."""
        for retries, words in ((2, "2 of 2 retries used"), (0, "no retries allowed")):
            number = stage.new(policy=Policy("linear", 10, max_retries=retries))
            for _ in range(retries + 1):
                reason = fail(stage, number)

            assert reason == words

    def test_max_age_while_waiting(self, stage: Stage) -> None:
        """With how long nobody noticed."""
        stage.new(policy=Policy("linear", 10, max_age_us=86_400 * SECOND_US))
        stage.wait("24h1m")
        stage.expire()

        assert last(stage, 1) == "max_age of 1d passed while waiting, 1m before a node saw it"

    def test_max_age_of_a_reopened_task(self, stage: Stage) -> None:
        """It counts from the reopening."""
        stage.new(policy=Policy("linear", 10, max_age_us=60 * SECOND_US))
        stage.wait("60s")
        stage.expire()
        stage.wait("1h")
        stage.retry(1)
        stage.wait("60s")
        stage.expire()

        assert last(stage, 1) == "max_age of 1m passed while waiting"

    def test_an_instant_of_expiry(self, stage: Stage) -> None:
        """Not called max_age when the caller gave an instant."""
        stage.new(expires_at=BEGIN_US + 5 * SECOND_US)
        stage.wait("5s")
        stage.expire()

        assert last(stage, 1) == "expires_at passed while waiting"

    def test_a_retry_that_would_come_too_late(self, stage: Stage) -> None:
        """Its wait is told."""
        policy = Policy("linear", 40 * SECOND_US, max_age_us=60 * SECOND_US)
        number = stage.new(policy=policy)
        fail(stage, number)
        reason = fail(stage, number)

        assert (
            reason
            == "max_age of 1m would have passed before the 2nd retry, 2 x 40s after the failure"
        )

    def test_a_retry_at_the_very_expiry(self, stage: Stage) -> None:
        """That is too late as well."""
        number = stage.new(policy=Policy("linear", 60 * SECOND_US, max_age_us=60 * SECOND_US))

        words = "max_age of 1m would have passed before the 1st retry, 1 x 1m after the failure"
        assert fail(stage, number) == words

    def test_a_workers_delay_past_the_expiry(self, stage: Stage) -> None:
        """The policy's wait would have been in time, so it was not that one."""
        number = stage.new(policy=Policy("linear", SECOND_US, max_age_us=60 * SECOND_US))
        error = error_of("eventq.Retry")
        reason = fail(stage, number, error=error, delay_us=90 * SECOND_US)

        words = "max_age of 1m would have passed before the 1st retry, after the worker's own delay"
        assert reason == words

    def test_an_attempt_that_failed_past_the_expiry(self, stage: Stage) -> None:
        """No wait at all would have been in time, from the very instant on."""
        for length in ("60s", "61s"):
            number = stage.new(policy=Policy("linear", SECOND_US, max_age_us=60 * SECOND_US))
            stage.lease()
            stage.wait(length)
            stage.settle(number, "failed")

            assert last(stage, number) == "max_age of 1m had passed when the attempt failed"


class TestEdited:
    """What people did."""

    def test_called_off(self, stage: Stage) -> None:
        """Waiting, or leased: then an attempt lost its lease."""
        stage.new()
        stage.cancel(1, reason="not needed", by="ann")
        stage.new()
        stage.lease("h2")
        stage.wait("3s")
        stage.cancel(3)

        assert last(stage, 1) == "called off by ann: not needed"
        assert last(stage, 3) == "called off while attempt 1 was leased to h2, for 3s"

    def test_updates(self, stage: Stage) -> None:
        """Each field with what it was before."""
        stage.new(tags_json=b'{"a": 1, "b": 2}')
        stage.update(1, priority=7, tags_json=b'{"a": 1, "b": 3, "c": 4}', by="ann")
        stage.update(1, delay="1h")
        stage.update(1, delay="30m")
        stage.retry(1, by="bob")
        stage.update(1, lane="mail", by="eve")
        stage.update(1, lane="default", priority=1)

        assert told(stage, 1)[1:] == [
            "priority 0 to 7, tags changed: b c by ann",
            "to run in 1h, it was ready",
            "to run in 30m, instead of in 1h",
            "ready at once, 30m early by bob",
            "lane default to mail by eve",
            "priority 7 to 1, lane mail to default",
        ]


class TestRefused:
    """Outcomes that came late."""

    @pytest.mark.parametrize(
        "how, word", [("lapse", "lapsed"), ("cancel", "cancelled"), ("released", "released")]
    )
    def test_how_the_lease_was_lost(self, stage: Stage, how: str, word: str) -> None:
        """Where and by what, and how long before."""
        stage.new()
        fence = stage.lease("h2")
        stage.wait("31s")
        lost = {
            "lapse": lambda: stage.lapse("h2"),
            "cancel": lambda: stage.cancel(1),
            "released": lambda: stage.settle(1, "released"),
        }[how]()
        stage.wait("2.3s")
        stage.settle(1, fence=fence, worker="h2")

        assert last(stage, 1) == (
            "late outcome of an attempt that had lost its lease: completed on h2, after 33.3s; "
            f"its lease {fence} was lost at {lost} ({word}), 2.3s before"
        )

    def test_a_deadline_and_a_second_outcome(self, stage: Stage) -> None:
        """A failure for its deadline is told as that; a completion as one."""
        stage.new()
        first = stage.lease()
        stage.settle(1, "failed", error=error_of("eventq.DeadlineExceededError"))
        stage.settle(1, fence=first, worker="h1")
        stage.wait("10s")
        second = stage.lease()
        stage.settle(1)
        stage.settle(1, fence=second, worker="h1")

        lines = [line for line in told(stage, 1) if line.startswith("late")]
        assert ["(past its deadline), no time before" in lines[0], "(completed)" in lines[1]] == [
            True, True,
        ]  # fmt: skip

    def test_it_changes_nothing(self, stage: Stage) -> None:
        """The state after it is the one before it."""
        stage.new()
        fence = stage.lease("h2")
        stage.wait("31s")
        stage.lapse("h2")
        stage.lease("h3")
        stage.settle(1, fence=fence, worker="h2")

        step = story(stage.log, "1")[-1]
        assert (step.state, step.node, step.task.worker) == (TaskState.LEASED, "h2", "h3")
