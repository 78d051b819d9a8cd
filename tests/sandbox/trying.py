"""What the tests of rerun and fork share: a small recorded past, and a log that refuses to grow."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from eventq import Cancel, Queue, Retry
from eventq.core.commits import Commit
from eventq.core.settle import Outcome
from eventq.eventlog import EventLog, open_log
from eventq.eventlog.memory import MemoryLog
from eventq.replay.points import Point, find_point
from eventq.sandbox import Rerun, rerun
from tests.core.bench import Bench
from tests.deciding import lapse, settle
from tests.driver import record

Worker = Callable[[Any, Any], Any]

# Every URL of a memory log is one of its own.
_numbers = itertools.count()


class ReadOnlyLog(MemoryLog):
    """A handle on a memory log that whoever only looks may have."""

    def append(self, commit: Commit) -> None:
        """Nobody calls this."""
        raise AssertionError(f"something is appended: {commit.bodies}")


def new_memory_url() -> str:
    """A log that does not exist yet."""
    return f"memory://trying-{next(_numbers)}"


def recorded(
    worker: Callable[..., Any],
    *,
    tags: dict[str, Any] | None = None,
    **options: Any,  # noqa: ANN401
) -> ReadOnlyLog:
    """A log in which one task, with the key "task", was run by the worker; it cannot grow."""
    with Queue(new_memory_url(), workers=1, **options) as queue:
        queue.new(tags or {"n": 1}, key="task", priority=7)
        queue.run(worker, until="idle")
        return read_only(queue.url)


def read_only(url: str) -> ReadOnlyLog:
    """A handle on a memory log that cannot append."""
    log = open_log(url)
    assert isinstance(log, MemoryLog)
    return ReadOnlyLog(log.storage, url=url, namespace=log.namespace)


def end_of(log: EventLog) -> Point:
    """The end of the log, by its own time."""
    return find_point(log, log.head().seq, now=log.head().at)


def work(_ctx: Any, task: Any) -> object:  # noqa: ANN401 - as a user would write it
    """Ends in each way, by the tag ``n``."""
    match task.tags["n"]:
        case 1:
            raise ValueError("bad input")
        case 2:
            raise Retry("later", delay="1h")
        case 3:
            raise Cancel("pointless")
        case 4:
            return None
        case 5:
            return {object()}
        case _:
            return {"a": [1, None], "b": task.tags["n"]}


def again(log: Any, worker: Worker = work, **options: Any) -> Rerun:  # noqa: ANN401
    """The rerun of the one task."""
    return rerun(log, "task", worker, **options)


def returning(value: object) -> Worker:
    """A worker that returns this."""
    return lambda _ctx, _task: value


def raising(error: BaseException) -> Worker:
    """A worker that raises this."""

    def worker(_ctx: object, _task: object) -> None:
        raise error

    return worker


def end(bench: Bench, number: int, fence: int, kind: str, now: int, **options: Any) -> None:  # noqa: ANN401
    """An attempt comes to an end; ``worker`` and ``error`` are the options."""
    worker = options.pop("worker", "node")
    outcome = Outcome(number, fence, kind, **options)  # type: ignore[arg-type]
    drafts = settle(bench.projection, [outcome], worker=worker, now=now)
    record(bench.log, bench.projection, drafts, now=now)


def fall_silent(bench: Bench, worker: str, fence: int, now: int) -> None:
    """The leases of a node lapse, whose last sign of life was a lease."""
    drafts = lapse(bench.projection, worker=worker, seen_seq=fence, room=9, now=now)
    record(bench.log, bench.projection, drafts, now=now)


def written(bench: Bench) -> ReadOnlyLog:
    """The log of a bench, which cannot grow."""
    return ReadOnlyLog(bench.log.storage, url="memory://", namespace="default")
