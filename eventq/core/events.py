"""The facts about tasks that a log holds: a body for each kind of event.

Nothing here decides anything or changes state. Bodies only ever gain fields, each with a default
that means what its absence meant before; nothing is renamed, retyped or reused.
"""

from __future__ import annotations

from typing import Literal, final

from msgspec import UNSET, Raw, Struct, UnsetType, field

from eventq.core.values import (
    Bucket,
    ErrorInfo,
    ExpiryReason,
    IfFailed,
    LogLine,
    Policy,
    Predecessor,
    ProcessExit,
    Role,
    Via,
)


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


class ByHand(Body, frozen=True, kw_only=True):
    """What a person, or a program of theirs, may have caused.

    It is a part of the change to many tasks that the event at position ``bulk`` begins, and takes
    back what the event at position ``undoes`` did.
    """

    by: str | None = None
    via: Via = "code"
    bulk: int | None = None
    undoes: int | None = None


class Asked(ByHand, frozen=True, kw_only=True):
    """The same, with the reason that was given."""

    reason: str = ""


@final
class Created(Body, frozen=True, tag="created"):
    """A task exists. ``scheduled_at`` None means at once: the instant of this event.

    ``name`` None is a task for `run(worker)`; ``lane`` None is the lane "default". A node that does
    not know a word of ``needs`` leaves the task alone. Of one ``unique`` value, one task is open at
    a time. ``repeats`` is the final task that it was made like, by `Queue.repeat`; ``made_by`` the
    one whose attempt made it with its completion. ``schedule`` made it for the instant ``due``.

    It comes after the tasks ``after``; ``if_failed`` says what becomes of it if one ends without
    success. ``given`` are the arguments that are results of some of these, with their numbers.
    ``flow`` is the number of the flow that it belongs to, which is that of the task with the
    ``flow_key``, or of the flow's first; ``role`` is what it is there.

    It takes a place in each of the buckets of ``limits`` while it runs; ``share`` is whose turn it
    is among equals, where turns are taken (None: as its tags say). ``trace`` is the W3C trace
    context that it was made in: a ``traceparent``, and behind a space the ``tracestate``, if any.
    ``secret`` are names of tags whose values are only for its worker: no index has them, no page.
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
    after: tuple[Predecessor, ...] = ()
    if_failed: IfFailed = "cancel"
    given: dict[str, int] | None = None
    flow: int | None = None
    flow_key: str | None = None
    role: Role = "member"
    limits: tuple[Bucket, ...] = ()
    share: str | None = None
    trace: str | None = None
    secret: tuple[str, ...] = ()


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
    after: tuple[Predecessor, ...] = ()
    if_failed: IfFailed = "cancel"
    given: dict[str, int] | None = None
    flow: int | None = None
    role: Role = "member"
    limits: tuple[Bucket, ...] = ()
    share: str | None = None
    trace: str | None = None
    secret: tuple[str, ...] = ()
    # As they were, where an end is taken back; else all begins anew.
    retries: int = 0
    lapses: int = 0
    started_at: int | None = None


class Restoring(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a task that ends again looks like, since its coming back is taken back."""

    scheduled_at: int
    ended_at: int
    retries: int = 0
    lapses: int = 0
    expires_at: int | None = None
    started_at: int | None = None
    reason: str = ""
    """Why it is taken back; the event's own reason is that of the end."""


@final
class Retried(Asked, frozen=True, tag="retried"):
    """The task is scheduled again; ``reopens`` is set when it had been final.

    It then ``revives`` what its end had cancelled, as far as that does not stand in this commit;
    ``revived_by`` is the task whose reopening brings this one back.
    """

    scheduled_at: int
    reopens: Reopening | None = None
    revives: bool = False
    revived_by: int | None = None


@final
class Revived(Body, frozen=True, tag="revived"):
    """All that the task's end had cancelled has been brought back, since the task was reopened.

    But for those that were ``skipped``, since the unique value of each is taken.
    """

    skipped: tuple[int, ...] = ()


@final
class Expired(ByHand, frozen=True, tag="expired"):
    """The task is given up: too old, out of retries or lapses, or failed for good (``fatal``).

    It ``restores`` the end that it had before, where its coming back is taken back.
    """

    reason: ExpiryReason
    restores: Restoring | None = None


@final
class Cancelled(Asked, frozen=True, tag="cancelled"):
    """The task was called off; by the end of another one, which is the ``cause``, or by hand.

    It ``restores`` the end that it had before, as `Expired` may.
    """

    cause: int | None = None
    restores: Restoring | None = None


@final
class Released(Body, frozen=True, tag="released"):
    """The lease was given back and the attempt does not count.

    ``scheduled_at`` is set where the attempt itself asked to be tried again then (a snooze).
    """

    fence: int
    reason: str = ""
    scheduled_at: int | None = None


@final
class Updated(Asked, frozen=True, tag="updated"):
    """A person or program edited the task; None or UNSET means unchanged.

    One that ``waives`` waits no more for those tasks that have ended without success. With tags it
    repeats which of the task's are ``secret``, for who reads it alone. Back in the usual lane,
    ``lane`` is "default": None is no change here.
    """

    priority: int | None = None
    tags: Raw | UnsetType = UNSET
    scheduled_at: int | None = None
    waives: bool = False
    secret: tuple[str, ...] = ()
    lane: str | None = None


@final
class Refused(Body, frozen=True, tag="refused"):
    """An outcome came after its lease was lost: evidence that the work ran twice."""

    fence: int
    worker: str
    outcome: Literal["completed", "failed"]


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


@final
class Noted(Told, frozen=True, tag="noted"):
    """What the worker logged, as far as its handler keeps that."""

    lines: tuple[LogLine, ...] = ()
