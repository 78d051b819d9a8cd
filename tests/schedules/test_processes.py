"""Schedules in processes that are killed: each due is ticked once, and none is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from eventq import Queue
from eventq.core.queue_events import Ticked
from eventq.verify import verify
from tests.schedules.program import SCHEDULES
from tests.support import wait_until

ROOT = Path(__file__).parent.parent.parent
EVERY_US = 200_000
DUES = 8


def test_whoever_is_killed_each_due_is_ticked_once(tmp_path: Path) -> None:
    """Two processes at a time on one file; one is killed, and another takes its place."""
    url = f"sqlite:///{tmp_path}/eventq.db"
    command = [sys.executable, "-m", "tests.schedules.program", url]
    with ExitStack() as stack, Queue(url) as queue:

        def begin() -> subprocess.Popen[bytes]:
            process = stack.enter_context(subprocess.Popen(command, cwd=ROOT))
            stack.callback(process.kill)
            return process

        def ticked() -> int:
            queue.stats()
            with queue._node.reading() as projection:
                return projection.counts["ticked"]

        stage = [begin(), begin()]
        for _ in range(2):
            before = ticked()
            wait_until(lambda: ticked() >= before + DUES * SCHEDULES, "ticks")  # noqa: B023
            first = stage.pop(0)
            first.send_signal(signal.SIGKILL)
            first.wait()
            stage.append(begin())
        before = ticked()
        wait_until(lambda: ticked() >= before + SCHEDULES, "ticks")
        for process in stage:
            process.send_signal(signal.SIGTERM)
            # One that has just begun may not listen yet, and ends all the same.
            process.wait()

        dues: dict[str, list[int]] = {}
        for event in queue.events():
            if isinstance(event.body, Ticked):
                dues.setdefault(event.body.schedule, []).append(event.body.due)
        assert len(dues) == SCHEDULES
        for found in dues.values():
            assert found == list(range(found[0], found[-1] + 1, EVERY_US))
        assert verify(queue.log).findings == ()
