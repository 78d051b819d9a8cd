"""Flows and what tasks wait for, in a log whose beginning was archived."""

from __future__ import annotations

from pathlib import Path

import pytest

import eventq
from eventq import Queue
from eventq.archive import archive_events, delete_archived, find_end
from eventq.replay.points import find_point
from eventq.verify import base_at_start, verify
from tests.archive.logs import NOW


def cut(queue: Queue, folder: Path) -> None:
    """Archives all that is there, and deletes it from the log."""
    until = find_end(queue.log, find_point(queue.log, "end", now=NOW))
    report = archive_events(queue.log, folder, until=until)
    delete_archived(queue.log, folder, until=report.until, now=NOW)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_cut_keeps_what_open_tasks_come_after(kind: str, tmp_path: Path) -> None:
    """Their results, how they stood, and the key of each flow."""
    url = "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/q.db"
    folder = tmp_path / "archive"
    with Queue(url) as queue:
        seen: list[object] = []

        @queue.task
        def give(what: str) -> str:
            return what.upper()

        @queue.task
        def take(what: str, other: str | None = None) -> None:
            seen.append((what, other))

        with queue.flow("night") as flow:
            first = flow.new(give, "a")
            flow.new(take.using(delay="1h"), first.result)
            flow.finally_(take, "last")
        queue.run(until="idle", signals=False)
        failed = give.new("b")
        queue.cancel(failed.key)
        held = take.using(if_failed="hold").new("held", queue.result(failed))
        cut(queue, folder)
        cut(queue, folder)

        with pytest.raises(eventq.FlowExistsError), queue.flow("night") as again:
            again.new({"n": 1})
        for task in queue.tasks(state="scheduled"):
            queue.retry(task.key)
        queue.retry(held.key)
        queue.run(until="idle", signals=False)

        assert sorted(map(str, seen)) == ["('A', None)", "('held', None)", "('last', None)"]
        verdict = verify(queue.log, base=base_at_start(queue.log))
        assert verdict.findings == ()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_flow_that_ended_between_two_cuts_is_known_as_it_ended(kind: str, tmp_path: Path) -> None:
    """By the key of the flow, its first task is found as the last cut left it."""
    url = "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/q.db"
    folder = tmp_path / "archive"
    with Queue(url) as queue:
        with queue.flow("night") as flow:
            flow.new({"n": 1})
        [first] = queue.tasks()
        cut(queue, folder)
        queue.run(lambda _ctx, _task: None, until="idle", signals=False)
        cut(queue, folder)

        known = queue.get(first.key)
        assert known is not None
        assert known.state is eventq.TaskState.COMPLETED
        with pytest.raises(eventq.NotAllowedError):
            queue.retry(first.key)
        with pytest.raises(eventq.FlowExistsError), queue.flow("night") as again:
            again.new({"n": 1})
        assert verify(queue.log, base=base_at_start(queue.log)).findings == ()
