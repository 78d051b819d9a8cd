"""Values of subclasses and other libraries' scalars: by value, or refused with the argument named.

The stand-ins behave as those of pendulum and numpy do, which the tests do not need.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventq import ArgumentError, Backoff, Cancel, Queue, Retry, Task, TaskSpec, TaskState
from eventq.core.events import Created
from eventq.core.plain import plain
from tests.support import ManualClock, final


class Name(str, enum.Enum):  # noqa: UP042 - its str() is not its value, unlike StrEnum's
    """Text with a name of its own."""

    MAIL = "mail"
    HOURS = "2h"
    IDLE = "idle"
    READY = "ready"
    CONSTANT = "constant"


class Apart(str):
    """Text that a dict takes for another name than its equal."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        """Equal to itself alone."""
        return self is other


class Level(enum.IntEnum):
    """Numbers with names."""

    ONE = 1
    THREE = 3


class Money(float):
    """A number that shows itself in its own way."""

    def __repr__(self) -> str:
        """As on a bill."""
        return f"{float(self):.2f} EUR"

    def __float__(self) -> float:
        """Another number."""
        return -1.0


class Odd(int):
    """A number whose answers are its own."""

    def __int__(self) -> int:
        """Another number."""
        return -1

    __index__ = __int__


class Span(timedelta):
    """As pendulum's duration: `//` raises, and its days are others."""

    def __floordiv__(self, _other: object) -> Any:  # noqa: ANN401 - as timedelta's
        """Raises what pendulum's raises."""
        raise AttributeError("'datetime.timedelta' object has no attribute '_to_microseconds'")

    days = property(lambda _: 0)


class Moment(datetime):
    """As pendulum's DateTime: a difference is no timedelta."""

    def __sub__(self, _other: object) -> Any:  # noqa: ANN401 - as datetime's
        """Gives what cannot be divided."""
        return Span(1)


class Zone(tzinfo):
    """A time zone that breaks."""

    def utcoffset(self, _at: datetime | None) -> timedelta:
        """Raises."""
        raise KeyError("zone")

    dst = utcoffset

    def tzname(self, _at: datetime | None) -> str:
        """Its name."""
        return "zone"


class Dtype:
    """What a scalar says of its type."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Scalar:
    """As numpy's scalars: no subclass of anything, but with a value."""

    ndim = 0
    dtype: Any = property(lambda self: Dtype(self._kind))

    def __init__(self, value: object, kind: str = "i") -> None:
        self._value, self._kind = value, kind

    def item(self) -> object:
        """The value."""
        return self._value


class Posing:
    """As a proxy object: it says that it is text, and is not."""

    __class__: Any = property(lambda _: str)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as text's
        """Text's own methods."""
        return getattr("mail", name)


AT = datetime(2030, 1, 1, 12, 30, 0, 7, tzinfo=timezone(timedelta(hours=2)))
MOMENT = Moment(2030, 1, 1, 12, 30, 0, 7, tzinfo=timezone(timedelta(hours=2)))
PAIRS = [
    (Name.MAIL, "mail"), (Level.THREE, 3), (Money(2.5), 2.5), (Odd(7), 7), (Scalar(5), 5),
    (Scalar(1.5, "f"), 1.5), (Scalar(True, "b"), True), (Scalar("x", "U"), "x"),  # noqa: FBT003
    (Span(1, 2, 3), timedelta(1, 2, 3)), (MOMENT, AT),
]  # fmt: skip


@pytest.mark.parametrize("value, wanted", PAIRS, ids=range(len(PAIRS)))
def test_values_are_brought_to_their_plain_type(value: object, wanted: object) -> None:
    """By value, and never asked how it would like to be shown."""
    found = plain(value)

    assert type(found) is type(wanted)
    assert found == wanted


@pytest.mark.parametrize("kind", ["M", "m", "S", "O", "c"])
def test_a_scalar_of_another_kind_stays_what_it_is(kind: str) -> None:
    """Numpy gives a time in nanoseconds as a bare number, which says nothing of its unit."""
    value = Scalar(1_577_836_800_000_000_000, kind)

    assert plain(value) is value


def test_a_namespace_and_keys_are_text_for_every_process(tmp_path: Path) -> None:
    """What an enum names is found under its value by who knows no enum, and the log is good."""
    url = f"sqlite:///{tmp_path}/log.db"
    with Queue(url, namespace=Name.MAIL) as queue:
        queue.new({Name.MAIL: Name.HOURS}, key=Name.MAIL)
        queue.new_many([TaskSpec({"a": 1}, key=Name.HOURS)])
        assert type(queue.namespace) is str

    with Queue(url, namespace="mail") as queue:
        found = queue.get("mail")
        assert found is not None
        assert found.tags == {"mail": "2h"}
        assert queue.get("2h") is not None
        assert [task.key for task in queue.tasks(tags={Name.MAIL: Name.HOURS})] == ["mail"]


def test_every_option_takes_values() -> None:
    """A task made with subclasses and scalars is the one made with plain values."""
    with Queue("memory://", clock=ManualClock(), workers=Level.ONE, max_age=Span(1)) as queue:
        ours = queue.new(  # type: ignore[call-overload]
            {"n": Scalar(5), "list": [Level.ONE, {"a": Money(1.5)}]},
            priority=Level.THREE,
            scheduled_at=MOMENT,
            expires_at=Moment(2031, 1, 1, tzinfo=UTC),
            max_retries=Scalar(3),
            backoff=Span(0, 5),
            deadline=Name.HOURS,
        )
        queue.new({"again": 1}, delay=Money(2.5))
        wanted = queue.new(
            {"n": 5, "list": [1, {"a": 1.5}]},
            priority=3,
            scheduled_at=AT,
            expires_at=datetime(2031, 1, 1, tzinfo=UTC),
            max_retries=3,
            backoff=5,
            deadline="2h",
        )

        bodies = [event.body for event in queue.events()]
        assert bodies[0] == bodies[2]
        assert isinstance(bodies[1], Created)
        assert bodies[1].policy.max_age_us == 86_400_000_000
        assert msgspec.to_builtins(ours.policy) == msgspec.to_builtins(wanted.policy)


def test_managing_and_looking_take_values() -> None:
    """Every other method goes by the value as well."""
    with Queue("memory://", clock=ManualClock()) as queue:
        queue.new(key="mail", delay="1h")
        queue.update(Name.MAIL, priority=Scalar(4), delay=Span(0, 60), by=Name.MAIL)  # type: ignore[arg-type]
        queue.cancel(Name.MAIL, reason=Name.HOURS, by=Name.MAIL)
        queue.retry(Name.MAIL, by=Name.MAIL)

        assert len(queue.tasks(state=Name.READY, limit=Level.ONE)) == 1
        assert queue.tasks(state=[TaskState.READY, Name.READY])[0].key == "mail"
        assert [event.kind for event in queue.history(Name.MAIL)][-1] == "retried"
        assert len(list(queue.events(after=Level.THREE))) == 1
        for event in queue.events():
            for field in ("by", "reason"):
                assert type(getattr(event.body, field, None)) in {str, type(None)}


def test_sql_takes_values_and_names_what_it_cannot_take(tmp_path: Path) -> None:
    """What stands for a question mark is a plain value, or told by its place."""
    with Queue(f"sqlite:///{tmp_path}/log.db") as queue:
        assert queue.sql("SELECT ?, ?, ?", [Name.MAIL, Scalar(5), Money(2)]).rows == [
            ("mail", 5, 2)
        ]
        with pytest.raises(ArgumentError, match=r"values\[1\]: expected"):
            queue.sql("SELECT ?, ?", [1, AT])


def test_a_backoff_made_by_hand_is_plain() -> None:
    """Its fields go into logs and are reckoned with."""
    backoff = Backoff(Name.CONSTANT, Odd(5), Level.THREE, Money(0.5))  # type: ignore[arg-type]

    assert [type(each) for each in msgspec.structs.astuple(backoff)] == [str, int, int, float]
    assert backoff == Backoff("constant", 5, 3, 0.5)


RETURNED: list[tuple[object, object]] = [
    (Name.MAIL, "mail"),
    (Scalar(5), 5),
    ({Name.MAIL: [Money(2.5)]}, {"mail": [2.5]}),
]


@pytest.mark.parametrize("value, wanted", RETURNED, ids=range(len(RETURNED)))
def test_results_are_kept_by_value(value: object, wanted: object) -> None:
    """What a worker returns is one more door."""
    with Queue("memory://", workers=1) as queue:
        task = queue.new()
        queue.run(lambda _ctx, _task: value, until=Name.IDLE, grace=Span(0, 1), lease_ttl=Money(9))  # type: ignore[arg-type]

        assert final(queue, task.key).result == wanted


def test_what_a_worker_raises_is_kept_by_value() -> None:
    """A Cancel's reason, a Retry's delay, a message."""

    def worker(_ctx: object, task: Task) -> None:
        if task.key == "cancel":
            raise Cancel(Name.MAIL)
        if task.attempt == 1:
            raise Retry(Name.MAIL, delay=Span(0))

    with Queue("memory://", workers=1) as queue:
        queue.new(key="cancel")
        queue.new(key="retry")
        report = queue.run(worker, until="idle")

        assert report.completed == 1
        assert final(queue, "cancel").final_reason == "mail"


Call = Callable[[Queue, Any], object]
DOORS: dict[str, Call] = {
    "key": lambda queue, value: queue.new(key=value),
    "priority": lambda queue, value: queue.new(priority=value),
    "delay": lambda queue, value: queue.new(delay=value),
    "scheduled_at": lambda queue, value: queue.new(scheduled_at=value),
    "max_retries": lambda queue, value: queue.new(max_retries=value),
    "backoff": lambda queue, value: queue.new(backoff=value),
    "tags['a']": lambda queue, value: queue.new({"a": value}),
    "tags": lambda queue, value: queue.new({value: 1}),
    "reason": lambda queue, value: queue.cancel("k", reason=value),
    "state": lambda queue, value: queue.tasks(state=[value]),
    "limit": lambda queue, value: queue.tasks(limit=value),
    "after": lambda queue, value: queue.events(after=value),
    "values[0]": lambda queue, value: queue.sql("SELECT ?", [value]),
    "namespace": lambda _, value: Queue("memory://", namespace=value),
    "url": lambda _, value: Queue(value),
    "workers": lambda _, value: Queue("memory://", workers=value),
}
WRONG = [Posing(), Scalar(7, "M"), OrderedDict(a=1), datetime(2030, 1, 1, tzinfo=Zone())]


@pytest.mark.parametrize("argument", DOORS)
@pytest.mark.parametrize("value", WRONG, ids=range(len(WRONG)))
def test_what_only_resembles_a_value_is_refused(argument: str, value: object) -> None:
    """With the argument named: no foreign error, and nothing is stored."""
    if argument == "tags" and not isinstance(value, (Posing, Scalar)):
        pytest.skip("cannot be a name: it has no hash")
    with Queue("memory://", clock=ManualClock()) as queue:
        with pytest.raises(ArgumentError) as caught:
            DOORS[argument](queue, value)

        assert caught.value.argument == argument
        assert not list(queue.events())


def test_two_names_that_are_one_text_are_refused() -> None:
    """JSON would keep one of them, and lose the other in silence."""
    with Queue("memory://") as queue:
        with pytest.raises(ArgumentError, match=r"^tags: expected names that differ as text"):
            queue.new({Apart("mail"): 1, "mail": 2})
        with pytest.raises(ArgumentError, match=r"^tags\['a'\]: expected JSON objects whose names"):
            queue.new({"a": {Apart("mail"): 1, "mail": 2}})


def test_what_the_caller_holds_is_not_changed() -> None:
    """The tags stay as they are, with their enums."""
    tags = {"a": Level.ONE, "b": [Level.THREE]}
    with Queue("memory://") as queue:
        queue.new(tags)

    assert tags["a"] is Level.ONE
    assert tags["b"] == [Level.THREE]
