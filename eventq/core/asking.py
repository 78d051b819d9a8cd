"""Who asks for a change, why, by what way, and what the change is a part of.

Nothing here decides anything; it is written into the events of whatever was asked for.
"""

from __future__ import annotations

from typing import Any, get_args

from msgspec import Struct

from eventq.core.plain import plain
from eventq.core.validation import check_by, check_text
from eventq.core.values import Via
from eventq.errors import ArgumentError

WAYS = get_args(Via)


class Asking(Struct, frozen=True, gc=False):
    """What the events of one change have in common; see `events.Asked`."""

    by: str | None = None
    reason: str = ""
    via: Via = "code"
    bulk: int | None = None
    undoes: int | None = None

    @property
    def marks(self) -> dict[str, Any]:
        """The fields of an event that it has a say in."""
        return {**self.marks_but_reason, "reason": self.reason}

    @property
    def marks_but_reason(self) -> dict[str, Any]:
        """The same, for an event whose reason is its own."""
        return {"by": self.by, "via": self.via, "bulk": self.bulk, "undoes": self.undoes}


NOBODY = Asking()


def check_asking(by: object, reason: object, via: object) -> Asking:
    """Who asks, why and by what way, from what a caller says."""
    return Asking(check_by(by), check_text(reason, "reason"), check_via(via))


def check_via(via: object) -> Via:
    """By what way somebody asks."""
    text = plain(via)
    for way in WAYS:
        if text == way:
            found: Via = way
            return found
    raise ArgumentError("via", via, f"one of {', '.join(WAYS)}")
