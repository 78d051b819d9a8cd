"""What may follow a failure, and when: by the policy that the task was created with."""

from __future__ import annotations

from tools.history.facts import Body
from tools.history.nodes import LAPSE
from tools.history.world import BrokenError, Task

# The longest wait there is: a century.
LONGEST_US = 36_525 * 24 * 3_600 * 1_000_000
# The error of a worker that said itself when it is to come back.
RETRY = "eventq.Retry"


class Retries:
    """Judges what follows failures.

    Where ``by_policy`` is set, workers that raise `Retry` do so without another error behind it, so
    that each other wait must be the policy's; else only lapses can be told from the log.
    """

    def __init__(self, *, by_policy: bool) -> None:
        self._by_policy = by_policy

    def judge_retry(self, task: Task, now: int, at: int) -> None:
        """A failed task is to run again at an instant; the retry is counted already."""
        most, most_lapses = task.policy.get("max_retries"), task.policy.get("max_lapses")
        if most is not None and task.retries > most:
            raise BrokenError(9, f"retried {task.retries} times, of {most}")
        if most_lapses is not None and task.lapses > most_lapses:
            raise BrokenError(9, f"lapsed {task.lapses} times in a row, of {most_lapses}")
        if task.expires_at is not None and at >= task.expires_at:
            raise BrokenError(8, "retried at or past its expiry")
        waits = self._waits(task)
        if waits is not None and not waits[0] <= at - now <= waits[1]:
            raise BrokenError(8, f"retried after {at - now} us, expected {waits[0]} to {waits[1]}")

    def judge_end(self, task: Task, now: int, reason: str) -> None:
        """A task is given up for this reason."""
        if reason == "max_age" and task.expires_at is None:
            raise BrokenError(8, "expired without an expiry")
        if task.state == "failed":
            self._judge_last(task, now, reason)
        elif reason != "max_age" or now < (task.expires_at or 0):
            raise BrokenError(8, f"expired ({reason}) too early, or without a failure")

    def _judge_last(self, task: Task, now: int, reason: str) -> None:
        """The failure of an attempt is the last one, for this reason."""
        most, most_lapses = task.policy.get("max_retries"), task.policy.get("max_lapses")
        if reason == "max_lapses" and (most_lapses is None or task.lapses <= most_lapses):
            raise BrokenError(9, f"given up after {task.lapses} lapses, of {most_lapses}")
        if reason == "max_retries" and (most is None or task.retries < most):
            raise BrokenError(9, f"given up after {task.retries} retries, of {most}")
        if reason == "fatal" and task.lapses:
            raise BrokenError(13, "a lapse has failed the task for good")
        if reason == "max_age":
            waits = self._waits(task, 1)
            if waits is not None and now + waits[1] < (task.expires_at or 0):
                raise BrokenError(8, "given up for its age, though there was time for a retry")

    def _waits(self, task: Task, more: int = 0) -> tuple[int, int] | None:
        """The shortest and the longest wait before the next attempt; None where nobody can say.

        ``more``: retries that are not counted yet.
        """
        if task.lapses:
            exact = wait_us(task.policy, task.lapses - 1) if task.lapses > 1 else 0
            return exact, exact
        failed = task.failure or {}
        kind = failed.get("error", {}).get("type")
        if not self._by_policy or failed.get("rule") is not None or kind == RETRY:
            return None
        longest = wait_us(task.policy, task.retries + more)
        return longest - int(longest * task.policy.get("jitter", 0)), longest


def is_lapse(error: Body) -> bool:
    """Whether an attempt failed since its node stopped renewing."""
    return error.get("type") == LAPSE


def wait_us(policy: Body, count: int) -> int:
    """The wait before the retry of this number, before chance takes any of it away."""
    step: int = policy["backoff_us"]
    longest: int = policy.get("backoff_cap_us", LONGEST_US)
    growth = {"constant": 1, "linear": count, "exponential": 1 << min(count - 1, 99)}
    return min(step * growth[policy["backoff"]], longest)
