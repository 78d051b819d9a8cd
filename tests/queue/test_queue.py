"""Creating tasks: every option of `Queue` and `new`, keys, batches, and the queue's own life."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict

import msgspec
import pytest

from eventq import ArgumentError, Backoff, Queue, QueueClosedError, TaskSpec, TaskState
from eventq.core.events import Created
from eventq.core.task import EPOCH
from eventq.host.surroundings import usable_cores
from tests.checker import check_log
from tests.support import HookedLog, ManualClock


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new queue may be."""
    return f"sqlite:///{tmp_path}/eventq.db" if request.param == "sqlite" else "memory://"


@pytest.fixture
def clock() -> ManualClock:
    """A clock to move."""
    return ManualClock()


@pytest.fixture
def queue(url: str, clock: ManualClock) -> Iterator[Queue]:
    """A queue with the defaults of all options; what it leaves must be a good log."""
    with Queue(url, clock=clock) as queue:
        yield queue
        check_log(queue.log)


def now(clock: ManualClock) -> datetime:
    """The clock's instant."""
    return EPOCH + timedelta(microseconds=clock.us)


def created(queue: Queue, key: str) -> Created:
    """The stored event of a task's creation."""
    body = queue.history(key)[0].body
    assert isinstance(body, Created)
    return body


class TestNew:
    """`new` and its options."""

    def test_a_task_has_the_defaults(self, queue: Queue, clock: ManualClock) -> None:
        """Without tags and options a task is ready at once, of priority 0, and never expires."""
        task = queue.new()

        assert (task.key, task.number, task.namespace) == ("1", 1, "default")
        assert (task.tags, task.priority, task.state) == ({}, 0, TaskState.READY)
        assert task.created_at == task.scheduled_at == now(clock)
        assert (task.expires_at, task.attempt, task.retry_count) == (None, 0, 0)
        assert (task.last_error, task.result, task.age) == (None, None, timedelta(0))
        policy = created(queue, "1").policy
        assert (policy.backoff, policy.backoff_us) == ("linear", 10_000_000)
        assert (policy.max_retries, policy.max_age_us, policy.deadline_us) == (None, None, None)

    def test_what_new_gives_is_what_get_finds(self, queue: Queue) -> None:
        """The task that `new` returns is the one in the log, to the last field."""
        task = queue.new(
            {"path": "a.png", "deep": {"list": [1, None, 2.5, True, "é"]}}, priority=5, key="k"
        )

        assert queue.get("k") == task
        assert task.tags == {"path": "a.png", "deep": {"list": [1, None, 2.5, True, "é"]}}
        assert (task.priority, task.key) == (5, "k")

    @pytest.mark.parametrize("wait", ["90s", 90, 90.0, timedelta(seconds=90)])
    def test_delay_counts_from_now(
        self, queue: Queue, clock: ManualClock, wait: str | float | timedelta
    ) -> None:
        """A delay, in any form of a duration, schedules the task that much later."""
        task = queue.new(delay=wait)

        assert task.state is TaskState.SCHEDULED
        assert task.scheduled_at == now(clock) + timedelta(seconds=90)

    def test_scheduled_at_takes_any_time_zone(self, queue: Queue, clock: ManualClock) -> None:
        """An instant is an instant, whatever the zone it is written in."""
        at = now(clock) + timedelta(hours=1)

        task = queue.new(scheduled_at=at.astimezone(tz=UTC))

        assert task.scheduled_at == at
        clock.advance(3_600)
        found = queue.get(task.key)
        assert found is not None
        assert found.state is TaskState.READY
        assert found.age == timedelta(hours=1)

    def test_a_past_instant_means_at_once(self, queue: Queue) -> None:
        """A task scheduled in the past is ready, and ranks by that instant."""
        task = queue.new(scheduled_at=datetime(2020, 1, 1, tzinfo=UTC))

        assert task.state is TaskState.READY

    def test_expires_at_and_max_age_say_when_it_is_given_up(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        """An instant, or an age counted from the creation."""
        at = now(clock) + timedelta(days=1)

        by_instant, by_age = queue.new(expires_at=at), queue.new(max_age="1d")

        assert by_instant.expires_at == by_age.expires_at == at

    @pytest.mark.parametrize(
        "backoff, stored",
        [
            ("3s", ("linear", 3_000_000, None, 0.0)),
            (0, ("linear", 0, None, 0.0)),
            (Backoff.constant("5s"), ("constant", 5_000_000, None, 0.0)),
            (Backoff.linear("5s", cap="1m"), ("linear", 5_000_000, 60_000_000, 0.0)),
            (Backoff.exponential(1, jitter=0.5), ("exponential", 1_000_000, None, 0.5)),
        ],
    )
    def test_backoff_is_written_into_the_event(
        self,
        queue: Queue,
        backoff: Backoff | str | int,
        stored: tuple[str, int, int | None, float],
    ) -> None:
        """A history explains itself: the policy stands in the created event."""
        task = queue.new(backoff=backoff)

        policy = created(queue, task.key).policy
        kind, wait_us = policy.backoff, policy.backoff_us
        assert (kind, wait_us, policy.backoff_cap_us, policy.jitter) == stored


class TestDefaults:
    """The queue's options are defaults that a call's options beat."""

    @pytest.fixture
    def strict(self, url: str, clock: ManualClock) -> Iterator[Queue]:
        """A queue with a value for every option."""
        with Queue(
            url, clock=clock, max_age="1h", max_retries=3, deadline="30s", backoff="2s", workers=7
        ) as queue:
            yield queue

    def test_tasks_take_the_queues_options(self, strict: Queue, clock: ManualClock) -> None:
        """Each option of the queue stands in the policy of its tasks."""
        task = strict.new()

        assert strict.workers == 7
        policy = task.policy
        assert (policy.max_age_us, policy.max_retries) == (3_600_000_000, 3)
        assert (policy.deadline_us, policy.backoff_us) == (30_000_000, 2_000_000)
        assert task.expires_at == now(clock) + timedelta(hours=1)

    def test_a_calls_options_beat_the_queues(self, strict: Queue) -> None:
        """Each option given to `new` replaces the queue's."""
        policy = strict.new(max_age="2h", max_retries=0, deadline=5, backoff="1s").policy

        assert (policy.max_age_us, policy.max_retries) == (7_200_000_000, 0)
        assert (policy.deadline_us, policy.backoff_us) == (5_000_000, 1_000_000)

    def test_none_takes_an_option_away(self, strict: Queue) -> None:
        """None means without, not unchanged."""
        task = strict.new(max_age=None, max_retries=None, deadline=None)

        assert task.expires_at is None
        assert (task.policy.max_retries, task.policy.deadline_us) == (None, None)

    def test_expires_at_beats_the_queues_max_age(self, strict: Queue, clock: ManualClock) -> None:
        """An instant of the call leaves the queue's age aside."""
        at = now(clock) + timedelta(days=3)

        assert strict.new(expires_at=at).expires_at == at

    def test_new_many_merges_three_layers(self, strict: Queue) -> None:
        """A TaskSpec beats the call, which beats the queue."""
        one, two, three = strict.new_many(
            [{"a": 1}, TaskSpec({"a": 2}, max_retries=9, priority=1), TaskSpec(key="k")],
            max_retries=5,
            deadline=None,
        )

        assert [task.policy.max_retries for task in (one, two, three)] == [5, 9, 5]
        assert [task.policy.deadline_us for task in (one, two, three)] == [None] * 3
        assert [task.policy.backoff_us for task in (one, two, three)] == [2_000_000] * 3
        assert [task.priority for task in (one, two, three)] == [0, 1, 0]
        assert three.key == "k"

    def test_workers_default_to_the_cores(self, queue: Queue) -> None:
        """Without the option, a queue works on one task for each core that it may use."""
        assert queue.workers == usable_cores()


class Picture(msgspec.Struct):
    """Tags as a Struct."""

    path: str
    width: int
    scale: float = 1.0


@dataclass
class PictureData:
    """Tags as a dataclass."""

    path: str
    width: int


class PictureDict(TypedDict):
    """Tags as a TypedDict."""

    path: str
    width: int


def test_parse_turns_tags_into_types(queue: Queue) -> None:
    """Structs, dataclasses and TypedDicts take text where they want numbers."""
    task = queue.new({"path": "a.png", "width": "640"})

    assert task.parse(Picture) == Picture("a.png", 640)
    assert task.parse(PictureData) == PictureData("a.png", 640)
    assert task.parse(PictureDict) == {"path": "a.png", "width": 640}


def test_parse_names_the_tag_that_does_not_fit(queue: Queue) -> None:
    """The error says which tag is wrong."""
    task = queue.new({"path": "a.png", "width": "wide"})

    with pytest.raises(msgspec.ValidationError, match="width"):
        task.parse(Picture)


def test_close_may_come_twice_and_ends_everything(url: str) -> None:
    """After the context manager every method says that the queue is closed."""
    with Queue(url) as queue:
        queue.new()
    queue.close()

    for use in (queue.new, queue.stats, queue.tasks, lambda: list(queue.events())):
        with pytest.raises(QueueClosedError):
            use()
    with pytest.raises(QueueClosedError):
        queue.run(print)


def test_repr_tells_where_and_nothing_else(queue: Queue) -> None:
    """A queue shows its URL and namespace, a task its key and state, never its tags."""
    task = queue.new({"password": "secret"})

    assert repr(queue) == f"<Queue {queue.url} namespace='default'>"
    assert repr(task) == "<Task '1' ready priority=0>"


def test_namespaces_do_not_mix(tmp_path: Path) -> None:
    """Two namespaces of one file have tasks, keys and positions of their own."""
    url = f"sqlite:///{tmp_path}/eventq.db"
    with Queue(url, namespace="one") as one, Queue(url, namespace="two") as two:
        one.new({"a": 1}, key="k")
        task = two.new({"a": 2}, key="k")

        assert (task.number, task.namespace) == (1, "two")
        assert one.stats().total == two.stats().total == 1


def test_a_queue_takes_an_open_log() -> None:
    """It has the log's namespace and URL, and closes it."""
    log = HookedLog(namespace="ours")
    with Queue(log=log) as queue:
        queue.new()

        assert (queue.log, queue.namespace, queue.url) == (log, "ours", log.url)
        assert log.head().seq == 1
    with pytest.raises(QueueClosedError):
        log.head()


@pytest.mark.parametrize("options", [{"url": "memory://"}, {"namespace": "theirs"}])
def test_a_log_comes_instead_of_a_url_and_a_namespace(options: dict[str, str]) -> None:
    """Which of the two was meant is not guessed."""
    with pytest.raises(ArgumentError, match="log: expected a log, or a URL"):
        Queue(log=HookedLog(namespace="ours"), **options)  # type: ignore[arg-type]
