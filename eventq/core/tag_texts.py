"""The text that a tag's value has as the name of a bucket or of a share.

Nothing here knows which tags are asked for, nor what is taken in a bucket.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from eventq.core.plain import sorted_json
from eventq.core.values import KEY_BYTES

# So many values are remembered before all are forgotten.
VALUES_KEPT = 10_000
NO_VALUE = Raw(b"")


class TagTexts:
    """As `tag_text`, for one tag of many tasks: a third of its cost, since all others are skipped.

    Values are remembered, as most come back.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._known: dict[bytes, str | None] = {b"": None}
        self._decoder = _decoder_of(name)

    def of(self, tags_json: bytes | Raw) -> str | None:
        """The text that these tags have for it; None where there is none that is fit."""
        if self._decoder is None:
            return tag_text(tags_json, self.name)
        value = bytes(self._decoder.decode(tags_json).value)
        try:
            return self._known[value]
        except KeyError:
            if len(self._known) > VALUES_KEPT:
                self._known = {b"": None}
            text = self._known[value] = fit_text(msgspec.json.decode(value))
            return text


@lru_cache(maxsize=1_000)
def _decoder_of(name: str) -> msgspec.json.Decoder[Any] | None:
    """Decodes one tag's value alone; None where that cannot be. Kept, as it takes a new type."""
    # A name with a quote or the like is none that msgspec looks for.
    with suppress(ValueError):
        fields = [("value", Raw, NO_VALUE)]
        only = msgspec.defstruct("OneTag", fields, rename={"value": name}, gc=False)
        return msgspec.json.Decoder(only)
    return None


def tag_text(tags_json: bytes | Raw, name: str) -> str | None:
    """The value of a tag as the name of a bucket or share; None where it has none that is fit.

    Text stands for itself, another value for its JSON. Longer text than a key, and text with
    control characters, is not fit.
    """
    return fit_text(msgspec.json.decode(tags_json).get(name))


def fit_text(value: Any) -> str | None:  # noqa: ANN401 - whatever JSON a tag holds
    """A value as the name of a bucket or a share; None where it is not fit to be one."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else sorted_json(value).decode()
    return text if text.isprintable() and len(text.encode()) <= KEY_BYTES else None
