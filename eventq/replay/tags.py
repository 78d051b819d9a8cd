"""Matching tasks by their tags, compared as JSON; nothing here reads a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class TagFilter:
    """Says of tags whether they hold all of these names with these values; without any, yes."""

    def __init__(self, tags: Mapping[str, Any] | None) -> None:
        self._wanted = {name: _canonical(value) for name, value in (tags or {}).items()}

    def matches(self, tags_json: bytes) -> bool:
        """Whether these tags, as a log has them, match."""
        if not self._wanted:
            return True
        tags: dict[str, Any] = msgspec.json.decode(tags_json)
        return all(
            name in tags and _canonical(tags[name]) == text for name, text in self._wanted.items()
        )


def _canonical(value: object) -> bytes:
    """As JSON compares it: True is not 1, and a tuple is a list."""
    return msgspec.json.encode(value, order="sorted")
