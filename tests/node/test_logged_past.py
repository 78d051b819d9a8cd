"""What commands ask of the log: nothing is read twice, and no other history is trusted."""

from __future__ import annotations

from typing import Unpack

import pytest

from eventq import Queue
from eventq.catalog.selector import SelectorOptions
from eventq.core.commits import Commit
from eventq.eventlog.contract import READ_EVENTS
from eventq.eventlog.memory import MemoryLog
from eventq.node.logged_past import LoggedPast
from eventq.replay.bulks import bulk_since


def cancelled(queue: Queue, **selector: Unpack[SelectorOptions]) -> int:
    """Makes three tasks and calls some off by one change; its number."""
    for n in range(3):
        queue.new({"n": n})
    return queue.select(**selector).cancel().apply().id


def test_who_decides_again_reads_only_what_others_have_appended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a change to many would never get its turn where others append all the time."""
    queue = Queue("memory://")
    bulk = cancelled(queue, state="ready")
    log, past = queue.log, LoggedPast(queue.log)
    middle, end = bulk + 3, log.head().seq
    past.bulk_since(bulk, bulk, middle)
    reads: list[int] = []
    read = MemoryLog.read

    def noted(log: MemoryLog, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        reads.append(after)
        return read(log, after=after, limit=limit)

    monkeypatch.setattr(MemoryLog, "read", noted)
    found = past.bulk_since(bulk, bulk, end)

    assert min(reads) == middle
    assert found == bulk_since(log, bulk, after=bulk, until=end)
    assert (found.changed, found.is_over) == ({1, 2, 3}, True)


def test_another_history_is_read_from_its_beginning() -> None:
    """A failover may have put it there."""
    first, second = Queue("memory://one"), Queue("memory://two")
    bulk = cancelled(first, state="ready")
    assert cancelled(second, tags={"n": 1}) == bulk
    past = LoggedPast(first.log)
    past.bulk_since(bulk, bulk, bulk + 1)
    past._log = second.log
    end = second.log.head().seq

    assert past.bulk_since(bulk, bulk, end) == bulk_since(second.log, bulk, after=bulk, until=end)
