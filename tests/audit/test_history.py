"""The history of a task with reasons: each kind of reason, checked by hand."""

from __future__ import annotations

import pytest

from eventq.audit import story
from eventq.core.durations import SECOND_US
from eventq.core.values import Policy, ProcessExit
from tests.stage import BEGIN_US, PLAIN, Stage, error_of, fail, last, told


class TestCreated:
    """What a task began with."""

    def test_a_plain_task(self, stage: Stage) -> None:
        """Ready at once, and how often it may be tried again."""
        numbers = [
            stage.new(policy=Policy("linear", 10, max_retries=retries))
            for retries in (None, 0, 1, 3)
        ]

        assert [last(stage, number) for number in numbers] == [
            "ready at once, retried without limit",
            "ready at once, never retried",
            "ready at once, retried once at most",
            "ready at once, retried 3 times at most",
        ]

    def test_one_with_a_schedule_and_an_expiry(self, stage: Stage) -> None:
        """Both are told as lengths of time."""
        number = stage.new(
            scheduled_at=BEGIN_US + 90 * SECOND_US, expires_at=BEGIN_US + 86_400_000_000
        )

        words = "to run 1m30s later, retried 5 times at most, expires after 1d"
        assert told(stage, number) == [words]


class TestLeased:
    """How long it waited."""

    def test_from_the_instant_it_became_ready(self, stage: Stage) -> None:
        """Not from its creation, when it was scheduled for later."""
        stage.new(scheduled_at=BEGIN_US + 60 * SECOND_US)
        stage.wait("63.2s")
        stage.lease("h7")

        assert last(stage, 1) == "attempt 1 on h7, waited 3.2s after it became ready"

    def test_the_moment_it_became_ready(self, stage: Stage) -> None:
        """No wait is told as none."""
        stage.new()
        stage.lease()

        assert last(stage, 1) == "attempt 1 on h1, the moment it became ready"

    def test_an_edit_of_the_priority_does_not_begin_the_wait_anew(self, stage: Stage) -> None:
        """It was ready before, and stays so; a schedule that came and went does begin it anew."""
        for number in (stage.new(), stage.new()):
            stage.wait("5s")
            stage.update(number, priority=number)
        stage.update(2, delay="1m")
        stage.update(2, delay="0s")
        stage.wait("2s")
        stage.lease(count=2)

        assert last(stage, 1) == "attempt 1 on h1, waited 12s after it became ready"
        assert last(stage, 2) == "attempt 1 on h1, waited 2s after it became ready"

    def test_a_task_given_back_waits_from_then_on(self, stage: Stage) -> None:
        """What stands in its schedule is older."""
        stage.new()
        stage.lease()
        stage.wait("10s")
        stage.settle(1, "released", reason="stopped before it began")
        stage.wait("4s")
        stage.lease("h2")

        assert told(stage, 1)[2:] == [
            "given back by h1 after 10s: stopped before it began; the attempt does not count",
            "attempt 1 on h2, waited 4s after it became ready",
        ]


class TestRetried:
    """The rule behind each wait, worked out from the recorded policy."""

    @pytest.mark.parametrize(
        "policy, words",
        [
            (PLAIN, "3rd of 5 retries: 3 x 10s after the failure"),
            (
                Policy("constant", 2 * SECOND_US, max_retries=3),
                "3rd of 3 retries: 2s after the failure",
            ),
            (
                Policy("exponential", 2 * SECOND_US),
                "3rd retry: 2s doubled 2 times after the failure",
            ),
            (
                Policy("linear", SECOND_US, backoff_cap_us=2 * SECOND_US),
                "3rd retry: 2s, the cap of 3 x 1s, after the failure",
            ),
            (
                Policy("exponential", 2 * SECOND_US, backoff_cap_us=7 * SECOND_US),
                "3rd retry: 7s, the cap of 2s doubled 2 times, after the failure",
            ),
        ],
    )
    def test_backoffs(self, stage: Stage, policy: Policy, words: str) -> None:
        """Constant, linear and exponential, with and without a cap and a limit."""
        number = stage.new(policy=policy)
        for _ in range(3):
            reason = fail(stage, number)

        assert reason == words

    def test_jitter(self, stage: Stage) -> None:
        """What chance took away is told as a share of the wait."""
        policy = Policy("linear", 10 * SECOND_US, jitter=0.5, max_retries=2)
        number = stage.new(policy=policy)

        words = "1st of 2 retries: 1 x 10s after the failure, with 0.12 of jitter taken away: 8.8s"
        assert fail(stage, number, draw=0.24) == words

    def test_jitter_that_took_nothing(self, stage: Stage) -> None:
        """It leaves the plain rule."""
        number = stage.new(policy=Policy("linear", 10 * SECOND_US, jitter=0.5))

        assert fail(stage, number, draw=0.0) == "1st retry: 1 x 10s after the failure"

    def test_the_workers_own_delay(self, stage: Stage) -> None:
        """Retry(delay=...) beats the policy, and is told as the worker's."""
        number = stage.new()
        error = error_of("eventq.Retry")

        words = "1st of 5 retries: after the worker's own delay of 30s"
        assert fail(stage, number, error=error, delay_us=30 * SECOND_US) == words

    def test_a_delay_that_nothing_explains(self, stage: Stage) -> None:
        """Nothing is guessed."""
        number = stage.new()

        words = "1st of 5 retries: 30s after the failure; the log does not say why not 1 x 10s"
        assert fail(stage, number, delay_us=30 * SECOND_US) == words

    def test_a_delay_within_the_jitter_has_two_explanations(self, stage: Stage) -> None:
        """Both are told."""
        number = stage.new(policy=Policy("linear", 10 * SECOND_US, jitter=0.5))
        reason = fail(stage, number, error=error_of("eventq.Retry"), delay_us=8 * SECOND_US)

        assert reason.endswith(
            "with 0.20 of jitter taken away: 8s, or the worker's own delay of that"
        )

    def test_reopened(self, stage: Stage) -> None:
        """By whom, what it had been, and that its max_age begins anew."""
        policy = Policy("linear", 10, max_retries=0, max_age_us=60 * SECOND_US)
        stage.new(policy=policy)
        fail(stage, 1)
        stage.retry(1, by="ann")

        words = (
            "reopened by ann; it had expired (max_retries), retries count anew, expires after 1m"
        )
        assert last(stage, 1) == words

    def test_reopened_after_it_was_called_off(self, stage: Stage) -> None:
        """The reason given then is repeated."""
        stage.new()
        stage.cancel(1, reason="wrong file")
        stage.retry(1)

        assert last(stage, 1) == "reopened; it had been cancelled (wrong file), retries count anew"

    def test_a_lapse_that_waited(self, stage: Stage) -> None:
        """Should a log have one: its rule is told, not the one of today."""
        number = stage.new()

        words = "1st of 5 retries: 1 x 10s after the failure"
        assert fail(stage, number, error=error_of("LeaseLapsed")) == words


class TestFailed:
    """How an attempt ended."""

    def test_run_time_is_counted_from_the_lease(self, stage: Stage) -> None:
        """Of a failure as of a completion."""
        for kind in ("failed", "completed"):
            number = stage.new(9)
            stage.lease("h3")
            stage.wait("1.2s")
            stage.settle(number, kind)

            ended = next(step for step in story(stage.log, str(number)) if step.event.kind == kind)
            assert ended.reason == "ran 1.2s on h3, counted from its lease"
            assert ended.node == "h3"
            stage.cancel(number) if kind == "failed" else None

    def test_a_deadline(self, stage: Stage) -> None:
        """The limit is told beside the time it took."""
        stage.new(policy=Policy("linear", 10, deadline_us=30 * SECOND_US))
        stage.lease()
        stage.wait("30.1s")
        stage.settle(1, "failed", error=error_of("eventq.DeadlineExceededError"))

        assert (
            told(stage, 1)[2] == "past its deadline of 30s: ran 30.1s on h1, counted from its lease"
        )

    def test_an_end_of_its_process(self, stage: Stage) -> None:
        """How it ended is told beside the time that the attempt took."""
        stage.new(policy=Policy("linear", 10, deadline_us=SECOND_US))
        stage.lease()
        stage.wait("1.5s")
        killed = ProcessExit(signal="SIGKILL", killed_after_us=500_000, peak_bytes=2**31)
        stage.settle(1, "failed", error=error_of("eventq.DeadlineExceededError"), exit=killed)

        ran = "past its deadline of 1s: ran 1.5s on h1, counted from its lease"
        how = "its process was killed by SIGKILL, 500ms after it was told to end; it had 2 GiB"
        assert told(stage, 1)[2] == f"{ran}; {how}"

    def test_a_lapse_names_the_last_renewal(self, stage: Stage) -> None:
        """The node's last sign of life, not the lease, and not that of another node."""
        stage.new()
        stage.new()
        stage.lease("h2")
        stage.lease("h1")
        stage.wait("10s")
        renewed = stage.renew("h2")
        stage.wait("20s")
        stage.renew("h1")
        stage.wait("10.2s")
        stage.lapse("h2")

        sign = (
            f"(last sign of life 30.2s before, at {renewed}, when it renewed its leases; lease 30s)"
        )
        assert told(stage, 1)[2:] == [
            f"lapsed: node h2 stopped renewing {sign}",
            "1st of 5 retries: at once, since the lease had lapsed: its ttl was the wait",
        ]

    def test_a_lapse_after_another_lease_of_the_node(self, stage: Stage) -> None:
        """Granting itself a lease is a sign of life too."""
        stage.new()
        stage.lease("h2")
        stage.wait("5s")
        stage.new()
        fence = stage.lease("h2")
        stage.wait("31s")
        stage.lapse("h2")

        sign = f"(last sign of life 31s before, at {fence}, when it leased task 3; lease 30s)"
        assert sign in told(stage, 1)[2]

    def test_a_lapse_without_a_renewal(self, stage: Stage) -> None:
        """The lease itself was the last sign of life."""
        stage.new()
        stage.lease("h2")
        stage.wait("31s")
        stage.lapse("h2")

        sign = "(last sign of life 31s before, at 2, when it leased this task; lease 30s)"
        assert sign in told(stage, 1)[2]
