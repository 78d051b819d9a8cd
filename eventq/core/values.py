"""What events hold: numbers with a meaning, policies, errors, buckets, scopes, calls.

Values only ever gain fields, each with a default that means what its absence meant before.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

# Caps, from design section 4: they keep a commit small enough for every log.
TAGS_BYTES = 64 * 1024
KEY_BYTES = 255
ERROR_BYTES = 8 * 1024
RESULT_BYTES = 64 * 1024
COMMIT_EVENTS = 1_000
COMMIT_BYTES = 1024 * 1024
NOTED_LINES, NOTED_BYTES = 1_000, 64 * 1024

# The task of an event about a node.
NODE = 0
# The type of the error of an attempt whose node stopped renewing.
LAPSED = "LeaseLapsed"

# One object, since msgspec leaves out a default only when it is the very same one.
NO_JITTER = 0.0

BackoffKind = Literal["constant", "linear", "exponential"]
TickOutcome = Literal["made", "skipped", "missed", "paused"]
ExpiryReason = Literal["max_age", "max_retries", "max_lapses", "fatal"]
# By what way a person or a program asked for something. The name that comes with it is a claim but
# for "login": a console had proof of it.
Via = Literal["code", "cli", "console", "login"]
BulkAction = Literal["retry", "cancel", "update", "undo"]


IfFailed = Literal["cancel", "run", "hold"]
Role = Literal["member", "on_failure", "finally"]
Verdict = Literal["completed", "failed", "waived"]


class Predecessor(Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A task that another one comes after, as it stood when that was made or reopened.

    None: it was open. It counts from then on what becomes of it. "failed" is any end but
    completion; "waived": it had ended like that, and by hand the other one was told not to mind.
    """

    task: int
    verdict: Verdict | None = None


class Policy(Struct, frozen=True, omit_defaults=True, gc=False):
    """How a task retries and ages, as it stood when the task was created.

    ``backoff`` and ``backoff_us`` have no default, so every history spells them out.
    ``jitter`` is the share (0 to 1) of the wait that chance may take away.
    """

    backoff: BackoffKind
    backoff_us: int
    backoff_cap_us: int | None = None
    jitter: float = NO_JITTER
    max_retries: int | None = None
    max_age_us: int | None = None
    deadline_us: int | None = None
    max_lapses: int | None = None


class ErrorInfo(Struct, frozen=True, omit_defaults=True, gc=False):
    """Why an attempt failed: the exception's type, its message, and a cut traceback."""

    type: str
    message: str = ""
    traceback: str = ""


class Bucket(Struct, frozen=True, array_like=True, gc=False, cache_hash=True):
    """A limit for one value: what a task takes a place in while it runs.

    ``value`` is that of the tag that the limit is counted by. None is the one bucket of a limit
    without such a tag; of one with a tag, it stands for a value that is still to be read from the
    task's tags, and no place is given.
    """

    limit: str
    value: str | None = None


class Scope(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a pause is about: tasks that fit all that is given; nothing given is everything.

    ``name`` is a name or a pattern with ``*``. ``limit`` alone is all its buckets. ``tags`` are
    names with their values as JSON text.
    """

    lane: str | None = None
    name: str | None = None
    limit: str | None = None
    value: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


class ProcessExit(Struct, frozen=True, omit_defaults=True, gc=False):
    """How the process of an isolated attempt ended, or what it had when memory ran out.

    It ended by ``code``, or by ``signal`` ("SIGKILL"); by neither if it lived on. eventq sent the
    signal where ``killed_after_us`` says how long it had been told to end by then. ``peak_bytes``
    is the most memory that it had at a time, over all its attempts; None: not known.
    ``memory_bytes`` is the limit of its handler.
    """

    code: int | None = None
    signal: str | None = None
    killed_after_us: int | None = None
    peak_bytes: int | None = None
    memory_bytes: int | None = None


class LogLine(Struct, frozen=True, array_like=True, gc=False):
    """One record that a worker logged: when, how severe, and its text."""

    at: int
    level: str
    text: str


class Call(Struct, frozen=True, omit_defaults=True, gc=False):
    """The task that a schedule makes for each due; fields as those of `Created`."""

    policy: Policy
    tags: Raw = Raw(b"{}")
    priority: int = 0
    name: str | None = None
    lane: str | None = None
    needs: tuple[str, ...] = ()
    delay_us: int | None = None
    unique: str | None = None
    limits: tuple[Bucket, ...] = ()
    share: str | None = None
    secret: tuple[str, ...] = ()
