"""URLs as messages may show them; nothing here opens one."""

from __future__ import annotations

import re

RELAXED = re.DOTALL | re.IGNORECASE


def without_login(url: str) -> str:
    """The URL without what stands before its last @, and without passwords among its options.

    Somebody may have meant a login, however few slashes stand before it.

    >>> without_login("mysql://ada:secret@host/db"), without_login("db:/ada:secret@host?password=x")
    ('mysql://...@host/db', 'db:/...@host?password=...')
    """
    shown = re.sub(r"^(\s*[a-z][a-z0-9+.-]*:/*)?.*@", r"\1...@", url, flags=RELAXED)
    return re.sub(r"([?&][^=&]*password=)[^&]*", r"\1...", shown, flags=RELAXED)
