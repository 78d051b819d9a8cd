"""rerun, the choice of tasks and the what-if say the same of a log wherever it is kept."""

from __future__ import annotations

import pytest

from eventq.archive.copy import copy_log
from eventq.replay.points import Point
from eventq.sandbox import attempted_keys, rerun, whatif
from tests.archive.conftest import opened
from tests.archive.copying.conftest import new
from tests.archive.copying.logs import KINDS, NewUrl, fill
from tests.archive.logs import Opener
from tests.eventlog.commits import everything

__all__ = ["new", "opened"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_log_gives_the_same(new: NewUrl, opened: Opener, kind: str) -> None:
    """A log in memory and its copy; neither grows."""
    source, copy = opened(new("memory")), opened(new(kind))
    fill(source.url)
    copy_log(source, copy)
    before, end = everything(copy), Point(source.head().seq, source.head().at)

    keys, others = (attempted_keys(log, state="expired", at=end) for log in (source, copy))
    first, again = (rerun(log, keys[0], lambda _ctx, _task: None) for log in (source, copy))
    supposed, same = (
        whatif(log, after=Point(0, 0), until=end, workers=3, max_retries=2, backoff="1s")
        for log in (source, copy)
    )

    assert keys == others != []
    assert (first.recorded, first.verdict) == (again.recorded, again.verdict)
    assert supposed == same
    assert everything(copy) == before
