"""Fixtures of the tests of copying."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.archive.copying.logs import NewUrl
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
