"""What a run says that it can run: once, and again each minute."""

from __future__ import annotations

from eventq.core.durations import SECOND_US
from eventq.runner.setup import make_runner
from tests.driver import append_texts, memory_log
from tests.support import ManualClock, node_of, queue_on


def test_it_is_said_once_where_the_log_is_ahead_of_the_clock() -> None:
    """Its own event says by what instant it was decided, and is known to be its own."""
    log, clock = memory_log(), ManualClock()
    append_texts(log, [0], '{"kind":"left","worker":"x"}', at=clock.now_us() + 3_600 * SECOND_US)
    queue = queue_on(log, clock=clock)
    runner = make_runner(
        node_of(queue),
        queue._workload(lambda *_: None, ["mine"], None),
        chance=lambda: 0.5,
        until=None,
        grace=1,
        lease_ttl=30,
        max_stuck=None,
        health=None,
    )

    for _ in range(3):
        runner.lookout.look()

    assert [event.kind for event in queue.events()] == ["left", "joined"]
