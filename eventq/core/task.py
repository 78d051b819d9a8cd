"""The task: what it is, and the states it may be in; how it moves from one to another: `moves`.

A Task never changes: each event makes a new one, so whoever holds a Task may read it at leisure.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventq.core.values import Bucket, ErrorInfo, IfFailed, Policy, Predecessor, Role

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a calendar has.
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class TaskState(enum.StrEnum):
    """Where a task stands. SCHEDULED and READY are one recorded state, told apart by the time."""

    WAITING = "waiting"
    """Comes after tasks that are open, or failed; entered by created and retried. The end of the
    last of them ends it, without an event of its own."""
    SCHEDULED = "scheduled"
    """Waits for its instant; entered by created, retried, released and updated."""
    READY = "ready"
    """Its instant has come; left by leased, cancelled and expired."""
    LEASED = "leased"
    """An attempt runs on a node; left by completed, failed, released and cancelled."""
    FAILED = "failed"
    """Only inside a commit: retried, expired or cancelled follows at once."""
    COMPLETED = "completed"
    """Final: the work is done."""
    EXPIRED = "expired"
    """Final, given up; a retry by hand reopens it."""
    CANCELLED = "cancelled"
    """Final, called off; a retry by hand reopens it."""
    UNKNOWN = "unknown"
    """An event that only a newer eventq knows was about it; left by its end alone."""

    # That of enums is computed by Python, and each event looks a state up in a set.
    __hash__ = str.__hash__


FINAL = frozenset({TaskState.COMPLETED, TaskState.EXPIRED, TaskState.CANCELLED})
# Open, and nobody holds it.
PENDING = frozenset({TaskState.WAITING, TaskState.SCHEDULED})
# What a retry by hand brings back.
REOPENABLE = frozenset({TaskState.EXPIRED, TaskState.CANCELLED})


class Route(Struct, frozen=True, gc=False, cache_hash=True):
    """What decides which nodes may run a task, and when. Tasks of equal routes share one object."""

    name: str | None = None
    """Of its handler; None for a task that `run(worker)` takes."""
    lane: str | None = None
    """None is the lane "default"."""
    needs: tuple[str, ...] = ()
    """Words that a node must know to run it."""
    buckets: tuple[Bucket, ...] = ()
    """In which it takes a place while it runs."""
    share: str | None = None
    """Whose turn it is, while turns are taken."""

    @property
    def base(self) -> Route:
        """The route without buckets and share: all by which nodes choose."""
        if not self.buckets and self.share is None:
            return self
        return Route(self.name, self.lane, self.needs)

    def in_lane(self, lane: str) -> Route:
        """The same in another lane."""
        return replace(self, lane=None if lane == DEFAULT_LANE else lane)


class Ending(Struct, frozen=True, gc=False):
    """How a final task ended."""

    at_us: int
    result_json: bytes | None = None
    result_missing: str | None = None
    reason: str | None = None


class Progress(Struct, frozen=True, gc=False):
    """How far an attempt has come, by its own words."""

    done: int | float
    total: int | float | None
    """None where it is not known."""
    note: str
    at_us: int

    @property
    def at(self) -> datetime:
        """When the attempt said so."""
        return instant(self.at_us)


class Rarity(Struct, frozen=True, gc=False):
    """What few tasks have, in one place, so that all others carry nothing of it."""

    lapses: int = 0
    snoozes: int = 0
    newer: tuple[int, str] | None = None
    unique: str | None = None
    progress: Progress | None = None
    saved_json: bytes | None = None
    schedule: str | None = None
    due_us: int | None = None
    after: tuple[Predecessor, ...] = ()
    if_failed: IfFailed = "cancel"
    given: dict[str, int] | None = None
    flow: int | None = None
    role: Role = "member"
    cause: int | None = None
    own_share: str | None = None
    trace: str | None = None
    secret: tuple[str, ...] = ()


# What the parts of a task hold, by the names that Task has for it: for whoever compares tasks.
PARTS = {
    "route": ("name", "lane", "needs", "buckets", "share"),
    "ending": ("finished_at_us", "result_json", "result_missing", "final_reason"),
    "rarity": Rarity.__struct_fields__,
}
PLAIN_ROUTE = Route()
DEFAULT_LANE = "default"
NOTHING_RARE = Rarity()


class Task(Struct, frozen=True, gc=False):
    """One task as it stood at an instant. Fields ending in ``_us`` or named raw are for tools.

    Instants are microseconds since 1970 (UTC) inside, and aware datetimes in the properties.
    """

    number: int
    namespace: str
    caller_key: str | None
    priority: int
    """Higher runs first."""
    tags_json: bytes
    policy: Policy
    created_at_us: int
    scheduled_at_us: int
    expires_at_us: int | None
    seen_at_us: int
    """The instant for which this view holds: `state` and `age` are as of then."""
    recorded_state: TaskState = TaskState.SCHEDULED
    attempt: int = 0
    """Attempts begun so far; the running one's number while leased."""
    retry_count: int = 0
    """Retries used since the task was created, or since it was last reopened."""
    fence: int = 0
    """Position of the live lease; 0 when not leased."""
    worker: str | None = None
    """The node that holds the lease."""
    last_error: ErrorInfo | None = None
    route: Route = PLAIN_ROUTE
    started_at_us: int | None = None
    """When its last attempt was leased; None before the first since it was made or reopened."""
    ending: Ending | None = None
    rarity: Rarity | None = None

    @property
    def key(self) -> str:
        """The caller's key, or else the task's number."""
        return str(self.number) if self.caller_key is None else self.caller_key

    @property
    def tags(self) -> dict[str, Any]:
        """The tags, decoded anew at each call."""
        return cast("dict[str, Any]", msgspec.json.decode(self.tags_json))

    @property
    def state(self) -> TaskState:
        """The state at `seen_at_us`."""
        return state_as_of(self, self.seen_at_us)

    @property
    def created_at(self) -> datetime:
        """When the task was created."""
        return instant(self.created_at_us)

    @property
    def scheduled_at(self) -> datetime:
        """When it may run, or might at the earliest have run."""
        return instant(self.scheduled_at_us)

    @property
    def expires_at(self) -> datetime | None:
        """When it is given up; None for never."""
        return None if self.expires_at_us is None else instant(self.expires_at_us)

    @property
    def age(self) -> timedelta:
        """Time from its creation to the instant of this view."""
        return timedelta(microseconds=self.seen_at_us - self.created_at_us)

    @property
    def name(self) -> str | None:
        """The name of the handler that it is for; None for a task that `run(worker)` takes."""
        return self.route.name

    @property
    def lane(self) -> str:
        """The lane that workers choose it by."""
        return DEFAULT_LANE if self.route.lane is None else self.route.lane

    @property
    def needs(self) -> tuple[str, ...]:
        """Words that a node must know to run it."""
        return self.route.needs

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """In which it takes a place while it runs."""
        return self.route.buckets

    @property
    def share(self) -> str | None:
        """Whose turn it is among equals, while turns are taken; None for that of all others."""
        return self.route.share

    @property
    def own_share(self) -> str | None:
        """The share that it was made with, whatever its tags say."""
        return None if self.rarity is None else self.rarity.own_share

    @property
    def lapses(self) -> int:
        """How many attempts in a row have died with their process."""
        return 0 if self.rarity is None else self.rarity.lapses

    @property
    def snoozes(self) -> int:
        """How often its attempts have put it off without counting."""
        return 0 if self.rarity is None else self.rarity.snoozes

    @property
    def unique(self) -> str | None:
        """The value of which it is the only open task; None for a task without one."""
        return None if self.rarity is None else self.rarity.unique

    @property
    def after(self) -> tuple[Predecessor, ...]:
        """The tasks that it comes after, as they stood when it was made or reopened."""
        return () if self.rarity is None else self.rarity.after

    @property
    def if_failed(self) -> IfFailed:
        """What becomes of it if one of these ends without success."""
        return "cancel" if self.rarity is None else self.rarity.if_failed

    @property
    def given(self) -> dict[str, int]:
        """Arguments that are results of tasks that it comes after, with their numbers."""
        return {} if self.rarity is None else self.rarity.given or {}

    @property
    def flow(self) -> int | None:
        """The number of the flow that it belongs to."""
        return None if self.rarity is None else self.rarity.flow

    @property
    def role(self) -> Role:
        """What it is in its flow."""
        return "member" if self.rarity is None else self.rarity.role

    @property
    def cause(self) -> int | None:
        """The task whose end cancelled it; None where it was called off by hand, or is open."""
        return None if self.rarity is None else self.rarity.cause

    @property
    def trace(self) -> str | None:
        """The W3C trace context that it was made in, where tracing was on."""
        return None if self.rarity is None else self.rarity.trace

    @property
    def secret(self) -> tuple[str, ...]:
        """Names of tags whose values are only for its worker, whether it has them or not."""
        return () if self.rarity is None else self.rarity.secret

    @property
    def progress(self) -> Progress | None:
        """How far its last attempt has come, by its own words; None once it has completed."""
        return None if self.rarity is None else self.rarity.progress

    @property
    def saved_json(self) -> bytes | None:
        """The value that its attempts saved last, as JSON text."""
        return None if self.rarity is None else self.rarity.saved_json

    @property
    def saved(self) -> Any:  # noqa: ANN401 - whatever JSON value an attempt saved
        """The value that its attempts saved last; None without one, and once it has completed."""
        text = self.saved_json
        return None if text is None else msgspec.json.decode(text)

    @property
    def schedule(self) -> str | None:
        """The schedule that made it; None for a task that none has made."""
        return None if self.rarity is None else self.rarity.schedule

    @property
    def due_us(self) -> int | None:
        """See `due`."""
        return None if self.rarity is None else self.rarity.due_us

    @property
    def due(self) -> datetime | None:
        """The instant that its schedule made it for."""
        return None if self.due_us is None else instant(self.due_us)

    @property
    def newer(self) -> tuple[int, str] | None:
        """Position and kind of the event that made it UNKNOWN."""
        return None if self.rarity is None else self.rarity.newer

    @property
    def started_at(self) -> datetime | None:
        """When its last attempt was leased; None before the first since it was made or reopened."""
        return None if self.started_at_us is None else instant(self.started_at_us)

    @property
    def finished_at_us(self) -> int | None:
        """See `finished_at`."""
        return None if self.ending is None else self.ending.at_us

    @property
    def finished_at(self) -> datetime | None:
        """When it came to its end; None while it is open."""
        return None if self.ending is None else instant(self.ending.at_us)

    @property
    def final_reason(self) -> str | None:
        """Why the task expired or was cancelled."""
        return None if self.ending is None else self.ending.reason

    @property
    def result_json(self) -> bytes | None:
        """The value the worker returned, as JSON text."""
        return None if self.ending is None else self.ending.result_json

    @property
    def result_missing(self) -> str | None:
        """Why a completed task's result was not kept, when it could not be."""
        return None if self.ending is None else self.ending.result_missing

    @property
    def result(self) -> Any:  # noqa: ANN401 - whatever JSON value the worker returned
        """The value the worker returned; None before that, or where none was kept."""
        text = self.result_json
        return None if text is None else msgspec.json.decode(text)

    def parse(self, into: type[T]) -> T:
        """The tags as a msgspec Struct, dataclass or TypedDict; ``"640"`` becomes an int.

        Raises msgspec.ValidationError, naming the tag, when they do not fit.
        """
        return msgspec.convert(self.tags, into, strict=False)

    def as_of(self, now: int) -> Task:
        """The same task as viewed at ``now`` (microseconds)."""
        return replace(self, seen_at_us=now)

    def __repr__(self) -> str:
        """Short, and free of tag values."""
        return f"<Task {self.key!r} {self.state} priority={self.priority}>"


def state_as_of(task: Task, now: int) -> TaskState:
    """The task's state at ``now`` (microseconds), for less than `Task.as_of` costs."""
    if task.recorded_state is TaskState.SCHEDULED and is_due(task, now):
        return TaskState.READY
    return task.recorded_state


def is_due(task: Task, now: int) -> bool:
    """Whether a pending task's instant has come.

    One made to run at once is due for good, also where the clock that made it was ahead.
    """
    return task.scheduled_at_us <= now or task.scheduled_at_us == task.created_at_us


def is_overdue(task: Task, now: int) -> bool:
    """Whether the task is past its expiry."""
    return task.expires_at_us is not None and task.expires_at_us <= now


def instant(at_us: int) -> datetime:
    """The aware datetime of microseconds since 1970; of what no calendar has, the nearest."""
    try:
        return EPOCH + timedelta(microseconds=at_us)
    except OverflowError:
        # No eventq writes these; a log that somebody has altered is to be shown all the same.
        return FIRST if at_us < 0 else LAST


def show_instant(at: datetime | int) -> str:
    """An instant in UTC as text, to the millisecond.

    >>> show_instant(1_700_000_000_123_456)
    '2023-11-14 22:13:20.123Z'
    """
    at = instant(at) if isinstance(at, int) else at
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}Z"
