"""What a cut of the power has left is opened by eventq, and judged."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import apsw

import eventq
from eventq.core.commits import Commit
from eventq.verify import base_at_start, verify
from tools.powercut.workload import FILE

# Stands for the end of the log.
ALL = 10**9


class Loss(NamedTuple):
    """What is wrong with what was left."""

    kind: str
    """lost, other, damaged or unusable."""
    text: str


def judge(folder: Path, commits: list[Commit], told: int) -> Loss | None:
    """What is wrong with a log of which somebody knows all up to ``told``; None if nothing is.

    ``commits`` are all that were ever appended.
    """
    url = f"sqlite:///{folder / FILE}"
    if told and not (folder / FILE).exists():
        return Loss("lost", f"there is no file, and {told} was told of")
    try:
        with eventq.Queue(url, workers=1) as queue:
            return _damage(folder) or _difference(queue, commits, told) or _use(queue)
    except (eventq.EventqError, apsw.Error, OSError) as error:
        return Loss("damaged", f"{type(error).__name__}: {error}")


def _damage(folder: Path) -> Loss | None:
    # The same library as eventq's own connections: its locks stay when this one is closed.
    connection = apsw.Connection(str(folder / FILE), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        found = connection.pragma("integrity_check")
    finally:
        connection.close()
    return None if found == "ok" else Loss("damaged", str(found))


def _difference(queue: eventq.Queue, commits: list[Commit], told: int) -> Loss | None:
    """What is there must be a beginning of what there was, with all that was told of."""
    start = queue.log.start().seq
    found = queue.log.read(after=start, limit=ALL)
    last = found[-1].last if found else start
    if last < told:
        return Loss("lost", f"it ends at {last}, and {told} was told of")
    if found != [commit for commit in commits if start < commit.first <= last]:
        return Loss("other", f"the events behind {start} are not those that were appended")
    verdict = verify(queue.log, base=base_at_start(queue.log), indexes="full")
    return None if verdict.ok else Loss("damaged", str(verdict.findings[0]))


def _use(queue: eventq.Queue) -> Loss | None:
    """New tasks can be made and changed, and others run: in a namespace without old leases."""
    task = queue.new({"after": "the cut"})
    if queue.cancel(task.key).state is not eventq.TaskState.CANCELLED:
        return Loss("unusable", "a new task cannot be cancelled")
    with eventq.Queue(queue.url, namespace="after", workers=1) as after:
        after.new({"after": "the cut"})
        report = after.run(lambda _ctx, _task: None, until="idle")
    return None if report.completed == 1 else Loss("unusable", f"a new task does not run: {report}")
