"""The words in tags, as they are indexed and looked for: folded, so that case does not matter.

A pass over the log and the index of the catalog must find the same by them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import msgspec

from eventq.core.plain import leaves_of


def words_of(tags: object) -> Iterator[str]:
    """The words in tags: of names and of values, folded, so that case and accents do not matter.

    They are letters and digits in a row, of any script.

    >>> list(words_of({"Path": "Café_3.png"}))
    ['path', 'cafe', '3', 'png']
    """
    for each in leaves_of(tags):
        yield from split_words(
            each if isinstance(each, str) else msgspec.json.encode(each).decode()
        )


def split_words(text: str) -> list[str]:
    """The words in a text, folded; see `words_of`."""
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(c for c in parts if not unicodedata.combining(c))
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()


def words_in(tags_json: bytes) -> Iterator[str]:
    """As `words_of`, for tags as a log has them."""
    return words_of(msgspec.json.decode(tags_json))


def indexed_text(tags_json: bytes) -> str:
    """The words of tags, as they are indexed: the JSON itself where that has just those."""
    if tags_json.isascii() and b"\\" not in tags_json:
        return tags_json.decode()
    return " ".join(words_in(tags_json))
