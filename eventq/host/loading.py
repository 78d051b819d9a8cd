"""Whether this process imports an application's module to find a handler in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class _State:
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


def is_loading() -> bool:
    """Whether a module that begins a run does so where nobody asked for it."""
    return _state.is_loading


_state = _State()
