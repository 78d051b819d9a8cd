"""Fixtures of the console's tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import eventq
from eventq.catalog.catalog import Catalog
from tests.web.desk import Desk, MakeDesk, fill
from tests.web.leaks import CANARY, PATIENT_S, leak


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


@pytest.fixture(params=["redact", "own", "own, no catalog"])
def leaky(
    make_desk: MakeDesk, queue: eventq.Queue, request: pytest.FixtureRequest
) -> Iterator[Desk]:
    """A console that is to hide the tag, over such a queue; one of its tasks runs."""
    is_told = request.param == "redact"
    leak(queue, [] if is_told else ["email"])
    if request.param != "own, no catalog":
        with closing(Catalog.open(queue.log)) as catalog:
            catalog.catch_up()
    begun, goes_on = threading.Event(), threading.Event()

    def stay(ctx: eventq.Context, task: eventq.Task) -> None:
        ctx.progress(1, 3, f"stays with {task.tags['email']}")
        begun.set()
        goes_on.wait(PATIENT_S)

    queue.resume(limit="host", value=CANARY)
    run = threading.Thread(target=lambda: queue.run(stay, names=["nobody"], signals=False))
    run.start()
    begun.wait(PATIENT_S)
    yield make_desk(redact=["email"] if is_told else [])
    goes_on.set()
    queue.stop()
    run.join(PATIENT_S)
