"""Fixtures of the tests of snapshots."""

from __future__ import annotations

import pytest

from eventq.eventlog import EventLog
from tests.snapshot.story import told


@pytest.fixture
def log() -> EventLog:
    """A log whose commits end at 5, 8, 11, 14, 15, 17, 20, 21."""
    return told()
