"""The hash chain: each commit's seal covers the seal before it and all its stored bytes.

Nothing here trusts a stored seal; it is always computed anew.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from eventq.core.commits import Commit
from eventq.errors import LogCorruptError

SEAL_BYTES = 32

_encoder = msgspec.json.Encoder()


def genesis(namespace: str) -> bytes:
    """The seal before the first commit: it ties a chain to its namespace."""
    return blake2b(f"eventq:{namespace}".encode(), digest_size=SEAL_BYTES).digest()


def seal_commit(
    *,
    commit_id: str,
    first: int,
    at: int,
    prev: bytes,
    tasks: list[int],
    keys: dict[str, int],
    bodies: list[str],
) -> Commit:
    """The commit with its seal: BLAKE2b over ``prev``, the header and the bodies.

    The header is the JSON array [id, first, at, tasks, keys]; then comes each body, every one
    (the header too) followed by a line feed. Bodies hold no raw line feed, so this is unambiguous.
    """
    header = _encoder.encode((commit_id, first, at, tasks, keys))
    # In one piece: each large one would give up the GIL.
    text = "\n".join(("", *bodies, "")).encode()
    seal = blake2b(prev + header + text, digest_size=SEAL_BYTES).digest()
    return Commit(commit_id, first, at, prev, seal, tasks, keys, bodies)


def is_sealed(commit: Commit) -> bool:
    """Whether the commit's own seal matches its content and its ``prev``."""
    again = seal_commit(
        commit_id=commit.id,
        first=commit.first,
        at=commit.at,
        prev=commit.prev,
        tasks=commit.tasks,
        keys=commit.keys,
        bodies=commit.bodies,
    )
    return again.seal == commit.seal


def check_seal(commit: Commit, *, prev: bytes) -> None:
    """Raises LogCorruptError unless the commit follows this seal and its own is right."""
    if commit.prev != prev:
        raise LogCorruptError(commit.first, "its seal does not follow the one before")
    if not is_sealed(commit):
        raise LogCorruptError(commit.first, "its seal does not match what is stored")
