"""What a task's policy allows after a failure, written down again without the code that decides."""

from __future__ import annotations

from eventq.core.values import ExpiryReason, Policy
from eventq.verify.seen import Seen
from eventq.verify.terms import BrokenError

# The longest wait there is: a century, in microseconds.
LONGEST_US = 36_525 * 24 * 3_600 * 1_000_000
# More doublings than any wait has room for.
DOUBLINGS = 64


def check_retry(task: Seen, at: int, scheduled_at: int) -> None:
    """Whether a task that has just failed may be retried then; the retry is counted already.

    Rule 9: an attempt that counts follows the creation, a reopening or a retry, and one that was
    given back does not count; so it is enough to count the retries. The first lapse costs no wait,
    each further one in a row as much as one more failure would. Raises BrokenError.
    """
    most = task.policy.max_retries
    if most is not None and task.retries > most:
        raise BrokenError("retries", f"more retries than allowed: {task.retries} of {most}")
    if task.expires_at is not None and scheduled_at >= task.expires_at:
        raise BrokenError("expiry", "retried at or past its expiry")
    most = task.policy.max_lapses
    if most is not None and task.lapses > most:
        raise BrokenError("lapses", f"more lapses in a row than allowed: {task.lapses} of {most}")
    if task.lapses > 1 and scheduled_at - at < wait_us(task.policy, task.lapses - 1):
        raise BrokenError("lapses", f"retried too soon after {task.lapses} lapses in a row")


def check_given_up(task: Seen, at: int, reason: ExpiryReason) -> None:
    """Whether a task may be given up for this reason. Raises BrokenError."""
    has_failed, policy = task.state == "failed", task.policy
    if reason == "max_retries":
        if not has_failed:
            raise BrokenError("retries", "out of retries without a failure")
        if policy.max_retries is None or task.retries < policy.max_retries:
            raise BrokenError("retries", "retries are left")
    elif reason == "max_lapses":
        if not has_failed or policy.max_lapses is None or task.lapses <= policy.max_lapses:
            raise BrokenError("lapses", "given up for lapses that it has not had")
    elif reason == "fatal":
        if not has_failed:
            raise BrokenError("move", "failed for good without a failure")
    elif task.expires_at is None:
        raise BrokenError("expiry", "expired without an expiry")
    elif not has_failed and at < task.expires_at:
        raise BrokenError("expiry", "expired too early")


def wait_us(policy: Policy, count: int) -> int:
    """The wait before retry number ``count``, without what chance may take away."""
    if policy.backoff == "constant":
        factor = 1
    elif policy.backoff == "linear":
        factor = count
    else:
        factor = 1 << min(count - 1, DOUBLINGS)
    longest = LONGEST_US if policy.backoff_cap_us is None else policy.backoff_cap_us
    return min(policy.backoff_us * factor, longest)
