"""How a secret may stand in other text, and text without it.

Nothing here knows whose secret it is, or who asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, quote_plus

import msgspec

from eventq.core.secret_tags import LEAST_CHARACTERS

# No longer than the shortest, so that a text does not grow by it.
STARS = "***"
# Messages, notes and reasons that are longer are cut to this, without a mark.
CUT_CHARACTERS = 1_000
# What eventq puts where it cuts a text.
CUT_MARK = re.compile(r"\.\.\.|…")


def forms_of(value: object) -> Iterable[str]:
    """The texts that tell a secret value, which is of JSON: all that stand in it, in each form."""
    if isinstance(value, str):
        # A traceback that is too long loses lines, and each line of a secret tells of it.
        for text in {value, *value.splitlines()}:
            if len(text) >= LEAST_CHARACTERS:
                yield from _written(text)
    elif isinstance(value, dict):
        for each in value.values():
            yield from forms_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from forms_of(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = msgspec.json.encode(value).decode()
        if len(text) >= LEAST_CHARACTERS:
            yield text


def secrets_of(tags_json: bytes, names: tuple[str, ...]) -> list[str]:
    """The values of tags of these names in all their forms, as `without` takes them."""
    return secrets_in(msgspec.json.decode(tags_json) if names else None, names)


def secrets_in(tags: object, names: tuple[str, ...]) -> list[str]:
    """The same of tags that are decoded."""
    if not isinstance(tags, dict):
        return []
    found = {form for name in names for form in forms_of(tags.get(name))}
    return sorted(found, key=len, reverse=True)


def without(text: str, secrets: Sequence[str], instead: str = STARS) -> str:
    """The text without the secrets, and without the beginning of one where the text was cut.

    ``secrets`` are in all their forms, the longest first, since one may stand in another.
    """
    if not secrets:
        return text
    is_cut = len(text.rstrip("\n")) >= CUT_CHARACTERS
    for secret in secrets:
        text = text.replace(secret, instead)
    ends = {mark.start() for mark in CUT_MARK.finditer(text)}
    if is_cut:
        ends.add(len(text.rstrip("\n")))
    for end in sorted(ends, reverse=True):
        begin = min(_begin(text, end, secret) for secret in secrets)
        if begin < end:
            text = f"{text[:begin]}{instead}{text[end:]}"
    return text


def _written(text: str) -> Iterable[str]:
    """A text as it is, and as Python, JSON and addresses have it."""
    yield text
    yield repr(text)[1:-1]
    yield ascii(text)[1:-1]
    yield repr(text.encode())[2:-1]
    yield json.dumps(text)[1:-1]
    yield msgspec.json.encode(text).decode()[1:-1]
    yield quote(text)
    yield quote(text, safe="")
    yield quote_plus(text)


def _begin(text: str, end: int, secret: str) -> int:
    """Where the beginning of a secret stands that the text has before ``end``; else ``end``."""
    at = text.find(secret[:LEAST_CHARACTERS], max(0, end - len(secret)), end)
    while at >= 0:
        if secret.startswith(text[at:end]):
            return at
        at = text.find(secret[:LEAST_CHARACTERS], at + 1, end)
    return end
