"""Stored texts to bodies, many at a time; what cannot be understood gets a stand-in."""

from __future__ import annotations

import msgspec

from eventq.core.commits import AnyBody, Unknown, decode_bodies
from eventq.verify.terms import Unreadable

ReadBody = AnyBody | Unknown | Unreadable

_encoder = msgspec.json.Encoder()


def read_bodies(texts: list[str]) -> list[ReadBody]:
    """A body for each text.

    All are decoded in one call. That each came from its own text, and not from a damaged
    neighbour, is shown by encoding them again; where that differs each is decoded alone.
    """
    try:
        bodies = decode_bodies(texts)
        if _encoder.encode_lines(bodies) == "\n".join([*texts, ""]).encode():
            return list(bodies)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        pass
    return [_read_one(text) for text in texts]


def _read_one(text: str) -> ReadBody:
    try:
        [body] = decode_bodies([text])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        return Unreadable(str(error))
    return body
