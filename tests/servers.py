"""Real MongoDB servers for tests, and databases on them that no other test uses."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tools.mongod import Missing, ReplicaSet

_numbers = itertools.count(1)


@contextmanager
def running(
    size: int = 1, *, replicated: bool = True, options: Sequence[str] = ()
) -> Iterator[ReplicaSet]:
    """A set of one or three servers; skips the test where there is no mongod, save in CI."""
    try:
        servers = ReplicaSet(size, replicated=replicated, options=options)
    except Missing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    with servers:
        yield servers


def new_url(servers: ReplicaSet, options: str = "") -> str:
    """The URL of a database that does not exist yet."""
    return servers.url(f"test{next(_numbers)}", options)
