"""Events and commits in few words, for histories that are made up."""

from __future__ import annotations

from tests.tools.histories import Told
from tools.history.facts import Body

SECOND = 1_000_000
TTL = 30 * SECOND
DAY = 86_400 * SECOND
POLICY: Body = {"backoff": "linear", "backoff_us": 10 * SECOND, "max_retries": 1}
LAPSE: Body = {"type": "LeaseLapsed", "message": "node n stopped renewing"}
NEW, QUEUE = -1, 0


def created(**body: object) -> tuple[int, Body]:
    """A task is made."""
    return NEW, {"kind": "created", "policy": POLICY, **body}


def leased(task: int, attempt: int = 1, worker: str = "n") -> tuple[int, Body]:
    """A node takes it."""
    return task, {"kind": "leased", "attempt": attempt, "worker": worker, "ttl_us": TTL}


def completed(task: int, fence: int, **body: object) -> tuple[int, Body]:
    """It is done."""
    return task, {"kind": "completed", "fence": fence, **body}


def failed(task: int, fence: int, **body: object) -> tuple[int, Body]:
    """Its attempt has failed."""
    return task, {"kind": "failed", "fence": fence, "error": {"type": "OSError"}, **body}


def said(kind: str, **body: object) -> tuple[int, Body]:
    """Something is said of the queue."""
    return QUEUE, {"kind": kind, **body}


def of(task: int, kind: str, **body: object) -> tuple[int, Body]:
    """Something happens to a task."""
    return task, {"kind": kind, **body}


def retried(task: int, at: int, **body: object) -> tuple[int, Body]:
    """It is to run again."""
    return of(task, "retried", scheduled_at=at, **body)


def ago(at: int, *events: tuple[int, Body]) -> Told:
    """One commit, so many seconds after the beginning."""
    return at * SECOND, list(events)


def reopening(**body: object) -> Body:
    """What a cancelled task brings back that was made at the second 9."""
    return {"was": "cancelled", "policy": POLICY, "created_at": 9 * SECOND, "attempt": 0, **body}


AT_9 = 9 * SECOND
DEADLY: Body = {**POLICY, "max_lapses": 0}
AFTER: Body = {"after": [[1]], "needs": ["after"]}
JOINED: Body = {"worker": "n", "ttl_us": TTL, "slots": 2, "version": "1"}
FOLLOWED: Body = {"follower": "f", "seq": 1, "worker": "n", "ttl_us": TTL}
PLANNED: Body = {
    "schedule": "s",
    "timing": {"every_us": 60 * SECOND},
    "call": {"policy": POLICY},
    "rules": {"catch_up": 1, "overlap": "skip"},
    "next_at": 60 * SECOND,
}
TICKED: Body = {"schedule": "s", "due": 60 * SECOND, "outcome": "made", "next_at": 120 * SECOND}
FROM_S = created(schedule="s", due=60 * SECOND)
SMTP: Body = {"limits": [["smtp", None]], "needs": ["limits"]}
LIMITED = said("limited", limit="smtp", running=1)
RATED = said("limited", limit="smtp", rate=1, per_us=10 * SECOND)
