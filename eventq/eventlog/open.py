"""From a URL to a log; the only place that knows which schemes there are."""

from __future__ import annotations

import re
import threading
from urllib.parse import unquote, urlsplit

from eventq.errors import ArgumentError
from eventq.eventlog.contract import EventLog
from eventq.eventlog.memory import MemoryLog, MemoryStorage

EXPECTED = (
    "a URL: sqlite:///relative.db, sqlite:////absolute.db, mongodb://host/database, "
    "file:///copy.jsonl, memory:// or memory://name"
)

_named_storages: dict[str, MemoryStorage] = {}
_named_lock = threading.Lock()


def open_log(url: str, *, namespace: str = "default", create: bool = True) -> EventLog:
    """Opens the namespace's log at the URL; makes the file if it is missing and ``create``.

    ``memory://`` is a new log each time; ``memory://name`` one log a name in this process.
    Raises ArgumentError for a URL that is not understood, LogForeignError for a file that holds
    something else, LogTooNewError for one of a newer eventq, LogUnavailableError otherwise.
    """
    if not isinstance(url, str):
        raise ArgumentError("url", url, EXPECTED)
    if url.startswith(("mongodb://", "mongodb+srv://")):
        # Imported here: a program with another log needs no driver.
        from eventq.eventlog.mongo.log import MongoLog  # noqa: PLC0415

        return MongoLog(url, namespace=namespace, create=create)
    # The parser drops some control characters in silence, and the rest makes no path either.
    if not url.isprintable():
        raise ArgumentError("url", _without_password(url), "a URL without control characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ArgumentError("url", _without_password(url), EXPECTED) from None
    if parts.query or parts.fragment:
        raise ArgumentError(
            "url", _without_password(url), "a URL without ? and # (write them as %3F and %23)"
        )
    if parts.scheme == "memory" and parts.path in {"", "/"}:
        return MemoryLog(_storage(parts.netloc), url=url, namespace=namespace)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        # Imported here: a program with another log needs no SQLite.
        from eventq.eventlog.sqlite.log import SqliteLog  # noqa: PLC0415

        return SqliteLog(unquote(parts.path[1:]), url=url, namespace=namespace, create=create)
    if parts.scheme == "file" and not parts.netloc and len(parts.path) > 1:
        from eventq.eventlog.file import FileLog  # noqa: PLC0415

        return FileLog(unquote(parts.path[1:]), url=url, namespace=namespace, create=create)
    raise ArgumentError("url", _without_password(url), EXPECTED)


def _without_password(url: str) -> str:
    """For messages: nothing of what stands before the last @, where it is a login."""
    return re.sub(r"//.*@", "//...@", url, flags=re.DOTALL)


def _storage(name: str) -> MemoryStorage:
    if not name:
        return MemoryStorage()
    with _named_lock:
        return _named_storages.setdefault(name, MemoryStorage())
