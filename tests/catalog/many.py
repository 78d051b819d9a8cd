"""A queue with tasks in all states, for tests of changes to many at once."""

from __future__ import annotations

from eventq import Context, Queue, Task
from eventq.catalog.record import TaskRecord
from eventq.catalog.selector import SelectorOptions
from tests.facts import facts
from tests.support import ManualClock

FAILED: SelectorOptions = {"state": "expired", "error": "ConnectionError"}


def filled(queue: Queue, count: int = 6) -> None:
    """Every other task has expired; the rest has completed; two more wait to run."""
    queue.new_many([{"n": n} for n in range(count)], max_retries=0, max_age="1h")

    def work(_ctx: Context, task: Task) -> None:
        if task.tags["n"] % 2 == 0:
            raise ConnectionError(f"no way to {task.tags['n']}")

    queue.run(work, until="idle", signals=False)
    queue.new({"n": 100}, delay="1h", name="later")
    queue.new({"n": 101}, name="now")


def queue_with(clock: ManualClock, name: str) -> Queue:
    """A filled queue in memory, on a clock that stands still."""
    queue = Queue(f"memory://{name}", clock=clock)
    filled(queue)
    return queue


def seen(queue: Queue, record: TaskRecord | int) -> tuple[object, ...]:
    """All that is known of a task, to be compared with what it was before."""
    number = record if isinstance(record, int) else record.number
    task = queue.get(str(number))
    assert task is not None
    return facts(task)
