"""Events in their commits: all kinds there are, the envelope, the commit, and their one encoding.

Nothing here decides anything or changes state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, final, get_args

import msgspec
from msgspec import Struct

from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Noted,
    Progressed,
    Refused,
    Released,
    Retried,
    Revived,
    Saved,
    Updated,
)
from eventq.core.queue_events import (
    Bulk,
    BulkEnded,
    Followed,
    Joined,
    Left,
    Limited,
    Paused,
    Planned,
    Renewed,
    Resumed,
    Shared,
    Ticked,
    Unfollowed,
    Unplanned,
)
from eventq.errors import LogCorruptError


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
    | Revived
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
    | Paused
    | Resumed
    | Limited
    | Shared
    | Bulk
    | BulkEnded
)

KIND_OF = {body: str(body.__struct_config__.tag) for body in get_args(AnyBody)}
KINDS = frozenset(KIND_OF.values())
# Nobody follows these: each would be followed by another one, without end.
OF_FOLLOWERS = frozenset({"followed", "unfollowed"})
AnyPlanning = Planned | Unplanned | Ticked
OF_SCHEDULES = get_args(AnyPlanning)
AnyRule = Paused | Resumed | Limited | Shared
OF_RULES = get_args(AnyRule)
AnyBulk = Bulk | BulkEnded
OF_BULKS = get_args(AnyBulk)
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
