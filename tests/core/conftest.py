"""Fixtures of the core's tests."""

from __future__ import annotations

import pytest

from tests.core.bench import Bench


@pytest.fixture
def bench() -> Bench:
    """An empty queue to arrange."""
    return Bench()
