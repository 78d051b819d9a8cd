"""When tasks are wanted and how long they wait, for comparison; see `naive`."""

from __future__ import annotations

from eventq.core.create import NewTask
from eventq.core.values import Policy


def wished_start(order: NewTask, now: int) -> int | None:
    """When the caller wants it to run, as an instant; None for at once."""
    return now + order.delay_us if order.delay_us else order.scheduled_at


def pause(policy: Policy, n: int, draw: float) -> int:
    """How long to wait before the n-th retry."""
    if policy.backoff == "constant":
        wait = policy.backoff_us
    elif policy.backoff == "linear":
        wait = sum([policy.backoff_us] * n)
    else:
        wait = [policy.backoff_us * 2**doublings for doublings in range(n)][-1]
    if policy.backoff_cap_us is not None and wait > policy.backoff_cap_us:
        wait = policy.backoff_cap_us
    return wait - int(wait * policy.jitter * draw)
