"""The pytest plugin of eventq. It stands outside of the package, so that only tests load that.

A plugin is imported before anything else, also where no test needs it, and before coverage begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from eventq.testing import Harness


@pytest.fixture
def eventq_harness() -> Iterator[Callable[..., Harness]]:
    """Makes harnesses: what `eventq.testing.harness` takes; each ends, verified, with the test."""
    from eventq.testing import harness  # noqa: PLC0415 - see the module

    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(harness(*args, **options))
