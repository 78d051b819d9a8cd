"""Opens a log by its URL. No other module knows which schemes there are."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

from eventq.core.plain import plain
from eventq.errors import ArgumentError
from eventq.eventlog.contract import EventLog, is_storable
from eventq.eventlog.memory import MemoryLog, MemoryStorage
from eventq.host.urls import without_login

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
    text = plain(url)
    if type(text) is not str:
        raise ArgumentError("url", url, EXPECTED)
    name = plain(namespace)
    if isinstance(name, str) and not is_storable(name):
        raise ArgumentError("namespace", namespace, "text without lone surrogates")
    return _open(text, namespace=namespace, create=create)


def _open(url: str, *, namespace: str, create: bool) -> EventLog:
    if url != url.strip():
        raise ArgumentError(
            "url", without_login(url), "a URL without spaces around it (write them as %20)"
        )
    if url.startswith(("mongodb://", "mongodb+srv://")):
        # Imported here: a program with another log needs no driver.
        from eventq.eventlog.mongo.log import MongoLog  # noqa: PLC0415

        return MongoLog(url, namespace=namespace, create=create)
    # The parser drops some control characters in silence, and the rest makes no path either.
    if not url.isprintable():
        raise ArgumentError("url", without_login(url), "a URL without control characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ArgumentError("url", without_login(url), EXPECTED) from None
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ArgumentError(
            "url", without_login(url), "a URL without ? and # (write them as %3F and %23)"
        )
    if parts.scheme == "memory" and parts.path in {"", "/"} and "://" in url:
        return MemoryLog(_storage(parts.netloc), url=url, namespace=namespace)
    if parts.scheme in {"sqlite", "file"}:
        path = _path(url, parts.scheme)
        if parts.scheme == "file":
            from eventq.eventlog.file import FileLog  # noqa: PLC0415

            return FileLog(path, url=url, namespace=namespace, create=create)
        # Imported here: a program with another log needs no SQLite.
        from eventq.eventlog.sqlite.log import SqliteLog  # noqa: PLC0415

        return SqliteLog(path, url=url, namespace=namespace, create=create)
    raise ArgumentError("url", without_login(url), EXPECTED)


def file_of(url: str) -> Path | None:
    """The file that a log of this URL is in; None for one that is in none on this host."""
    for scheme in ("sqlite", "file"):
        if url.startswith(f"{scheme}:///"):
            return Path(_path(url, scheme)).absolute()
    return None


def _path(url: str, scheme: str) -> str:
    """The path of a file's URL: all that stands behind three slashes."""
    rest = url[len(scheme) + 1 :]
    text = rest.removeprefix("///")
    if text == rest or not text:
        # One slash begins an absolute path; two were meant to be three.
        meant = rest.removeprefix("//")
        is_shown = meant.strip("/") and "@" not in meant
        hint = f": {scheme}:///{meant}" if is_shown else ""
        expected = f"three slashes before a relative path, four before an absolute one{hint}"
        raise ArgumentError("url", without_login(url), expected)
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        expected = "%XX that make UTF-8 text"
        raise ArgumentError("url", without_login(url), expected) from None


def _storage(name: str) -> MemoryStorage:
    if not name:
        return MemoryStorage()
    with _named_lock:
        return _named_storages.setdefault(name, MemoryStorage())
