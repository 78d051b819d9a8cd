"""What the made tasks are like, and how their attempts end; all drawn from one seeded source."""

from __future__ import annotations

from random import Random

from eventq.core.create import NewTask
from eventq.core.durations import SECOND_US
from eventq.core.settle import Outcome
from eventq.core.values import ErrorInfo, Policy

MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US

POLICIES = [
    Policy("linear", 10 * SECOND_US),
    Policy("linear", 10 * SECOND_US, max_retries=5),
    Policy("constant", 30 * SECOND_US, max_retries=2, deadline_us=MINUTE_US),
    Policy("exponential", SECOND_US, backoff_cap_us=5 * MINUTE_US, jitter=0.5, max_retries=8),
    Policy("constant", 0, max_retries=0),
    Policy("linear", 20 * SECOND_US, max_retries=3, max_age_us=20 * MINUTE_US),
]
POLICY_WEIGHTS = [40, 25, 10, 15, 2, 8]
PRIORITIES = [0, 5, 1, -1, 9]
PRIORITY_WEIGHTS = [70, 12, 10, 5, 3]
KINDS = ["thumbnail", "mail", "invoice", "video", "export"]
KIND_WEIGHTS = [50, 25, 12, 8, 5]
# Typical seconds of an attempt, by kind.
RUN_S = {"thumbnail": 1.0, "mail": 0.5, "invoice": 2.0, "video": 25.0, "export": 12.0}

ERRORS = [
    ErrorInfo("TimeoutError", "the other side did not answer within 5 s"),
    ErrorInfo("ConnectionResetError", "[Errno 104] Connection reset by peer"),
    ErrorInfo(
        "ValueError",
        "expected a width of at least 1, got 0",
        'Traceback (most recent call last):\n  File "thumbs.py", line 12, in worker\n'
        "    resize(task.tags)\nValueError: expected a width of at least 1, got 0\n",
    ),
    ErrorInfo("OSError", "[Errno 28] No space left on device"),
]
ERROR_WEIGHTS = [50, 30, 15, 5]

KEYED_SHARE = 0.3
SCHEDULED_SHARE = 0.06
DELAYED_SHARE = 0.04
RESULT_SHARE = 0.3


def draw_order(rng: Random, number: int, now: int) -> NewTask:
    """An order for a task; ``number`` counts them, and makes its key unlike all others."""
    [kind] = rng.choices(KINDS, KIND_WEIGHTS)
    [policy] = rng.choices(POLICIES, POLICY_WEIGHTS)
    [priority] = rng.choices(PRIORITIES, PRIORITY_WEIGHTS)
    tags = f'{{"kind":"{kind}","customer":"c{rng.randrange(5_000)}","size":"{rng.randrange(64)}"}}'
    chance = rng.random()
    scheduled_at = delay_us = None
    if chance < SCHEDULED_SHARE:
        scheduled_at = now + rng.randrange(-MINUTE_US, 10 * MINUTE_US)
    elif chance < SCHEDULED_SHARE + DELAYED_SHARE:
        delay_us = rng.randrange(5 * MINUTE_US)
    return NewTask(
        tags_json=tags.encode(),
        policy=policy,
        priority=priority,
        key=f"{kind}-{number}" if rng.random() < KEYED_SHARE else None,
        scheduled_at=scheduled_at,
        delay_us=delay_us,
    )


def draw_run_us(rng: Random, tags_json: bytes) -> int:
    """How long an attempt runs, by the kind of the task."""
    kind = tags_json.split(b'"', 4)[3].decode()
    return max(1_000, int(rng.expovariate(1 / RUN_S.get(kind, 1.0)) * SECOND_US))


def draw_outcome(rng: Random, task: int, fence: int) -> Outcome:
    """How an attempt ends: mostly well."""
    chance = rng.random()
    if chance < 0.94:
        result = b'{"ok":true}' if rng.random() < RESULT_SHARE else None
        return Outcome(task, fence, "completed", result_json=result)
    if chance < 0.985:
        [error] = rng.choices(ERRORS, ERROR_WEIGHTS)
        return Outcome(task, fence, "failed", error=error, draw=rng.random())
    if chance < 0.989:
        error = ErrorInfo("eventq.Retry", "not yet")
        return Outcome(task, fence, "failed", error=error, delay_us=rng.randrange(MINUTE_US))
    if chance < 0.993:
        return Outcome(task, fence, "cancelled", reason="the customer is gone")
    return Outcome(task, fence, "released", reason="the node is stopping")
