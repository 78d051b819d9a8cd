"""Workers that tests of the command name on its command line."""

from __future__ import annotations

from typing import Any


def nothing(_ctx: Any, _task: Any) -> None:  # noqa: ANN401 - as a user would write it
    """Completes every task."""
