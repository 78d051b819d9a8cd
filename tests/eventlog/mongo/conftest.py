"""What the tests of the MongoDB log share: URLs of new databases, and logs on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from eventq.eventlog.mongo.log import MongoLog
from tests.servers import new_url
from tools.mongod import ReplicaSet


@pytest.fixture
def url(mongod: ReplicaSet) -> str:
    """The URL of a database that does not exist yet, on a set of one node."""
    return new_url(mongod)


@pytest.fixture
def log(url: str) -> Iterator[MongoLog]:
    """An empty log."""
    with closing(MongoLog(url, namespace="default", create=True)) as opened:
        yield opened
