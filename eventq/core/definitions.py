"""Definitions that code makes (limits, shares, schedules): which of two is the newer one.

Nothing here knows what is defined; a definition is compared by its hash alone.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import msgspec
from msgspec import Struct

from eventq.core.plain import sorted_json

# Long enough that no two definitions of one thing meet.
HASH_BYTES = 8


class Definition(Struct, frozen=True, omit_defaults=True, gc=False):
    """Which definition in code stands, and which ones it has replaced.

    ``version`` is the code's own number for it. A change by hand keeps it as it is: it holds until
    the code's own definition changes.
    """

    hash: str
    version: int = 0
    replaced: tuple[str, ...] = ()


def hash_of(content: object) -> str:
    """The hash of what a definition says: of equal content it is equal in every process."""
    text = sorted_json(msgspec.to_builtins(content))
    return blake2b(text, digest_size=HASH_BYTES).hexdigest()


def adopted(
    known: Definition | None, hash_: str, version: int = 0
) -> Definition | Literal["same", "older"]:
    """What is to stand once code with this definition has come.

    "same": it stands already. "older": it was replaced before, and its version is not higher than
    the one that stands; whoever has it does nothing and warns.
    """
    if known is None:
        return Definition(hash_, version)
    if version <= known.version:
        if hash_ == known.hash:
            return "same"
        if version < known.version or hash_ in known.replaced:
            return "older"
    if hash_ == known.hash:
        return Definition(hash_, version, known.replaced)
    kept = tuple(each for each in known.replaced if each != hash_)
    return Definition(hash_, version, (*kept, known.hash))
