"""What the tests of contrib share: servers, and a queue to relay to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import eventq
from tests.contrib.postgres import Postgres, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, started for the first test that wants it."""
    with running() as server:
        yield server


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[eventq.Queue]:
    """A queue in a file of its own."""
    with eventq.Queue(f"sqlite:///{tmp_path}/tasks.db", workers=2) as opened:
        yield opened
