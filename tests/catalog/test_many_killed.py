"""kill -9 in the middle of a change to many tasks: finished, it has changed each of them once."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from eventq import Queue
from tests.checker import check_log

ROOT = Path(__file__).parent.parent.parent
TASKS, KILLS = 600, 20
# Only ever reached when something is broken, or the machine all but stands still.
DEADLINE_S = 60.0
SEED = random.SystemRandom().randrange(10**6)


def wait_for(queue: Queue, process: subprocess.Popen[bytes], moment: int) -> None:
    """Returns once the log has come so far, or the process has ended by itself."""
    pause = threading.Event()
    ends_s = time.monotonic() + DEADLINE_S
    while queue.log.head().seq < moment and process.poll() is None:
        assert time.monotonic() < ends_s, f"position {moment} was not reached (seed {SEED})"
        pause.wait(0.001)


def test_a_change_that_is_killed_again_and_again_is_made_once(tmp_path: Path) -> None:
    """At 20 moments, each at another position; the log alone says what is left to do."""
    url = f"sqlite:///{tmp_path}/queue.db"
    chance = random.Random(SEED)
    with Queue(url) as queue:
        queue.new_many([{"n": n} for n in range(TASKS)])
        queue.select(state="ready").cancel().apply()
        begun = queue.log.head().seq
        # As many commits as there are portions, and the beginning and the end.
        moments = sorted(chance.sample(range(begun + 1, begun + TASKS), KILLS))
        words = [url]
        for moment in moments:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.catalog.killed", *words], cwd=ROOT
            )
            with process:
                wait_for(queue, process, moment)
                process.kill()
            [bulk] = [each for each in queue.bulks() if each.action == "retry"]
            words = [url, str(bulk.id)]
        done = queue.finish_bulk(bulk.id)

        retried = Counter(e.task for e in queue.events(after=begun) if e.kind == "retried")
        assert set(retried.values()) == {1}, f"seed {SEED}"
        assert (len(retried), done.changed, done.moved_on) == (TASKS, TASKS, []), f"seed {SEED}"
        assert queue.stats().ready == TASKS
        check_log(queue.log)
