"""What is refused since a newer eventq has written to the log, and how it is told."""

from __future__ import annotations

from eventq.errors import LogTooNewError


def check_understood(unknown: tuple[int, str] | None) -> None:
    """Raises LogTooNewError where a projection has met an event about the queue that is unknown."""
    if unknown is not None:
        raise newer_queue(unknown)


def newer_queue(event: tuple[int, str]) -> LogTooNewError:
    """The error for an event about the queue of a kind that is not known: position and kind."""
    seq, kind = event
    return LogTooNewError(
        f"event {seq} is of the unknown kind {kind!r}, written by a newer eventq: upgrade eventq"
    )


def newer_task(key: str, event: tuple[int, str]) -> LogTooNewError:
    """The error for a task that an event of a kind that is not known is about."""
    seq, kind = event
    return LogTooNewError(
        f"event {seq} about task {key} is of the unknown kind {kind!r}, written by a newer eventq: "
        "upgrade eventq"
    )
