"""Taking the values out of a log and leaving its shape, so that it can be shown to strangers.

Kinds, positions, instants, priorities, policies, names of tags and of handlers, lanes and types of
errors stay; everything that somebody wrote goes. One secret makes equal values equal again; it must
be drawn anew for each export, and forgotten.
"""

from __future__ import annotations

import json
import re
from hashlib import blake2b, shake_256
from typing import Any, TypeVar

from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from eventq.core.commits import Commit, Unknown, decode_bodies, encode_bodies
from eventq.core.definitions import Definition
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
    Reopening,
    Restoring,
    Retried,
    Revived,
    Saved,
    Updated,
)
from eventq.core.link import FLOW_MARK
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
from eventq.core.seal import seal_commit
from eventq.core.values import Bucket, Call, ErrorInfo, LogLine, Scope

# What a commit of a redacted log has before its id; it stays when the log is imported.
MARK = "redacted-"
# Hexadecimal digits of a key or a node's name: no two of them ever meet.
NAME_DIGITS = 24

# How many the largest number has that fits into 64 bits.
LARGEST_DIGITS = 20

# What in each kind of event somebody wrote. One that is missing here cannot be exported.
VALUES: dict[type[Struct], tuple[str, ...]] = {
    Created: ("key", "tags", "unique", "flow_key", "limits", "share", "trace"),
    Leased: ("worker",),
    Completed: ("result", "result_missing"),
    Failed: ("error",),
    Retried: ("by", "reason", "reopens"),
    Revived: (),
    Expired: ("by", "restores"),
    Cancelled: ("reason", "by", "restores"),
    Restoring: ("reason",),
    Renewed: ("worker",),
    Released: ("reason",),
    Updated: ("tags", "by", "reason"),
    Refused: ("worker",),
    Joined: ("worker", "signatures"),
    Left: ("worker",),
    Followed: ("worker", "code", "error"),
    Unfollowed: ("by", "reason"),
    Bulk: ("by", "reason", "selector", "tags"),
    BulkEnded: ("by",),
    Planned: ("call", "code", "by", "reason"),
    Unplanned: ("by", "reason"),
    Ticked: ("by", "reason"),
    Call: ("tags", "unique", "limits", "share"),
    # Made of what a schedule's tasks are given, or of shares, so that these could be guessed by it.
    Definition: ("hash", "replaced"),
    Progressed: ("note",),
    Saved: ("value",),
    Noted: ("lines",),
    LogLine: ("text",),
    Paused: ("scope", "by", "reason"),
    Resumed: ("scope", "by", "reason"),
    Limited: ("by", "reason"),
    Shared: ("weights", "code", "by", "reason"),
    Scope: ("value", "tags"),
    Bucket: ("value",),
    Reopening: ("key", "tags", "last_error", "unique", "saved", "limits", "share", "trace"),
    ErrorInfo: ("message", "traceback"),
}
# Of these, names of tasks, nodes and people.
NAMES = frozenset({"key", "by", "worker", "unique", "flow_key", "hash", "replaced"})

T = TypeVar("T", bound=Struct)

# A trace context of W3C's, up to what vendors add.
_TRACE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?: |$)")
_LETTERS = bytes(ord("a") + byte % 26 for byte in range(256))


class Redactor:
    """Redacts bodies and commits; equal values give equal ones, as long as it lives."""

    def __init__(self, secret: bytes) -> None:
        self._secret = blake2b(secret, digest_size=32).digest()

    def commit(self, commit: Commit, *, prev: bytes) -> Commit:
        """The commit without its values, sealed anew behind ``prev``.

        Raises msgspec.DecodeError for a body that cannot be understood.
        """
        bodies = [self.body(text) for text in commit.bodies]
        return seal_commit(
            commit_id=MARK + self._digits(commit.id),
            first=commit.first,
            at=commit.at,
            prev=prev,
            tasks=commit.tasks,
            keys={self._logged_key(key): seq for key, seq in commit.keys.items()},
            bodies=bodies,
        )

    def body(self, text: str) -> str:
        """The stored text of an event's body without its values."""
        [body] = decode_bodies([text])
        if isinstance(body, Unknown):
            return self._unknown(body.kind, text)
        return encode_bodies([self._shaped(body)])[0]

    def text(self, text: str) -> str:
        """Other letters, as many of them."""
        drawn = shake_256(self._secret + b"text" + _bytes(text)).digest(len(text))
        found = drawn.translate(_LETTERS).decode()
        # A short one may meet itself by chance.
        return found if found != text else "".join(_after(letter) for letter in found)

    def name(self, text: str) -> str:
        """A key or a node's name: always as long, and never that of another one."""
        return f"x{self._digits(text)}"

    def _logged_key(self, key: str) -> str:
        """A key by which a log finds an event: a task's, or a flow's."""
        is_flow = key.startswith(FLOW_MARK)
        return FLOW_MARK + self.name(key[len(FLOW_MARK) :]) if is_flow else self.name(key)

    def value(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        """A JSON value of the same shape: other text, other numbers, no truth, the same names."""
        if value is None or isinstance(value, bool):
            return None if value is None else False
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int):
            return self._whole(value)
        if isinstance(value, float):
            return self._draw(repr(value), 1_000_000) + 0.5
        if isinstance(value, list):
            return [self.value(each) for each in value]
        return {name: self.value(each) for name, each in value.items()}

    def _shaped(self, struct: T) -> T:
        """The body, or a part of one, with other values."""
        values = {name: self._other(name, getattr(struct, name)) for name in VALUES[type(struct)]}
        return replace(struct, **values)

    def _other(self, name: str, value: object) -> object:
        if value is None or value is UNSET:
            return value
        if isinstance(value, Struct):
            return self._shaped(value)
        if isinstance(value, Raw):
            return self._json(value)
        if isinstance(value, tuple):
            return self._each(name, value)
        if isinstance(value, dict):
            return self._named(name, value)
        assert isinstance(value, str), "values are texts, JSON, or parts that hold these"
        other = self.name if name in NAMES else self._trace if name == "trace" else self.text
        return other(value)

    def _trace(self, text: str) -> str:
        """Another trace and span, equal for equal ones; what vendors have written goes."""
        found = _TRACE.match(text)
        if found is None:
            return self.text(text)
        version, trace, span, flags = found.groups()
        other = (self._digits(trace) + self._digits(f"of {trace}"))[: len(trace)]
        return f"{version}-{other}-{self._digits(span)[: len(span)]}-{flags}"

    def _named(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        if name == "weights":
            return {self.text(share): weight for share, weight in values.items()}
        # What arguments a handler takes, with defaults that are values.
        return {each: self.text(text) for each, text in values.items()}

    def _each(self, name: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if name != "tags":
            return tuple(self._other(name, each) for each in values)
        # Of a scope: values as JSON text, so that they stay equal to those of tasks.
        return tuple((tag, bytes(self._json(Raw(text.encode()))).decode()) for tag, text in values)

    def _unknown(self, kind: str, text: str) -> str:
        try:
            fields = json.loads(text)
            shaped = {
                # Without it, a reader would take for a change what is none.
                name: fields[name] if name == "skip" else self.value(fields[name])
                for name in fields
                if name != "kind"
            }
            return json.dumps({"kind": kind, **shaped}, separators=(",", ":"))
        except RecursionError:
            return json.dumps({"kind": kind}, separators=(",", ":"))

    def _json(self, raw: Raw) -> Raw:
        try:
            # Not msgspec, for which a number of any length is none.
            shaped = self.value(json.loads(bytes(raw)))
        except RecursionError:
            shaped = None
        return Raw(json.dumps(shaped, separators=(",", ":"), ensure_ascii=False).encode())

    def _whole(self, value: int) -> int:
        """A number of the same sign and as many digits."""
        digits = len(str(abs(value)))
        least = 10 ** (digits - 1) if digits > 1 else 0
        # No larger than JSON values of eventq may be.
        span = min(10**digits, 2**64 if digits == LARGEST_DIGITS else 2**63) - least
        found = least + self._draw(str(value), span)
        found = found if found != abs(value) else least + (found - least + 1) % span
        return found if value >= 0 else -found

    def _draw(self, text: str, span: int) -> int:
        drawn = shake_256(self._secret + b"number" + _bytes(text)).digest(16 + len(str(span)))
        return int.from_bytes(drawn, "big") % span

    def _digits(self, text: str) -> str:
        drawn = shake_256(self._secret + b"name" + _bytes(text)).digest(NAME_DIGITS // 2)
        return drawn.hex()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _after(letter: str) -> str:
    return "a" if letter == "z" else chr(ord(letter) + 1)
