"""Errors as answers: each with the right status and in words, as HTML or as JSON; no traceback."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from eventq.core.plain import escaped_json
from eventq.errors import (
    AlreadyRunningError,
    ArgumentError,
    DuplicateTaskError,
    EventqError,
    FlowExistsError,
    KeyConflictError,
    LogArchivedError,
    LogError,
    NotAllowedError,
    QueueClosedError,
    TaskNotFoundError,
)
from eventq.host.logger import SafeLogger
from eventq.web.acting import ActRefusedError
from eventq.web.filtering import FilterRefusedError
from eventq.web.kept_catalog import SlowQuestionError
from eventq.web.pages.flows import NoFlowError
from eventq.web.past import AbandonedError, BusyError

logger = SafeLogger("eventq.web")

STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (FilterRefusedError, 403),
    (NoFlowError, 404),
    (TaskNotFoundError, 404),
    (LogArchivedError, 404),
    (ArgumentError, 400),
    (NotAllowedError, 409),
    (KeyConflictError, 409),
    (DuplicateTaskError, 409),
    (FlowExistsError, 409),
    (AlreadyRunningError, 409),
    (QueueClosedError, 503),
    (LogError, 503),
)
TRY_AGAIN: dict[type[Exception], str] = {
    BusyError: "Too many pages of the past are asked for; try again in a moment.",
    AbandonedError: "This page of the past was given up; ask for it again.",
    SlowQuestionError: "This takes too long to find; ask for fewer, or by something rarer.",
}


class Problem(Struct, frozen=True):
    """Why there is no other answer."""

    status: int
    problem: str


def problem_of(error: Exception) -> Problem:
    """What an error is for who asked; one that is not ours is logged, and told without its text."""
    if isinstance(error, ActRefusedError):
        return Problem(error.status, error.words)
    if type(error) in TRY_AGAIN:
        return Problem(503, TRY_AGAIN[type(error)])
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return Problem(status, _sentence(error))
    if isinstance(error, EventqError):
        return Problem(409, _sentence(error))
    logger.error("a page failed", extra={"error": repr(error)}, exc_info=error)
    return Problem(500, "Something went wrong here; the console's log says what.")


def _sentence(error: Exception) -> str:
    words = str(error)
    return f"{words[:1].upper()}{words[1:].removesuffix('.')}."


def is_api(request: Request) -> bool:
    """Whether JSON is asked for."""
    return route_path(request).startswith("/api/")


def route_path(request: Request) -> str:
    """The path below where the console is mounted, as it was sent."""
    root = request.scope.get("root_path") or ""
    path: str = request.scope["path"]
    return path.removeprefix(root) if root else path


def path_words(request: Request) -> dict[str, str]:
    """What the path says, as it is meant: the guard leaves it as it was sent."""
    return {name: unquote(str(word)) for name, word in request.path_params.items()}


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401
    """A value as a JSON answer."""
    # Somebody may ask on a terminal, and the log of a stranger may hold what would command it.
    text = escaped_json(msgspec.json.encode(value).decode())
    return Response(text, status, headers, "application/json")
