"""What the verifier keeps of a task, and who chooses among tasks; it reads no log."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from eventq.core.events import Reopening
from eventq.core.values import Bucket, ErrorInfo, Policy
from eventq.verify.fitting import fits

# The lane of a task that says none.
NO_LANE = "default"
# The words of needs that are judged here.
KNOWN = frozenset({"after", "limits"})

Entry = tuple[int, int, int, int]
# A bucket by its limit and its value.
BucketKey = tuple[str, str | None]
Given = tuple[tuple[str, int], ...]


class Seen(Struct, gc=False):
    """What the log has said about one task so far."""

    number: int
    created_at: int
    key: str | None
    priority: int
    tags: bytes
    policy: Policy
    scheduled_at: int
    expires_at: int | None
    name: str | None = None
    lane: str = NO_LANE
    needs: tuple[str, ...] = ()
    state: str = "pending"
    """waiting, pending, leased, failed, completed, expired or cancelled."""
    attempt: int = 0
    retries: int = 0
    """Since it was created or last reopened."""
    lapses: int = 0
    """In a row."""
    snoozes: int = 0
    fence: int = 0
    worker: str | None = None
    """Who holds it, or held it last."""
    last_error: ErrorInfo | None = None
    unique: str | None = None
    """The value of which it must be the only open task."""
    saved: bytes | None = None
    """What its attempts saved last."""
    schedule: str | None = None
    """What made it, for the instant `due`."""
    due: int | None = None
    after: tuple[int, ...] = ()
    """The tasks that it comes after."""
    if_failed: str = "cancel"
    given: Given = ()
    flow: int | None = None
    role: str = "member"
    cause: int | None = None
    """The task whose end cancelled it last."""
    blocked_by: set[int] | None = None
    """Open tasks that it waits for."""
    failed_by: set[int] | None = None
    """Tasks in its way that ended without success."""
    buckets: tuple[BucketKey, ...] = ()
    """In which it takes a place while it runs."""
    first_buckets: tuple[BucketKey, ...] = ()
    """The same, as the event that made it says."""
    own_share: str | None = None
    share: str | None = None
    """Whose turn it is; None where no turns are taken."""
    trace: str | None = None
    """The W3C trace context that it was made in."""
    secret: tuple[str, ...] = ()
    """Names of its tags whose values are secret."""
    edition: int = 0
    """Of its entry in the order; 0 when it has none."""


class Choice(Struct, frozen=True):
    """Which tasks somebody chooses among: by name, and in one lane or (None) in all."""

    names: tuple[str, ...] = ()
    """Names, or patterns in which ``*`` stands for any text."""
    unnamed: bool = True
    lane: str | None = None

    def holds(self, task: Seen) -> bool:
        """Whether the task is among them. What needs a word that is not known here is in none."""
        return self.takes(task.name, task.lane, task.needs)

    def takes(self, name: str | None, lane: str, needs: tuple[str, ...]) -> bool:
        """Whether tasks of this name and lane, with these needs, are among them."""
        if self.lane is not None and self.lane != lane:
            return False
        if are_foreign(needs):
            return False
        if name is None:
            return self.unnamed or "*" in self.names
        return any(fits(name, pattern) for pattern in self.names)


def are_foreign(needs: tuple[str, ...]) -> bool:
    """Whether a task with these needs has one that is not known here."""
    return bool(needs) and not KNOWN.issuperset(needs)


def entry_of(task: Seen) -> Entry:
    """Its place in the order."""
    return (-task.priority, task.scheduled_at, task.number, task.edition)


def is_due(task: Seen, now: int) -> bool:
    """Whether its instant has come. What was made to run at once is due for good."""
    return task.scheduled_at <= now or task.scheduled_at == task.created_at


def keys_of(buckets: tuple[Bucket, ...]) -> tuple[BucketKey, ...]:
    """The buckets as they are compared here."""
    return tuple((bucket.limit, bucket.value) for bucket in buckets)


def given_of(given: dict[str, int] | Given | None) -> Given:
    """The arguments that are results, by name."""
    return tuple(sorted(given.items())) if isinstance(given, dict) else given or ()


def brought_back(content: Seen | Reopening) -> dict[str, Any]:
    """What a final task must bring back when it is reopened, by the names of `Seen`."""
    return {
        "policy": content.policy,
        "created_at": content.created_at,
        "attempt": content.attempt,
        "key": content.key,
        "priority": content.priority,
        "tags": bytes(content.tags),
        "last_error": content.last_error,
        "name": content.name,
        "lane": content.lane or NO_LANE,
        "needs": content.needs,
        "snoozes": content.snoozes,
        "unique": content.unique,
        "schedule": content.schedule,
        "due": content.due,
        "saved": bytes(content.saved) if isinstance(content.saved, bytes | Raw) else None,
        "after": tuple(e if isinstance(e, int) else e.task for e in content.after),
        "if_failed": content.if_failed,
        "given": given_of(content.given),
        "flow": content.flow,
        "role": content.role,
        "first_buckets": (
            content.first_buckets if isinstance(content, Seen) else keys_of(content.limits)
        ),
        "own_share": content.own_share if isinstance(content, Seen) else content.share,
        "trace": content.trace,
        "secret": content.secret,
    }
