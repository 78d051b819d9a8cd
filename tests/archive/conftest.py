"""Fixtures of the tests of archives: small segments, and logs of every kind that can be cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from eventq.archive import retention as moving
from eventq.archive import segments
from eventq.eventlog import open_log
from eventq.eventlog.mongo import log as mongo
from eventq.eventlog.mongo import retention as mongo_cut
from eventq.eventlog.sqlite import retention as sqlite_cut
from tests.archive.logs import LOGS, Opener, fill
from tests.servers import new_url


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments, blocks and steps of so few events that a small log has many."""
    monkeypatch.setattr(moving, "SEGMENT_EVENTS", 12)
    monkeypatch.setattr(segments, "BLOCK_EVENTS", 5)
    monkeypatch.setattr(sqlite_cut, "CUT_EVENTS", 5)
    monkeypatch.setattr(sqlite_cut, "KEEP_ROWS", 3)
    monkeypatch.setattr(mongo_cut, "CUT_COMMITS", 5)
    monkeypatch.setattr(mongo_cut, "KEEP_ROWS", 3)
    # What was made a moment ago is to be deleted too; so nothing known before that is trusted.
    monkeypatch.setattr(mongo_cut, "SETTLED_S", -3600.0)
    monkeypatch.setattr(mongo, "TRUSTED_S", 0.0)


@pytest.fixture(params=LOGS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a filled log, of each kind that can be cut."""
    match request.param:
        case "memory":
            found = f"memory://{tmp_path.name.replace('_', '-')}"
        case "mongo":
            found = new_url(request.getfixturevalue("mongod"))
        case _:
            found = f"sqlite:///{tmp_path}/log.db"
    fill(found)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the archive is to be."""
    return tmp_path / "old"


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens logs and closes them after the test."""
    with ExitStack() as stack:
        yield lambda url, namespace="default": stack.enter_context(
            closing(open_log(url, namespace=namespace))
        )
