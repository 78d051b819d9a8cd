"""Whether a name is a pattern's; the verifier's own word on it."""

from __future__ import annotations


def fits(name: str, pattern: str) -> bool:
    """Whether the name is the pattern's, in which ``*`` stands for any text."""
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    *inner, last = others
    if not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in inner:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end
