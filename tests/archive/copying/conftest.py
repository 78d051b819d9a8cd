"""Fixtures of the tests of copying."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from eventq.eventlog import open_log
from tests.archive.copying.logs import NewUrl, Opener
from tests.servers import new_url


@pytest.fixture
def new(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """Makes URLs, by kind, of logs that do not exist yet."""

    def make(kind: str) -> str:
        number = len(list(tmp_path.iterdir()))
        (tmp_path / f"{number}").mkdir()
        match kind:
            case "memory":
                return f"memory://{tmp_path.name.replace('_', '-')}-{number}"
            case "mongo":
                return new_url(request.getfixturevalue("mongod"))
            case "file":
                return f"file:///{tmp_path}/{number}/log.jsonl"
            case _:
                return f"sqlite:///{tmp_path}/{number}/log.db"

    return make


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens logs and closes them after the test."""
    with ExitStack() as stack:
        yield lambda url, namespace="default": stack.enter_context(
            closing(open_log(url, namespace=namespace))
        )
