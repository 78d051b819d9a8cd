"""What a what-if makes of a damaged log: it is told by position, as for everything that folds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from eventq.core.commits import Commit
from eventq.errors import LogCorruptError
from eventq.eventlog import open_log
from eventq.replay.points import Point
from eventq.sandbox import whatif
from tests.verify.tampering import COMMITS, LAST, resealed, write_sqlite

BROKEN = len(COMMITS) // 2


def damaged(text: str) -> list[Commit]:
    """The log with another last body in one of its commits."""
    commit = COMMITS[BROKEN]
    broken = replace(commit, bodies=[*commit.bodies[:-1], text])
    return [*COMMITS[:BROKEN], broken, *COMMITS[BROKEN + 1 :]]


@pytest.mark.parametrize(
    "commits",
    [
        damaged(COMMITS[BROKEN].bodies[-1] + " "),
        resealed(damaged("x")),
        resealed(damaged('{"kind":"crea')),
    ],
    ids=["seal", "body", "kind"],
)
def test_damage_is_told(tmp_path: Path, commits: list[Commit]) -> None:
    """A seal that does not match, a body that is no JSON, and one that ends in its kind."""
    url = write_sqlite(tmp_path / "log.db", commits)

    with (
        closing(open_log(url, create=False)) as log,
        pytest.raises(LogCorruptError, match=f"position {COMMITS[BROKEN].first}:"),
    ):
        whatif(log, after=Point(0, 0), until=Point(LAST, 0))
