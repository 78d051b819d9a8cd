"""Bad input: each wrong argument is named with its value, and nothing is appended."""

from __future__ import annotations

import enum
import http
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eventq import ArgumentError, Backoff, LogUnavailableError, Queue, Task, TaskSpec
from eventq.core.validation import JSON_DEPTH
from tests.checker import check_log
from tests.support import ManualClock

Call = Callable[[Queue], object]

NAIVE = datetime(2030, 1, 1)  # noqa: DTZ001 - that it has no zone is the point
AWARE = datetime(2030, 1, 1, tzinfo=UTC)
CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: Any = 1
for _ in range(JSON_DEPTH + 1):
    DEEP = [DEEP]
VERY_DEEP: Any = {}
for _ in range(100_000):
    VERY_DEEP = {"a": VERY_DEEP}


class Unshowable:
    """A value whose repr raises."""

    def __repr__(self) -> str:
        """Raises."""
        raise RuntimeError


@pytest.fixture(params=["memory", "sqlite"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    """A queue with one task, key ``k``, which nothing here may change."""
    url = f"sqlite:///{tmp_path}/eventq.db" if request.param == "sqlite" else "memory://"
    with Queue(url, clock=ManualClock()) as queue:
        queue.new({"a": 1}, key="k", max_age="1h")
        yield queue
        assert queue.stats().seq == 1, "a refused call has appended"
        assert queue.new().number == 2, "the queue does not go on working"
        check_log(queue.log)


def check_refused(queue: Queue, call: Call, argument: str) -> ArgumentError:
    """The error of the call, which names the argument first."""
    with pytest.raises(ArgumentError) as caught:
        call(queue)
    error = caught.value
    assert error.argument == argument
    assert str(error).startswith(f"{argument}: expected {error.expected}, got ")
    assert str(error).isascii()
    assert str(error).isprintable()
    assert len(str(error)) < 400
    return error


def calling(method: str, *args: object, **options: object) -> Call:
    """A call of the queue's method."""
    return lambda queue: getattr(queue, method)(*args, **options)


DURATIONS = [
    -1, -1e-9, timedelta(seconds=-1), "-1s", math.nan, math.inf, -math.inf, True, "", "5", "soon",
    "1s2h", "1 s", "1h1h", "1e3s", "\ud800", b"1s", [], {}, object(), Unshowable(), 1e300, 10**400,
    "9" * 5_000 + "s", timedelta(days=365_250), AWARE, "٣s",
]  # fmt: skip
INSTANTS = [
    NAIVE,
    "2030-01-01",
    1_700_000_000,
    AWARE.date(),
    True,
    datetime(1960, 1, 1, tzinfo=UTC),
]
COUNTS = [-1, True, 1.0, "1", 2**40, math.nan, [], AWARE]
PRIORITIES = [True, 1.0, "1", 2**31, -(2**31) - 1, math.inf, None, [], 10**400]
KEYS = [
    "", "123", "٣٤", b"key", 5, 10**5_000, True, "x" * 256, "é" * 128, "a\nb", "a\0b", "\ud800",
    "a\u202eb", [], Unshowable(),
]  # fmt: skip
TAGS = [
    "text", b"bytes", 5, ["a"], [("a", 1)], {1, 2}, Unshowable(),
    {"bad name": 1}, {"": 1}, {"1a": 1}, {"_a": 1}, {"é": 1}, {"a-b": 1}, {"a\n": 1}, {5: 1},
    {None: 1}, {True: 1}, {"\ud800": 1}, {"a\0": 1}, {"a" * 256: 1}, {b"a": 1}, {("a",): 1},
]  # fmt: skip
VALUES = [
    math.nan, math.inf, -math.inf, 2**64, -(2**63) - 1, 10**400, b"bytes", {1}, object(), 1j, AWARE,
    timedelta(1), print, Unshowable(), CYCLE, DEEP, VERY_DEEP, [[math.nan]], {"x": {1: 2}},
    {"x": {None: 2}}, (1, {2}), bytearray(b"a"), enum.Enum("E", "A"), range(3), iter([]),
]  # fmt: skip
ENCODED = ["\ud800", "a\0b", ["\udfff"], {"\ud800": 1}, {"a\0": 1}, "x" * 65_536, ["x" * 999] * 70]


class TestNew:
    """Every option of `new`, and so of new_many and TaskSpec."""

    @pytest.mark.parametrize("tags", TAGS, ids=range(len(TAGS)))
    def test_tags(self, queue: Queue, tags: Any) -> None:  # noqa: ANN401 - anything wrong
        """Tags are a mapping whose names are letters, digits and underscores."""
        check_refused(queue, lambda queue: queue.new(tags), "tags")
        if not isinstance(tags, dict):
            check_refused(queue, lambda queue: queue.new_many([tags]), "tasks[0]: tags")
        check_refused(queue, lambda queue: queue.new_many([{}, TaskSpec(tags)]), "tasks[1]: tags")

    @pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
    def test_tag_values(self, queue: Queue, value: Any) -> None:  # noqa: ANN401 - anything wrong
        """Values are JSON: finite numbers of 64 bits, lists and objects not nested too deep."""
        check_refused(queue, lambda queue: queue.new({"ok": 1, "a": value}), "tags['a']")
        check_refused(queue, lambda queue: queue.update("k", tags={"a": value}), "tags['a']")
        check_refused(queue, lambda queue: queue.tasks(tags={"a": value}), "tags['a']")

    @pytest.mark.parametrize("value", ENCODED, ids=range(len(ENCODED)))
    def test_tag_text(self, queue: Queue, value: Any) -> None:  # noqa: ANN401 - anything wrong
        """Text has no lone surrogates and no NUL, and all together 64 KiB at most."""
        check_refused(queue, lambda queue: queue.new({"a": value}), "tags")
        check_refused(queue, lambda queue: queue.new_many([{"a": value}]), "tasks[0]: tags")
        check_refused(queue, lambda queue: queue.update("k", tags={"a": value}), "tags")

    @pytest.mark.parametrize("option", ["delay", "max_age", "backoff", "deadline"])
    @pytest.mark.parametrize("value", DURATIONS, ids=range(len(DURATIONS)))
    def test_durations(self, queue: Queue, option: str, value: Any) -> None:  # noqa: ANN401
        """Durations are strict and never negative, in each place that takes one."""
        options: Any = {option: value}
        check_refused(queue, lambda queue: queue.new(**options), option)
        check_refused(queue, lambda queue: queue.new_many([{}], **options), option)
        check_refused(
            queue, lambda queue: queue.new_many([TaskSpec(**options)]), f"tasks[0]: {option}"
        )

    @pytest.mark.parametrize("option", ["max_age", "deadline"])
    def test_durations_of_nothing(self, queue: Queue, option: str) -> None:
        """A task that may not live, or not run, makes no sense."""
        options: Any = {option: 0}
        assert check_refused(queue, lambda queue: queue.new(**options), option).value == 0

    @pytest.mark.parametrize("option", ["scheduled_at", "expires_at"])
    @pytest.mark.parametrize("value", INSTANTS, ids=range(len(INSTANTS)))
    def test_instants(self, queue: Queue, option: str, value: Any) -> None:  # noqa: ANN401
        """Instants are aware datetimes after 1970."""
        options: Any = {option: value}
        check_refused(queue, lambda queue: queue.new(**options), option)
        check_refused(queue, lambda queue: queue.new_many([{}], **options), option)

    @pytest.mark.parametrize("value", PRIORITIES, ids=range(len(PRIORITIES)))
    def test_priorities(self, queue: Queue, value: Any) -> None:  # noqa: ANN401 - anything wrong
        """Priorities are whole numbers of 32 bits; bool is none."""
        check_refused(queue, lambda queue: queue.new(priority=value), "priority")
        if value is not None:
            check_refused(queue, lambda queue: queue.update("k", priority=value), "priority")

    @pytest.mark.parametrize("value", COUNTS, ids=range(len(COUNTS)))
    def test_retries(self, queue: Queue, value: Any) -> None:  # noqa: ANN401 - anything wrong
        """Retries are counted in whole numbers."""
        check_refused(queue, lambda queue: queue.new(max_retries=value), "max_retries")

    @pytest.mark.parametrize("value", KEYS, ids=range(len(KEYS)))
    def test_keys(self, queue: Queue, value: Any) -> None:  # noqa: ANN401 - anything wrong
        """Keys are short printable text, and not all digits."""
        check_refused(queue, lambda queue: queue.new(key=value), "key")
        check_refused(queue, lambda queue: queue.new_many([TaskSpec(key=value)]), "tasks[0]: key")
        if not (isinstance(value, str) and value.isdigit()):
            for method in ("get", "history", "cancel", "retry", "update"):
                check_refused(queue, calling(method, value), "key")

    def test_options_that_contradict_each_other(self, queue: Queue) -> None:
        """Two ways to say one thing, or an end before the beginning."""
        check_refused(queue, lambda queue: queue.new(delay=1, scheduled_at=AWARE), "delay")
        check_refused(queue, lambda queue: queue.update("k", delay=1, scheduled_at=AWARE), "delay")
        check_refused(queue, lambda queue: queue.new(max_age=1, expires_at=AWARE), "expires_at")
        check_refused(queue, lambda queue: queue.new(max_age=5, delay=5), "max_age")
        check_refused(
            queue, lambda queue: queue.new(expires_at=AWARE, scheduled_at=AWARE), "expires_at"
        )
        past = datetime(2020, 1, 1, tzinfo=UTC)
        check_refused(queue, lambda queue: queue.new(expires_at=past), "expires_at")

    def test_unknown_options(self, queue: Queue) -> None:
        """A misspelt option is told, whichever call it is given to."""
        options: Any = {"prioritty": 5}
        assert check_refused(queue, lambda _: TaskSpec(**options), "prioritty").value == 5
        many = check_refused(queue, lambda queue: queue.new_many([{}], **options), "prioritty")
        assert many.value == 5
        one = check_refused(queue, lambda queue: queue.new(**options), "prioritty")
        assert one.value == 5

    @pytest.mark.parametrize("tasks", [None, 5, "text", b"bytes", {"a": 1}, Unshowable()])
    def test_batches(self, queue: Queue, tasks: Any) -> None:  # noqa: ANN401 - anything wrong
        """A batch is an iterable of tasks, not a task."""
        check_refused(queue, lambda queue: queue.new_many(tasks), "tasks")

    def test_one_key_for_a_whole_batch(self, queue: Queue) -> None:
        """A key is one task."""
        check_refused(queue, lambda queue: queue.new_many([{}, {}], key="x"), "key")

    def test_an_iterable_that_raises(self, queue: Queue) -> None:
        """What the caller's own code raises comes through, before anything was appended."""

        def items() -> Iterator[dict[str, Any]]:
            yield {}
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            queue.new_many(items())


class TestOthers:
    """The arguments of everything else."""

    @pytest.mark.parametrize(
        "state", ["done", "failed", "", 5, b"ready", ["ready", 5], [None], True]
    )
    def test_states(self, queue: Queue, state: Any) -> None:  # noqa: ANN401 - anything wrong
        """States are those a task can be seen in."""
        check_refused(queue, lambda queue: queue.tasks(state=state), "state")

    @pytest.mark.parametrize("order", [[], {}, {"number"}, bytearray(b"number"), "Number", None])
    def test_orders(self, queue: Queue, order: Any) -> None:  # noqa: ANN401 - anything wrong
        """What cannot be looked up is no order either."""
        check_refused(queue, lambda queue: queue.find(order=order), "order")

    @pytest.mark.parametrize("tasks", [None, 5, "k", ["k"], {"k": 1}, [None], object()])
    def test_tasks(self, queue: Queue, tasks: Any) -> None:  # noqa: ANN401 - anything wrong
        """Tasks are those that the queue gives, not their keys."""
        check_refused(queue, lambda queue: queue.waits_for(tasks), "tasks")

    @pytest.mark.parametrize("path", [5, b"a", "", "a\0b", "\ud800", [], Unshowable()])
    def test_paths(self, queue: Queue, path: Any) -> None:  # noqa: ANN401 - anything wrong
        """Paths are text that a system may be asked for."""
        check_refused(queue, lambda _: Queue("memory://", archive=path), "archive")
        check_refused(queue, lambda _: Queue("memory://", catalog=path), "catalog")
        check_refused(queue, lambda queue: queue.run(print, health=path), "health")
        check_refused(queue, lambda queue: queue.run(print, health="x" * 5_000), "health")

    def test_statements(self, tmp_path: Path) -> None:
        """What SQLite says of a statement quotes it, and is shown escaped."""
        with Queue(f"sqlite:///{tmp_path}/sql.db") as queue:
            for query in ("\x1b]0;owned\x07", "\x9b31m", "\u202e", "a\udcff"):
                with pytest.raises(ArgumentError) as caught:
                    queue.sql(query)
                assert str(caught.value).isprintable()

    @pytest.mark.parametrize("kinds", [[5], [[]], [DEEP], [VERY_DEEP]], ids=range(4))
    def test_kinds(self, queue: Queue, kinds: Any) -> None:  # noqa: ANN401 - anything wrong
        """Kinds of events are texts."""
        check_refused(queue, lambda queue: queue.follow("f", kinds=kinds)(print), "kinds")

    @pytest.mark.parametrize("limit", [0, -1, True, 1.5, "1", 2**40])
    def test_limits(self, queue: Queue, limit: Any) -> None:  # noqa: ANN401 - anything wrong
        """A limit is at least one."""
        check_refused(queue, lambda queue: queue.tasks(limit=limit), "limit")

    @pytest.mark.parametrize("after", [-1, 1.5, "1", None, 2**64])
    def test_positions(self, queue: Queue, after: Any) -> None:  # noqa: ANN401 - anything wrong
        """Positions begin at 0, and are refused at once, not at the first event."""
        check_refused(queue, lambda queue: queue.events(after=after), "after")
        check_refused(queue, lambda queue: queue.events(follow=after), "follow")

    def test_too_many_tasks_before(self, queue: Queue) -> None:
        """What names them has to fit into a commit, also when the task comes back."""
        check_refused(queue, lambda queue: queue.new(after=["k"] * 10_001), "after")

    @pytest.mark.parametrize("text", [5, b"x", ["x"], "x" * 1_001, "\ud800", "\0", True])
    def test_reasons_and_names(self, queue: Queue, text: Any) -> None:  # noqa: ANN401
        """Reasons and authors are short text."""
        check_refused(queue, lambda queue: queue.cancel("k", reason=text), "reason")
        for method in ("cancel", "retry", "update"):
            check_refused(queue, calling(method, "k", by=text), "by")

    @pytest.mark.parametrize("worker", [None, 5, "module:function", object(), len])
    def test_workers(self, queue: Queue, worker: Any) -> None:  # noqa: ANN401 - anything wrong
        """A worker can be called with a context and a task."""
        check_refused(queue, lambda queue: queue.run(worker, until="idle"), "worker")

    @pytest.mark.parametrize("until", ["", "done", True, 5, ["idle"]])
    def test_until(self, queue: Queue, until: Any) -> None:  # noqa: ANN401 - anything wrong
        """There is one word for when to end."""
        check_refused(queue, lambda queue: queue.run(print, until=until), "until")

    @pytest.mark.parametrize("value", [*DURATIONS, None], ids=range(len(DURATIONS) + 1))
    def test_times_of_a_run(self, queue: Queue, value: Any) -> None:  # noqa: ANN401
        """Grace and lease_ttl are durations; a lease lives a second at least."""
        check_refused(queue, lambda queue: queue.run(print, grace=value), "grace")
        check_refused(queue, lambda queue: queue.run(print, lease_ttl=value), "lease_ttl")
        check_refused(queue, lambda queue: queue.run(print, lease_ttl=0.5), "lease_ttl")

    def test_times_of_an_attempt(self) -> None:
        """ctx.sleep and ctx.extend name their argument too."""
        errors = []

        def worker(ctx: Any, _task: Task) -> None:  # noqa: ANN401 - the context
            for call in (lambda: ctx.sleep(-1), lambda: ctx.extend("x"), ctx.extend):
                with pytest.raises(ArgumentError) as caught:
                    call()
                errors.append(caught.value.argument)

        with Queue("memory://") as other:
            other.new()
            assert other.run(worker, until="idle").completed == 1
        assert errors == ["duration", "by", "by"]

    @pytest.mark.parametrize("value", DURATIONS, ids=range(len(DURATIONS)))
    def test_backoffs(self, queue: Queue, value: Any) -> None:  # noqa: ANN401 - anything wrong
        """Each way to make a Backoff checks its durations."""
        check_refused(queue, lambda _: Backoff.constant(value), "wait")
        check_refused(queue, lambda _: Backoff.linear(value), "step")
        check_refused(queue, lambda _: Backoff.exponential(value), "first")
        check_refused(queue, lambda _: Backoff.linear(1, cap=value), "cap")
        check_refused(queue, lambda _: Backoff.exponential(1, cap=value), "cap")

    @pytest.mark.parametrize("jitter", [-0.1, 1.1, math.nan, math.inf, True, "0.5", None])
    def test_jitter(self, queue: Queue, jitter: Any) -> None:  # noqa: ANN401 - anything wrong
        """Jitter is a share."""
        check_refused(queue, lambda _: Backoff.constant(1, jitter=jitter), "jitter")

    def test_a_backoff_made_by_hand(self, queue: Queue) -> None:
        """A Backoff that no class method made is checked as well."""
        check_refused(queue, lambda _: Backoff("quadratic", 1), "kind")  # type: ignore[arg-type]
        check_refused(queue, lambda _: Backoff("linear", None), "base_us")  # type: ignore[arg-type]
        check_refused(queue, lambda _: Backoff("linear", 1, -5), "cap_us")
        check_refused(queue, lambda _: Backoff("linear", 1, None, 7.0), "jitter")


def test_a_path_in_an_error_is_shown_escaped(tmp_path: Path) -> None:
    """Whoever prints the error prints no command to the terminal."""
    archive = tmp_path / "\x1b]0;owned\x07\u202e"
    with pytest.raises(LogUnavailableError) as caught:
        Queue("memory://", archive=archive)

    assert str(caught.value).isprintable()
    assert "\\x1b]0;owned\\x07\\u202e" in str(caught.value)


class Size(enum.IntEnum):
    """A number with a name."""

    SMALL = 5


@pytest.mark.parametrize(
    "value, stored",
    [
        (http.HTTPStatus.OK, 200),
        (Size.SMALL, 5),
        (enum.StrEnum("Colour", "RED").RED, "red"),  # type: ignore[attr-defined]
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        ((1, (2,)), [1, [2]]),
        ("\\u0000", "\\u0000"),
        ("\u202e\n\x1b[31m", "\u202e\n\x1b[31m"),
    ],
    ids=range(8),
)
def test_odd_values_that_are_json_are_kept(value: object, stored: object) -> None:
    """Numbers and text of other classes, tuples, the largest numbers, all characters but NUL."""
    with Queue("memory://") as queue:
        assert queue.new({"a": value}).tags == {"a": stored}
