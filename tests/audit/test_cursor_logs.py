"""A cursor on every kind of log: the steps are the same, whatever they cost there."""

from __future__ import annotations

from contextlib import closing

import pytest

from eventq.archive.copy import copy_log
from eventq.audit.stepper.cursor import Cursor
from eventq.eventlog import EventLog, open_log
from tests.audit.screens import story
from tests.servers import new_url


@pytest.mark.parametrize("kind", ["sqlite", "mongo", "file"])
@pytest.mark.parametrize("kept", [4, 20_000])
def test_every_log_is_stepped_alike(
    kind: str,
    kept: int,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where undos run out, and what was replaced is looked up in the log."""
    monkeypatch.setattr("eventq.audit.stepper.cursor.UNDOS_KEPT", kept)
    log = story()
    with closing(open_log(new_url_of(kind, request), namespace=log.namespace)) as copy:
        copy_log(log, copy)
        ours, plain = at_the_end(copy), at_the_end(log)
        assert ours.is_near(-9)
        while plain.backward():
            assert ours.backward()
            assert (ours.seq, ours.event) == (plain.seq, plain.event)
            assert ours.projection.tasks == plain.projection.tasks
            assert ours.projection.holders == plain.projection.holders
            assert ours.task == plain.task
        assert not ours.backward()


def new_url_of(kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of a log that does not exist yet."""
    if kind == "mongo":
        return new_url(request.getfixturevalue("mongod"))
    return f"{kind}:///{request.getfixturevalue('tmp_path')}/copy"


def at_the_end(log: EventLog) -> Cursor:
    """A cursor at the last event."""
    cursor = Cursor(log, now=2**62)
    cursor.jump(log.head().seq)
    return cursor
