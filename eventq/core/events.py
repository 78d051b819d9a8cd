"""The facts a log holds: event bodies, the envelope, the commit, and their one encoding.

Nothing here decides anything or changes state. Bodies only ever gain fields, each with a default
that means what its absence meant before; nothing is renamed, retyped or reused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, final, get_args

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from eventq.core.definitions import Definition
from eventq.core.timing import DueRules, Timing
from eventq.errors import LogCorruptError

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


class Body(Struct, frozen=True, omit_defaults=True, tag_field="kind", gc=False, kw_only=True):
    """What happened, without the envelope; each kind is a subclass.

    ``decided_at`` is the instant that it was decided by, where that is not the event's stamp: the
    log was far ahead of the clock. One commit has one; None means the stamp.
    """

    decided_at: int | None = None

    @property
    def kind(self) -> str:
        """The event kind, as stored in the log."""
        return str(self.__struct_config__.tag)


@final
class Created(Body, frozen=True, tag="created"):
    """A task exists. ``scheduled_at`` None means at once: the instant of this event.

    ``name`` None is a task for `run(worker)`; ``lane`` None is the lane "default". A node that does
    not know a word of ``needs`` leaves the task alone. Of one ``unique`` value, one task is open at
    a time. ``repeats`` is the final task that it was made like, by `Queue.repeat`; ``made_by`` the
    one whose attempt made it with its completion. ``schedule`` made it for the instant ``due``.
    """

    policy: Policy
    key: str | None = None
    priority: int = 0
    tags: Raw = Raw(b"{}")
    scheduled_at: int | None = None
    expires_at: int | None = None
    name: str | None = None
    lane: str | None = None
    needs: tuple[str, ...] = ()
    unique: str | None = None
    repeats: int | None = None
    made_by: int | None = None
    schedule: str | None = None
    due: int | None = None


@final
class Leased(Body, frozen=True, tag="leased"):
    """An attempt began on the node ``worker``; the event's position is its fence."""

    attempt: int
    worker: str
    ttl_us: int


@final
class Completed(Body, frozen=True, tag="completed"):
    """The attempt did its work. ``result_missing`` says why a result could not be kept.

    The attempt made the tasks of the ``made`` events right behind this one, in the same commit.
    """

    fence: int
    # Not None: msgspec takes "Raw | None" for null alone and could not read a value back.
    result: Raw | UnsetType = UNSET
    result_missing: str | None = None
    made: int = 0


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


@final
class Failed(Body, frozen=True, tag="failed"):
    """The attempt is over without success; what follows for the task is the next event.

    ``rule`` says which of its handler's retry rules decided what follows; None: the task's backoff.
    ``exit`` is there for an isolated attempt whose process ended, or ran out of memory.
    """

    fence: int
    error: ErrorInfo
    rule: str | None = None
    exit: ProcessExit | None = None


class Reopening(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a final task must bring back with it, since projections have forgotten it."""

    was: Literal["expired", "cancelled"]
    policy: Policy
    created_at: int
    attempt: int
    key: str | None = None
    priority: int = 0
    tags: Raw = Raw(b"{}")
    expires_at: int | None = None
    last_error: ErrorInfo | None = None
    name: str | None = None
    lane: str | None = None
    needs: tuple[str, ...] = ()
    snoozes: int = 0
    unique: str | None = None
    saved: Raw | UnsetType = UNSET
    schedule: str | None = None
    due: int | None = None


@final
class Retried(Body, frozen=True, tag="retried"):
    """The task is scheduled again; ``reopens`` is set when it had been final."""

    scheduled_at: int
    by: str | None = None
    reopens: Reopening | None = None


@final
class Expired(Body, frozen=True, tag="expired"):
    """The task is given up: too old, out of retries or lapses, or failed for good (``fatal``)."""

    reason: ExpiryReason


@final
class Cancelled(Body, frozen=True, tag="cancelled"):
    """The task was called off."""

    reason: str = ""
    by: str | None = None


@final
class Renewed(Body, frozen=True, tag="renewed"):
    """The node is alive: all its leases hold for another ``ttl_us``."""

    worker: str
    ttl_us: int


@final
class Released(Body, frozen=True, tag="released"):
    """The lease was given back and the attempt does not count.

    ``scheduled_at`` is set where the attempt itself asked to be tried again then (a snooze).
    """

    fence: int
    reason: str = ""
    scheduled_at: int | None = None


@final
class Updated(Body, frozen=True, tag="updated"):
    """A person or program edited the task; None or UNSET means unchanged."""

    priority: int | None = None
    tags: Raw | UnsetType = UNSET
    scheduled_at: int | None = None
    by: str | None = None


@final
class Refused(Body, frozen=True, tag="refused"):
    """An outcome came after its lease was lost: evidence that the work ran twice."""

    fence: int
    worker: str
    outcome: Literal["completed", "failed"]


@final
class Joined(Body, frozen=True, tag="joined"):
    """What a node can run from here on, said before its first lease and each minute.

    ``names`` are names or patterns with ``*``; ``unnamed``: also what has no name. ``lanes`` are
    the lanes it takes from with its slots in each; None: all, with ``slots`` for them together.
    ``signatures`` say what arguments the handlers of its names take.
    """

    worker: str
    ttl_us: int
    slots: int
    version: str
    names: tuple[str, ...] = ()
    unnamed: bool = False
    lanes: dict[str, int] | None = None
    signatures: dict[str, str] = {}


@final
class Left(Body, frozen=True, tag="left"):
    """The node runs nothing more."""

    worker: str


class Told(Body, frozen=True):
    """What an attempt tells while it runs; no decision looks at it, and losing one loses nothing.

    It changes nothing unless ``fence`` is the live one.
    """

    fence: int
    # From a factory, so that it is stored: who does not know the kind has to read it.
    skip: bool = field(default_factory=lambda: True)


@final
class Progressed(Told, frozen=True, tag="progressed"):
    """How far the attempt has come: ``done`` of ``total``, where that is known."""

    done: int | float = 0
    total: int | float | None = None
    note: str = ""


@final
class Saved(Told, frozen=True, tag="saved"):
    """A value that is handed to the next attempt."""

    value: Raw = Raw(b"null")


class LogLine(Struct, frozen=True, array_like=True, gc=False):
    """One record that a worker logged: when, how severe, and its text."""

    at: int
    level: str
    text: str


@final
class Noted(Told, frozen=True, tag="noted"):
    """What the worker logged, as far as its handler keeps that."""

    lines: tuple[LogLine, ...] = ()


@final
class Followed(Body, frozen=True, tag="followed"):
    """How far a follower has come, and which node does its work, for another ``ttl_us``.

    All events up to ``seq`` that it follows have been dealt with. ``ttl_us`` 0 gives it back.
    ``kinds`` and ``names`` are those of its events (None: all), ``code`` is the function that is
    called. ``error`` is why the last call failed, after ``failures`` of them in a row.
    """

    follower: str
    seq: int
    worker: str
    ttl_us: int
    kinds: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    code: str = ""
    error: ErrorInfo | None = None
    failures: int = 0


@final
class Unfollowed(Body, frozen=True, tag="unfollowed"):
    """The follower is forgotten."""

    follower: str
    by: str | None = None


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


@final
class Planned(Body, frozen=True, tag="planned"):
    """A schedule is to make tasks as this says from here on, whatever was said of it before.

    ``next_at`` is its first due; None: none comes any more. Each is ticked ``shift_us`` later,
    which was drawn when it was planned. ``code`` is the definition in code that it is of.
    """

    schedule: str
    timing: Timing
    call: Call
    rules: DueRules
    next_at: int | None = None
    shift_us: int = 0
    paused: bool = False
    code: Definition | None = None
    by: str | None = None
    reason: str = ""
    via: str = "code"


@final
class Unplanned(Body, frozen=True, tag="unplanned"):
    """The schedule is forgotten."""

    schedule: str
    by: str | None = None
    reason: str = ""
    via: str = "code"


@final
class Ticked(Body, frozen=True, tag="ticked"):
    """A due of a schedule has come; the task that was made for it is created right behind.

    What is missed or paused stands for ``count`` dues (10,000: or more), from ``due`` on. The next
    one behind them is ``next_at``. One by ``hand`` is no due of the clock's, and moves nothing.
    """

    schedule: str
    due: int
    outcome: TickOutcome
    next_at: int | None = None
    count: int = 1
    hand: Literal["trigger", "backfill"] | None = None
    by: str | None = None
    reason: str = ""
    via: str = "code"


@final
class Unknown(Struct, frozen=True, gc=False):
    """A kind this version does not know, kept as it is stored.

    One with ``skip`` changes nothing that a decision looks at, says whoever wrote it.
    """

    kind: str
    raw: str
    skip: bool = False
    decided_at: ClassVar[None] = None


AnyBody = (
    Created
    | Leased
    | Completed
    | Failed
    | Retried
    | Expired
    | Cancelled
    | Renewed
    | Released
    | Updated
    | Refused
    | Joined
    | Left
    | Followed
    | Unfollowed
    | Planned
    | Unplanned
    | Ticked
    | Progressed
    | Saved
    | Noted
)

KIND_OF = {body: str(body.__struct_config__.tag) for body in get_args(AnyBody)}
KINDS = frozenset(KIND_OF.values())
# Nobody follows these: each would be followed by another one, without end.
OF_FOLLOWERS = frozenset({"followed", "unfollowed"})
AnyPlanning = Planned | Unplanned | Ticked
OF_SCHEDULES = get_args(AnyPlanning)
AnyTold = Progressed | Saved | Noted
TOLD = frozenset(get_args(AnyTold))


class Event(Struct, frozen=True, gc=False):
    """One fact with its envelope.

    ``seq`` is its position, ``at`` its instant (microseconds since 1970, UTC), ``task`` the
    number of the task it is about (0: a node).
    """

    seq: int
    at: int
    task: int
    body: AnyBody | Unknown

    @property
    def kind(self) -> str:
        """The event kind, for example ``"leased"``."""
        return self.body.kind

    @property
    def decided_at(self) -> int:
        """The instant that it was decided by: its stamp, unless that was far ahead of the clock."""
        return time_of(self.at, self.body)


class Commit(Struct, frozen=True, gc=False):
    """Events appended together, all or none, in the form every log stores.

    The events take the positions ``first``, ``first + 1``, ...; ``tasks`` and ``bodies`` run in
    parallel, one entry an event; ``keys`` maps each caller's key to the position of its
    ``created``. ``seal`` chains this commit to ``prev``, the seal before it.
    """

    id: str
    first: int
    at: int
    prev: bytes
    seal: bytes
    tasks: list[int]
    keys: dict[str, int]
    bodies: list[str]

    @property
    def last(self) -> int:
        """The position of the last event."""
        return self.first + len(self.bodies) - 1


def time_of(at: int, body: AnyBody | Unknown) -> int:
    """The instant that an event stamped ``at`` was decided by."""
    return at if body.decided_at is None else body.decided_at


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyBody] = msgspec.json.Decoder(AnyBody)
_lines_decoder: msgspec.json.Decoder[list[AnyBody]] = msgspec.json.Decoder(list[AnyBody])
_kind_decoder = msgspec.json.Decoder(dict[str, Any])


def encode_bodies(bodies: Iterable[AnyBody]) -> list[str]:
    """The stored text of each body: JSON without line breaks, the kind first."""
    return _encoder.encode_lines(bodies).decode().split("\n")[:-1]


def decode_bodies(texts: list[str]) -> list[AnyBody | Unknown]:
    """The bodies of stored texts; a kind of a newer version comes back as Unknown.

    Raises msgspec.DecodeError for a damaged body of a known kind. One call decodes the whole list,
    which is what makes replay fast.
    """
    try:
        bodies = _lines_decoder.decode(f"[{','.join(texts)}]")
    except (msgspec.DecodeError, RecursionError):
        bodies = []
    # Else one is unknown, or damaged, perhaps by a comma between two bodies; it is found alone.
    return list(bodies) if len(bodies) == len(texts) else [_decode_one(text) for text in texts]


def decode_at(seq: int, texts: list[str]) -> list[AnyBody | Unknown]:
    """As `decode_bodies`, for texts stored from a position on; raises LogCorruptError naming it."""
    try:
        return decode_bodies(texts)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise unreadable(seq, error) from error


def unreadable(seq: int, error: Exception) -> LogCorruptError:
    """The error for a stored body at or behind a position that nothing can be made of."""
    return LogCorruptError(seq, f"a body cannot be understood: {error}")


def events_of(commit: Commit) -> list[Event]:
    """The commit's events with their envelopes. Raises LogCorruptError for a damaged body."""
    bodies = decode_at(commit.first, commit.bodies)
    return [
        Event(seq, commit.at, task, body)
        for seq, (task, body) in enumerate(zip(commit.tasks, bodies, strict=True), commit.first)
    ]


def _decode_one(text: str) -> AnyBody | Unknown:
    try:
        try:
            return _decoder.decode(text)
        except msgspec.ValidationError:
            found = _kind_decoder.decode(text)
            kind = found.get("kind")
            if not isinstance(kind, str) or kind in KINDS:
                raise
            return Unknown(kind=kind, raw=text, skip=found.get("skip") is True)
    except RecursionError as error:
        raise msgspec.DecodeError("it is nested too deeply") from error
