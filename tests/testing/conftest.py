"""The harness that most tests of it take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq.testing import Harness, harness
from tests.testing.shop import calls, shop


@pytest.fixture
def t() -> Iterator[Harness]:
    """A harness with the shop; its log is verified at the end."""
    calls.clear()
    with harness([shop], start="2027-03-28T00:00:00+01:00", seed=1) as opened:
        yield opened
