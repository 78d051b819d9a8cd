"""What a form's fields mean: words become values here; the library checks them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from eventq.errors import ArgumentError

NUMBER_CHARACTERS = 20
MOST_FIELDS = 500


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that was sent; of one that comes twice, the last. Raises ArgumentError.

    How large it may be, the guard has seen to.
    """
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise ArgumentError("form", "", "fields as a browser sends them") from None
    return dict(pairs)


def optional(form: Mapping[str, str], name: str) -> str | None:
    """The text of a field, without the space around it; None for an empty one."""
    return form.get(name, "").strip() or None


def number_of(form: Mapping[str, str], name: str) -> int | None:
    """The whole number in a field; None for an empty one. Raises ArgumentError."""
    word = optional(form, name)
    return None if word is None else whole_number(word, name)


def whole_number(word: str, name: str) -> int:
    """The whole number that a word says. Raises ArgumentError."""
    digits = word.removeprefix("-")
    if len(word) > NUMBER_CHARACTERS or not (digits.isascii() and digits.isdecimal()):
        raise ArgumentError(name, word, "a whole number")
    return int(word)


def instant_of(form: Mapping[str, str], name: str) -> datetime:
    """The instant in a field; one without a zone is in UTC. Raises ArgumentError."""
    word = form.get(name, "").strip()
    try:
        at = datetime.fromisoformat(word)
    except ValueError:
        raise ArgumentError(name, word, "an instant like 2030-01-31T12:00:00Z") from None
    return at.replace(tzinfo=UTC) if at.utcoffset() is None else at


def json_of(text: str, name: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value of JSON text. Raises ArgumentError."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ArgumentError(name, text, f"JSON ({error})") from None
