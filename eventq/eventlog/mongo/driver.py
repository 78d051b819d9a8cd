"""What the MongoDB log knows of the driver: URLs, options, errors, and the server's clock.

No password leaves this module, and no error passes it untranslated.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, timedelta
from typing import Any

from pymongo import MongoClient
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)
from pymongo.uri_parser import parse_uri

from eventq.core.task import EPOCH
from eventq.errors import ArgumentError, LogUnavailableError

# Driver timeouts in milliseconds, unless the URL sets them. With the driver's defaults a primary
# that is cut off stalls writes until the link heals.
TIMEOUTS_MS = {
    "connectTimeoutMS": 2_000,
    "socketTimeoutMS": 5_000,
    "serverSelectionTimeoutMS": 5_000,
}
# For a write that the driver could repeat by itself, the server writes a second record. An append
# is followed up here until its outcome is known, so that record would only cost time.
RETRY_WRITES = False
DEFAULT_DATABASE = "eventq"

_HINTS = {
    18: " (check the user, the password and authSource in the URL)",
    13: " (the user needs readWrite on the database)",
}
# Server errors that pass by themselves: a primary that steps down, shuts down or is being
# elected, and an operation cut short by that.
_PASSING_CODES = frozenset(
    {6, 7, 50, 64, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}
)


def is_passing(error: PyMongoError) -> bool:
    """Whether the error passes by itself, as in a failover; the operation may have been done."""
    if isinstance(error, (AutoReconnect, ConnectionFailure, WTimeoutError)):
        return True
    return isinstance(error, OperationFailure) and error.code in _PASSING_CODES


def brief(error: Exception) -> str:
    """The driver's message without its dump of the topology, and never with a password."""
    return str(error).split(", Timeout:")[0].split(", full error:")[0]


def parse(url: str) -> tuple[str, str]:
    """The URL without its password, and the database it names.

    Raises ArgumentError, or LogUnavailableError where the hosts cannot be looked up.
    """
    shown = without_password(url)
    try:
        parsed = parse_uri(url, warn=False)
    except (ConfigurationError, ValueError, OSError) as error:
        # The driver quotes what it cannot parse, which may be half of a password.
        reason = "percent-encode the user and the password" if "@" in str(error) else brief(error)
        if url.startswith("mongodb+srv:") and type(error) is ConfigurationError:
            raise LogUnavailableError(f"{shown}: {reason}") from None
        raise ArgumentError("url", shown, f"a MongoDB URL ({reason})") from None
    if parsed["collection"]:
        raise ArgumentError("url", shown, "a MongoDB URL with a database whose name has no dot")
    return shown, parsed["database"] or DEFAULT_DATABASE


def without_password(url: str) -> str:
    """The URL as it may be shown: without password and options."""
    scheme, _, rest = url.partition("://")
    # A password that should have been percent-encoded may hold any of these signs itself.
    user, at, hosts = rest.rpartition("@")
    name = user.partition(":")[0].partition("?")[0]
    hosts = hosts.partition("?")[0]
    if not at and "[" not in hosts:
        # Without a host, a password stands where a port should be.
        hosts = re.sub(r":(?!\d+(,|/|$)).*", "", hosts)
    return f"{scheme}://{name}{at}{hosts}"


def open_client(url: str) -> MongoClient[dict[str, Any]]:
    """A client with all timeouts set; those that the URL sets stand."""
    named = url.partition("?")[2].lower()
    options: dict[str, Any] = {
        name: value for name, value in TIMEOUTS_MS.items() if name.lower() not in named
    }
    try:
        return MongoClient(url, appname="eventq", retryWrites=RETRY_WRITES, **options)
    except OSError as error:
        # A certificate or key that cannot be read.
        raise ArgumentError("url", without_password(url), f"readable files ({error})") from None


def election_of(client: MongoClient[dict[str, Any]]) -> object:
    """Which server the driver takes for the primary, and by which election. Asks no server."""
    servers = client.topology_description.server_descriptions().values()
    return [(s.address, s.election_id) for s in servers if s.server_type_name == "RSPrimary"]


def is_standalone(client: MongoClient[dict[str, Any]]) -> bool:
    """Whether the server is in no replica set, and so answers no linearizable reads."""
    hello = client.admin.command("hello")
    # A router of a sharded cluster names no set, and yet there is one behind it.
    return "setName" not in hello and hello.get("msg") != "isdbgrid"


def translate(error: PyMongoError, url: str) -> LogUnavailableError:
    """The driver's error as ours, with what to look at."""
    hint = _HINTS.get(getattr(error, "code", None) or 0, "")
    if isinstance(error, ServerSelectionTimeoutError):
        hint = " (no server answered within serverSelectionTimeoutMS)"
    return LogUnavailableError(f"{url}: {brief(error)}{hint}")


def measure_offset_us(client: MongoClient[dict[str, Any]]) -> int:
    """The primary's clock minus this host's; 0 where the difference is within the uncertainty."""
    sent_us = time.time_ns() // 1_000
    reply = client.admin.command("hello")
    answered_us = time.time_ns() // 1_000
    # The server's instant is cut to milliseconds, so on average it was half of one later.
    server = reply["localTime"].replace(tzinfo=UTC) - EPOCH
    offset_us = server // timedelta(microseconds=1) + 500 - (sent_us + answered_us) // 2
    uncertain_us = (answered_us - sent_us) // 2 + 500
    return offset_us if abs(offset_us) > uncertain_us else 0
