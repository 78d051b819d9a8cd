"""What a signal handler raises in the driver, which takes a TimeoutError for the network's."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import pytest
from pymongo.errors import NetworkTimeout

from eventq.eventlog.mongo.log import MongoLog
from eventq.host.clock import SystemClock
from eventq.node.node import Node
from tests.checker import check_log
from tests.commands import creation
from tests.node.test_alarms import alarms
from tests.node.test_interrupts import behind_nobody


class TornCollection:
    """A collection whose first insert is interrupted, after it was made or before."""

    def __init__(self, collection: Any, *, is_stored: bool) -> None:  # noqa: ANN401 - of any document
        self._collection = collection
        self._is_stored = is_stored
        self._armed = True

    def insert_one(self, document: dict[str, Any]) -> None:
        """See Collection.insert_one."""
        armed, self._armed = self._armed, False
        if self._is_stored or not armed:
            self._collection.insert_one(document)
        if armed:
            try:
                signal.raise_signal(signal.SIGALRM)
            except TimeoutError as error:
                raise NetworkTimeout("timed out") from error

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of any type
        """All else is the collection's."""
        return getattr(self._collection, name)


@pytest.mark.parametrize("is_stored", [False, True])
def test_an_alarm_in_an_insert_is_its_own_callers(
    log: MongoLog,
    monkeypatch: pytest.MonkeyPatch,
    is_stored: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """It is neither swallowed nor told to the others in the commit, whose tasks are made once."""
    alarm = TimeoutError("alarm")

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise alarm

    torn = TornCollection(log.connection.commits(), is_stored=is_stored)
    monkeypatch.setattr(log.connection, "commits", lambda: torn)
    node = Node(log, clock=SystemClock())
    others = behind_nobody(node, [creation(key=key) for key in "ab"])

    with alarms(ring), pytest.raises(TimeoutError) as raised:
        node.execute(creation())

    assert raised.value is alarm
    assert len({thread.result().first for thread in others}) == 2
    assert sorted(check_log(log).keys) == ["a", "b"]
