"""A commit on its way into the log, and what its callers are told when it breaks off."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from eventq.core.commits import Commit
from eventq.errors import (
    EventqError,
    LogConflictError,
    LogOutcomeUnknownError,
    LogUnavailableError,
)
from eventq.node.waiting_line import PendingCommand


class InFlight(Struct):
    """What was decided last, on its way into the log; its outcome may be unknown."""

    commit: Commit | None
    """None where nobody decided on any event."""
    members: list[PendingCommand[Any]]
    is_leased: bool = False
    """The last event leases the task of the only other one, for a run on standby."""


def of_visit(error: EventqError, *, rows_only: bool) -> EventqError:
    """What a commit that broke off means for the block that ran inside it."""
    if isinstance(error, LogConflictError):
        return LogUnavailableError(f"{error}; the transaction was rolled back, run it again")
    if rows_only and type(error) is LogUnavailableError:
        # No event tells whether they are there.
        return LogOutcomeUnknownError(f"{error}; it is not known whether the rows were stored")
    return error


def outcome_unknown(problem: object, unread: EventqError) -> LogOutcomeUnknownError:
    """What its callers are told of a commit that cannot be read back."""
    return LogOutcomeUnknownError(
        f"{problem}; it is not known whether the commit was made, for the log says: {unread}"
    )
