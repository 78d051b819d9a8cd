"""Where a catalog lies: beside its log, or in the user's cache folder where that cannot be."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote, unquote

from eventq.errors import ArgumentError
from eventq.eventlog import EventLog
from eventq.host.paths import check_path_text

SUFFIX = ".catalog"
# Logs that are files, beside which there may be room.
FILES = ("sqlite:///", "file:///")


def catalog_path(log: EventLog, path: str | os.PathLike[str] | None = None) -> str:
    """The path of a log's catalog, whether it is there or not.

    Raises ArgumentError for a path that is no catalog's, and for a log in memory without one.
    """
    given = check_path(path)
    if given is not None:
        return given
    if log.url.startswith("memory:"):
        expected = "a path: a log in memory has no place of its own"
        raise ArgumentError("catalog", None, expected)
    for scheme in FILES:
        if log.url.startswith(scheme):
            beside = os.path.realpath(unquote(log.url.removeprefix(scheme)))
            part = "" if log.namespace == "default" else f".{quote(log.namespace, safe='')}"
            found = Path(f"{beside}{part}{SUFFIX}")
            if found.exists() or os.access(found.parent, os.W_OK):
                return str(found)
    return str(_cache_folder() / f"{_digest(log)}{SUFFIX}")


def check_path(path: object) -> str | None:
    """The absolute path that a caller gives for a catalog; None stays None.

    Raises ArgumentError for one that is no catalog's, so that nothing else is ever replaced.
    """
    if path is None:
        return None
    expected = f"a path that ends with {SUFFIX}"
    text = check_path_text(path, "catalog", expected)
    if not text.endswith(SUFFIX):
        raise ArgumentError("catalog", text, expected)
    return os.path.abspath(text)  # noqa: PTH100 - plain text


def prepare_folder(path: str) -> None:
    """Makes the folder of a catalog, if it is missing, for its owner alone. Raises OSError."""
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _cache_folder() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "eventq"


def _digest(log: EventLog) -> str:
    return blake2b(f"{log.url}\0{log.namespace}".encode(), digest_size=12).hexdigest()
