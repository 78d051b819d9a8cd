"""Fixtures of the tests of questions to a log."""

from __future__ import annotations

import pytest

from tests.stage import Stage


@pytest.fixture
def stage() -> Stage:
    """An empty queue."""
    return Stage()
