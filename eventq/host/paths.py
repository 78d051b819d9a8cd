"""Paths that callers hand in, checked before the system is asked for any file there."""

from __future__ import annotations

import os

from eventq.errors import ArgumentError


def check_path_text(path: object, argument: str, expected: str) -> str:
    """The path as text that a system may be asked for. Raises ArgumentError for any other value.

    That is text without NUL, and without lone surrogates but those that Python has for bytes which
    are no UTF-8.
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else b""
    # Of a text, its own characters alone.
    found = str.__str__(text) if isinstance(text, str) else ""
    try:
        os.fsencode(found)
    except UnicodeEncodeError:
        found = ""
    if not found or "\0" in found:
        raise ArgumentError(argument, path, expected)
    return found
