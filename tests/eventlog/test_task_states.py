"""The view `task_states` of a SQLite log that has limits, flows and schedules."""

from __future__ import annotations

from pathlib import Path

from eventq import Queue
from tests.support import ManualClock

COLUMNS = "tags, schedule, due, flow, comes_after, limits, share"


def test_task_states_tell_tags_links_and_limits(tmp_path: Path) -> None:
    """One column each; NULL where a task has none of it; tags as they were last edited."""
    clock = ManualClock()
    with Queue(f"sqlite:///{tmp_path}/log.db", clock=clock) as queue:

        @queue.task
        def tidy() -> None: ...

        queue.every("10s", tidy, schedule="tidy")
        plain = queue.new({"n": 1})
        queue.update(plain.key, tags={"n": 2, "tenant": "a"})
        queue.new(limits={"smtp": "mx1"}, share="b", exclusive=["repo:7"])
        with queue.flow() as flow:
            first = flow.new({"n": 3})
            flow.new({"n": 4}, after=[first, plain])
        queue.run(lambda _ctx, _task: None, until="idle", names=["tidy"])
        clock.advance(10)
        queue.run(until="idle")
        rows = queue.sql(f"SELECT {COLUMNS} FROM task_states ORDER BY task").rows  # noqa: S608

    assert rows == [
        ('{"n":2,"tenant":"a"}', None, None, None, None, None, None),
        ("{}", None, None, None, None, '[["exclusive","repo:7"],["smtp","mx1"]]', "b"),
        ('{"n":3}', None, None, 4, None, None, None),
        ('{"n":4}', None, None, 4, "[4,1]", None, None),
        ("{}", "tidy", "2023-11-14T22:13:30Z", None, None, None, None),
    ]


def test_tags_of_a_reopened_task(tmp_path: Path) -> None:
    """Those that it had at its end, and what is edited later; `json_extract` reads them."""
    with Queue(f"sqlite:///{tmp_path}/log.db") as queue:
        queue.new({"n": 1}, key="one")
        queue.update("one", tags={"n": 2})
        queue.cancel("one")
        queue.retry("one")
        query = "SELECT json_extract(tags, '$.n'), tags ->> '$.n' FROM task_states"
        before = queue.sql(query).rows
        queue.update("one", tags={"n": 3})
        after = queue.sql(query).rows

    assert (before, after) == ([(2, 2)], [(3, 3)])
