"""A watch on MongoDB bears what the operating system does to it."""

from __future__ import annotations

import errno
import threading
from typing import Any, cast

import pytest
from pymongo.errors import OperationFailure

from eventq.eventlog.mongo import watch as mongo_watch
from eventq.eventlog.mongo.watch import NOT_REPLICATED, MongoWatch
from tests.support import PATIENCE_S


class BarrenCollection:
    """No descriptor is left the first time; after that the server has no change streams."""

    def __init__(self) -> None:
        self.errors = [
            OperationFailure("no streams", NOT_REPLICATED),
            OSError(errno.EMFILE, "Too many open files"),
        ]

    def watch(self, *_: object, **__: object) -> None:
        """See Collection.watch."""
        raise self.errors.pop()


def test_a_watch_without_descriptors_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain error of the system pauses the watch; it does not end it."""
    monkeypatch.setattr(mongo_watch, "RETRY_S", 0.001)
    woken = threading.Event()
    positions = iter(range(10_000))
    watch = MongoWatch(
        cast("Any", BarrenCollection()),
        "default",
        woken.set,
        heard=lambda: True,
        position=lambda: next(positions),
    )

    watch.start()

    assert woken.wait(PATIENCE_S)
    watch.close()
