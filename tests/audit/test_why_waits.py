"""What `why` tells of tasks that wait for others, now and at past points."""

from __future__ import annotations

from typing import Any

from eventq import Queue
from tests.audit.asking import asked


def test_why_goes_down_to_the_task_that_runs(queue: Queue) -> None:
    """While it runs, and at that point of the past; before that, the same one is ready."""
    first = queue.new({"n": 1}, key="first", name="load")
    second = queue.new({"n": 2}, key="second", after=first)
    queue.new({"n": 3}, key="third", after=second)
    made = queue.log.head().seq
    told: list[tuple[int, str]] = []

    def work(_ctx: object, task: Any) -> None:  # noqa: ANN401
        if task.key == "first":
            told.append((queue.log.head().seq, asked(queue, "third").verdict))

    queue.run(work, until="idle", names=["*"])
    [(running, verdict)] = told
    [node] = {e.body.worker for e in queue.events() if e.kind == "leased"}  # type: ignore[union-attr]

    chain = "it comes after task second, which comes after task first (load)"
    assert verdict == f"{chain}, which runs on {node}, for 0s"
    assert asked(queue, "third", running).verdict == verdict
    assert asked(queue, "third", running).notes == ["task second is waiting"]
    assert asked(queue, "third", made).verdict == f"{chain}, which is ready"
    assert asked(queue, "third").verdict.startswith("it has been completed since ")


def test_why_tells_what_has_failed(queue: Queue) -> None:
    """Of a task that is held, of one that is to be cancelled, and of a finaliser."""
    with queue.flow("f") as flow:
        one = flow.new({"n": 1}, max_retries=0)
        flow.new({"n": 2}, key="held", after=one, if_failed="hold")
        flow.new({"n": 3}, key="doomed", after=one)
        flow.finally_({"n": 4}, key="last")

    def work(_ctx: object, _task: object) -> None:
        raise ValueError

    queue.run(work, until="idle")
    expired = next(e.seq for e in queue.events() if e.kind == "expired")

    ended = "task 1, which it comes after, ended without success"
    assert asked(queue, "held").verdict == (
        f"{ended}: it is held until that is retried and completes, or it is retried"
    )
    assert (
        asked(queue, "doomed", expired).verdict == f"{ended}: the next node that looks cancels it"
    )
    assert asked(queue, "last").verdict == "1 member of its flow 1 must end first"
    assert asked(queue, "last").notes == ["task held is held"]
    words = queue.waits_for(queue.tasks())
    assert words == {2: "a retry of task 1", 4: "the end of flow 1"}
