"""A log to keep anchors of, keys, and a time stamp server that is openssl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventq import Queue
from tests.anchors.stamping import StampServer, make_authority


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now_us(self) -> int:
        """See Clock."""
        return int(self.now_s * 1e6)

    def monotonic(self) -> float:
        """See Clock."""
        return self.now_s


@pytest.fixture
def hands() -> HandClock:
    """A clock that stands still."""
    return HandClock()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """A queue with three tasks, in a folder of its own."""
    (tmp_path / "log").mkdir()
    with Queue(f"sqlite:///{tmp_path}/log/queue.db") as opened:
        for number in range(3):
            opened.new({"n": number})
        yield opened


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority and a time stamping certificate."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def stamping(authority: Path) -> Iterator[StampServer]:
    """A time stamp server on this host; it can be told to be away."""
    server = StampServer(authority)
    server.start()
    yield server
    server.stop()
