"""A log that is archived under nodes that are at work: they go on, whatever they still hold."""

from __future__ import annotations

from pathlib import Path

from eventq import Task
from tests.archive.logs import move
from tests.support import PATIENCE_S, Gate, HookedLog, kinds, queue_on, running, wait_until


def test_a_late_outcome_of_a_task_that_was_archived_is_refused(folder: Path) -> None:
    """The run goes on, and what its log no longer holds it does not ask for."""
    log = HookedLog()
    gate = Gate()

    def work(_ctx: object, task: Task) -> None:
        if task.tags["n"] == 1:
            gate()

    with queue_on(log, workers=1) as queue:
        queue.new({"n": 1})
        with running(queue, work) as run:
            assert gate.reached.wait(PATIENCE_S)
            queue.cancel("1")
            move(log, folder)
            assert log.history(1) == []
            gate.open()
            second = queue.new({"n": 2})
            wait_until(lambda: not run.running or "completed" in kinds(queue, second.key))
            queue.stop()
            report = run.result()

        assert (report.completed, report.refused) == (1, 1)
        assert [event.seq > log.start().seq for event in log.history(1)] == [True]
