"""Fixtures of the console's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import eventq
from tests.web.desk import Desk, MakeDesk, fill


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[eventq.Queue]:
    """An empty queue in a file."""
    with eventq.Queue(f"sqlite:///{tmp_path}/queue.db", workers=1) as queue:
        yield queue


@pytest.fixture
def make_desk(queue: eventq.Queue, tmp_path: Path) -> Iterator[MakeDesk]:
    """Makes consoles over the queue."""
    desks: list[Desk] = []

    def make(**options: object) -> Desk:
        desk = Desk(queue, tmp_path / "cache", **options)
        desks.append(desk)
        return desk

    yield make
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """A console over the empty queue."""
    return make_desk()


@pytest.fixture
def full(make_desk: MakeDesk, queue: eventq.Queue) -> Desk:
    """A console over a queue with a past."""
    fill(queue)
    return make_desk()
