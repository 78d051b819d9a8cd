"""Data as text that is safe to print; nothing from a log may be printed unescaped.

Anyone can write task tags, errors and file names, so these may hold terminal commands, and
direction marks that make a line look like another.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from eventq.core.plain import escaped_json
from eventq.core.secret_tags import shown_tags
from eventq.core.task import instant, show_instant
from eventq.handlers.secret_texts import secrets_in, secrets_of, without


def visible(text: str) -> str:
    r"""The text on one line, with each unprintable character escaped.

    >>> visible("a\x1b[31m\n\u202e")
    'a\\x1b[31m\\n\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def visible_lines(text: str, *, indent: str = "") -> list[str]:
    """The lines of a text, each safe to print."""
    return [indent + visible(line) for line in text.rstrip("\n").split("\n")]


def short(text: str, width: int) -> str:
    """The text, or its beginning and three dots, in at most ``width`` characters."""
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."


def json_text(value: object, *, ascii_only: bool = False) -> str:
    r"""The value as one line of JSON, with each unprintable character escaped.

    It reads back the same. Letters of all scripts are kept, unless only ASCII is wanted.

    >>> json_text({"name": "\u202eé\x9b"})
    '{"name":"\\u202eé\\u009b"}'
    >>> json_text("é", ascii_only=True)
    '"\\u00e9"'
    """
    return escaped_json(msgspec.json.encode(value).decode(), ascii_only=ascii_only)


def tag_text(tags: object, secret: tuple[str, ...] = ()) -> str:
    """Tags on one line, as ``name=value``; what is not text stands as ``name:=JSON``."""
    if not isinstance(tags, dict):
        # No eventq wrote these, but they must be shown.
        return json_text(tags)
    hidden = secrets_in(tags, secret)
    return " ".join(
        f"{name}={visible(without(value, hidden))}"
        if isinstance(value, str)
        else f"{name}:={without(json_text(value), hidden)}"
        for name, value in shown_tags(tags, secret).items()
    )


def starred(text: str, tags_json: bytes, secret: tuple[str, ...]) -> str:
    """What is said of a task, on one line, with stars for what its secret tags hold."""
    return visible(without(text, secrets_of(tags_json, secret)))


def time_text(at: datetime | int | None) -> str:
    """An instant in UTC, to the millisecond; a hyphen for none."""
    return "-" if at is None else show_instant(at)


def iso_text(at: datetime | int) -> str:
    """An instant in UTC for programs, always with microseconds."""
    at = instant(at) if isinstance(at, int) else at
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
