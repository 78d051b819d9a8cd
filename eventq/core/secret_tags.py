"""What of a task's tags may be told to others than its worker: all but those that are secret.

Nothing here knows who asks; whoever reads the log itself has all tags.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

INSTEAD = "(secret)"


def open_tags(tags_json: bytes | Raw, secret: tuple[str, ...]) -> bytes:
    """The tags without those of these names, as JSON."""
    text = bytes(tags_json)
    if not secret:
        return text
    tags = msgspec.json.decode(text)
    if not isinstance(tags, dict):
        # No eventq wrote these.
        return b"{}"
    return msgspec.json.encode({name: tags[name] for name in tags if name not in secret})


def shown_tags(tags: dict[str, Any], secret: tuple[str, ...]) -> dict[str, Any]:
    """The tags with a word of ours for each value that is secret."""
    return {name: INSTEAD if name in secret else value for name, value in tags.items()}
