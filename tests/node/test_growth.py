"""An older and a newer eventq on one log: what the newer one writes, and how this one goes on.

The newer one is played by bodies appended as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from threading import Event as Signal

import pytest

from eventq import LogTooNewError, Queue, Task, TaskState
from eventq.audit import why
from eventq.core.values import NODE
from eventq.eventlog import EventLog, open_log
from eventq.replay.points import find_point
from eventq.verify import verify
from tests.driver import append_texts
from tests.support import Gate, look, runner_of, running, wait_until

NEEDING = (
    '{"kind":"created","policy":{"backoff":"linear","backoff_us":1},"needs":["telepathy"],'
    '"minds":["smtp"]}'
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A log in a file, which two versions share."""
    return f"sqlite:///{tmp_path / 'queue.db'}"


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    """This version."""
    with Queue(url, workers=1) as queue:
        yield queue


@pytest.fixture
def newer(url: str, queue: Queue) -> Iterator[EventLog]:  # noqa: ARG001 - makes the file
    """Where the newer version appends."""
    with closing(open_log(url)) as log:
        yield log


def told(queue: Queue, key: str) -> str:
    """What `why` says first."""
    return why(queue.log, key, find_point(queue.log, "end", now=2**60)).verdict


def nothing(*_: object) -> None:
    """A worker."""


def test_a_task_that_needs_what_is_not_known_is_left_alone(queue: Queue, newer: EventLog) -> None:
    """It waits, costs no attempt, and is no damage; all others run."""
    append_texts(newer, [1], NEEDING)
    done = queue.new()

    report = queue.run(lambda *_: queue.stop() and None)

    assert report.completed == 1
    assert [task.key for task in queue.tasks()] == ["1"]
    assert queue.tasks()[0].attempt == 0
    assert queue.get(done.key).state is TaskState.COMPLETED  # type: ignore[union-attr]
    assert told(queue, "1") == "it needs telepathy, which only a newer eventq knows"
    assert {finding.rule for finding in verify(queue.log).findings} == {"unknown"}


@pytest.mark.parametrize("number", [NODE, 1])
def test_a_kind_to_be_skipped_changes_nothing(queue: Queue, newer: EventLog, number: int) -> None:
    """About the queue or a task; the log is as good as without it."""
    queue.new()
    append_texts(newer, [number], '{"kind":"dreamt","skip":true,"done":1}')

    assert queue.run(nothing, until="idle").completed == 1
    assert verify(queue.log, indexes="full").ok
    assert queue.stats().completed == 1


def test_an_unknown_kind_about_a_task_makes_that_one_untouchable(
    queue: Queue, newer: EventLog
) -> None:
    """Whatever is asked of it is refused by name; the others go on, and its end is believed."""
    held, free = queue.new(key="held"), queue.new()
    append_texts(newer, [held.number], '{"kind":"frozen","until":7}')

    assert queue.run(nothing, until="idle").completed == 1
    assert queue.get("held").state is TaskState.UNKNOWN  # type: ignore[union-attr]
    assert [task.key for task in queue.tasks(state="unknown")] == ["held"]
    assert queue.stats().unknown == queue.stats().open == 1
    for ask in (queue.cancel, queue.retry, lambda key: queue.update(key, priority=3)):
        with pytest.raises(LogTooNewError, match=r"event 3 about task held .* 'frozen'"):
            ask("held")
    assert told(queue, "held").startswith("event 3 about it is of the unknown kind frozen")
    assert queue.new(key="held").state is TaskState.UNKNOWN
    assert queue.cancel(queue.new(delay="1h").key).state is TaskState.CANCELLED
    assert queue.get(free.key).state is TaskState.COMPLETED  # type: ignore[union-attr]

    append_texts(
        newer,
        [1, 1],
        '{"kind":"leased","attempt":4,"worker":"m","ttl_us":9}',
        f'{{"kind":"completed","fence":{newer.head().seq + 1},"result":42}}',
    )

    ended = queue.get("held")
    assert ended is not None
    assert (ended.state, ended.result) == (TaskState.COMPLETED, 42)
    assert queue.stats().unknown == 0
    assert told(queue, "held").startswith("event 3 about it")


def test_a_final_task_that_a_newer_eventq_brings_back_does_no_harm(
    queue: Queue, newer: EventLog
) -> None:
    """What follows is none of this version's business, and no damage to it."""
    task = queue.new(key="k")
    queue.cancel("k")
    append_texts(
        newer,
        [1, 1],
        '{"kind":"restored"}',
        '{"kind":"leased","attempt":1,"worker":"m","ttl_us":9}',
    )

    assert queue.get("k").state is TaskState.UNKNOWN  # type: ignore[union-attr]
    with pytest.raises(LogTooNewError, match="'restored'"):
        queue.retry("k")
    queue.new()
    assert queue.run(nothing, until="idle").completed == 1
    assert task.number == 1
    assert queue.stats().total == 2


def test_an_unknown_kind_about_the_queue_ends_a_run(queue: Queue, newer: EventLog) -> None:
    """It ends what it runs, leases no more, and says so; producers and readers go on."""
    first, later = queue.new(priority=1), queue.new()
    go_on = Signal()

    def work(_ctx: object, task: Task) -> str:
        if task.number == first.number:
            append_texts(newer, [NODE], '{"kind":"muted","what":"all"}')
            queue.new()
            go_on.set()
        assert go_on.wait(60)
        return "done"

    with pytest.raises(LogTooNewError, match="'muted', written by a newer eventq"):
        queue.run(work, until="idle")

    ended = queue.get(first.key)
    assert ended is not None
    assert ended.result == "done"
    assert queue.get(later.key).state is TaskState.READY  # type: ignore[union-attr]
    assert queue.new().state is TaskState.READY
    assert len(queue.tasks()) == 3
    with pytest.raises(LogTooNewError, match="'muted'"):
        queue.cancel(later.key)
    with pytest.raises(LogTooNewError, match="'muted'"):
        queue.run(nothing, until="idle")
    assert queue.stats().leased == 0
    assert {finding.rule for finding in verify(queue.log).findings} == {"unknown"}


def test_an_unknown_field_means_what_its_absence_meant(queue: Queue, newer: EventLog) -> None:
    """Events only gain fields; a task that has one runs as ever."""
    body = '{"kind":"created","policy":{"backoff":"linear","backoff_us":1,"mood":2},"share":"a"}'
    append_texts(newer, [1], body)

    assert queue.run(nothing, until="idle").completed == 1
    assert queue.stats().completed == 1
    assert queue.tasks(state="completed")[0].age >= timedelta(0)


def test_a_rule_of_a_newer_eventq_ends_the_proof_that_the_log_takes_appends(
    queue: Queue, newer: EventLog
) -> None:
    """Where nobody is judged, one sign of life does not follow upon the other."""
    queue.new(key="k")
    gate = Gate()
    with suppress(LogTooNewError), running(queue, lambda _ctx, _task: gate()):
        wait_until(gate.reached.is_set)
        runner_of(queue).lookout.lapses.unproven_seq = newer.head().seq
        append_texts(newer, [NODE], '{"kind":"ruled"}')
        for _ in range(3):
            look(queue)
        gate.open()

    bodies = [body for commit in newer.read(after=0) for body in commit.bodies]
    assert any('"kind":"ruled"' in body for body in bodies)
    assert not any('"kind":"renewed"' in body for body in bodies)
