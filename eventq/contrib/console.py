"""The console in an application whose queue is opened by its lifespan; see `contrib.asgi`."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from eventq.contrib.asgi import HeldQueue, held_by
from eventq.errors import ArgumentError
from eventq.web.access import Access
from eventq.web.app import MOUNTED, app


class MountedConsole:
    """``application.mount("/queue", MountedConsole(access))``: the console of the lifespan's queue.

    It takes what `app` takes beside the queue.
    """

    def __init__(
        self,
        access: Access,
        **options: Any,  # noqa: ANN401 - those of `app`
    ) -> None:
        if not callable(access):
            raise ArgumentError("access", access, MOUNTED)
        self._access = access
        self._options = options
        self._held: HeldQueue | None = None
        self._console: Starlette | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Raises ArgumentError where no lifespan has opened a queue."""
        held = held_by(scope)
        if self._console is None or self._held is not held:
            # The first request since the application was started.
            self._console = made = app(held.queue.queue, self._access, **self._options)
            self._held = held
            held.on_end.append(made.state.console.close)
        await self._console(scope, receive, send)
