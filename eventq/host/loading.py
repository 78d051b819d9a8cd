"""Whether this process imports an application's module to find a handler in it.

Such a module must do nothing by itself: each process for isolated attempts imports it, so that it
would make its tasks, and begin its run, once more in each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eventq.errors import UnguardedError


class _LoadingState:
    def __init__(self) -> None:
        self.is_loading = False


@contextmanager
def loading() -> Iterator[None]:
    """While the block lasts, modules are imported for their handlers alone."""
    _state.is_loading = True
    try:
        yield
    finally:
        _state.is_loading = False


def check_guarded(call: str) -> None:
    """Raises UnguardedError for a call that a module makes while it is imported."""
    if _state.is_loading:
        raise UnguardedError(call)


_state = _LoadingState()
