"""Tags that are secret: which they are is kept with the task, whatever becomes of it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventq import (
    ArgumentError,
    Cancel,
    Context,
    DuplicateTaskError,
    Fail,
    Handlers,
    Queue,
    Retry,
    Snooze,
    Task,
    TaskSpec,
)
from eventq.catalog.catalog import Catalog
from eventq.core.secret_tags import open_tags
from eventq.errors import KeyConflictError
from eventq.eventlog import open_log
from tests.support import ManualClock

VALUE = "s3cr3t-v4lue"
LATER = "l4ter-v4lue"
TAGS = {"token": VALUE, "to": "ada"}


@pytest.fixture
def queue(tmp_path: Path) -> Any:  # noqa: ANN401 - an iterator of one
    """A queue in a file."""
    with Queue(f"sqlite:///{tmp_path}/log.db", clock=ManualClock()) as queue:
        yield queue


def test_it_is_kept_through_a_task_s_life(queue: Queue) -> None:
    """Through edits, a retry of what was final, a repeat, and a handler's own options."""
    seen = []

    @queue.task(secret=["token"])
    def send(token: str) -> None:
        seen.append(token)

    handled = send.new(VALUE)
    other = send.using(secret=[]).new(LATER)
    queue.new(TAGS, key="one", secret=["token", "none", "token"])
    queue.update("one", tags={"token": LATER})
    queue.cancel("one")
    queue.retry("one")
    queue.cancel("one")
    again = queue.repeat("one")
    many = queue.new_many([TAGS, TaskSpec(TAGS, secret=["to"])], secret=["token"])
    queue.run(until="idle", signals=False)

    assert (handled.secret, other.secret, seen) == (("token",), (), [VALUE, LATER])
    ended = queue.get("one")
    assert ended is not None
    assert ended.secret == ("none", "token")
    assert again.secret == ("none", "token")
    assert again.tags == {"token": LATER}
    assert [task.secret for task in many] == [("token",), ("to",)]
    edits = [event.body for event in queue.events() if event.kind == "updated"]
    assert [body.secret for body in edits] == [("none", "token")]  # type: ignore[union-attr]


def test_a_schedule_s_tasks_have_it(queue: Queue) -> None:
    """What the handler says goes into the plan."""

    @queue.task(secret=["token"])
    def send(token: str = VALUE) -> None: ...

    queue.every("10s", send, schedule="sending")
    queue.run(until="idle", signals=False)
    task = queue.schedules["sending"].trigger()

    assert task is not None
    assert task.secret == ("token",)


def test_other_secrets_are_other_content(queue: Queue) -> None:
    """Of a key, and of a value whose tags are to be replaced."""
    queue.new(TAGS, key="one", secret=["token"])
    queue.new(TAGS, unique="two", delay="1h")

    assert queue.new(TAGS, key="one", secret=["token"]).key == "one"
    with pytest.raises(KeyConflictError, match="secret"):
        queue.new(TAGS, key="one")
    with pytest.raises(DuplicateTaskError):
        queue.new({"token": LATER}, unique="two", on_duplicate="replace", secret=["token"])


@pytest.mark.parametrize("secret", ["token", b"t", 3, ["to ken"], [3], ["1st"], ["a" * 256]])
def test_names_alone_are_taken(queue: Queue, secret: Any) -> None:  # noqa: ANN401
    """Of the form that tags' names have."""
    with pytest.raises(ArgumentError, match="secret"):
        queue.new(TAGS, secret=secret)


@pytest.mark.parametrize("with_catalog", [True, False])
def test_nothing_is_found_by_it(tmp_path: Path, *, with_catalog: bool) -> None:
    """Neither by value nor by word, by any way to ask; other tags are found as ever."""
    url = f"sqlite:///{tmp_path}/log.db"
    with Queue(url) as queue:
        queue.new(TAGS, key="one", secret=["token"])
        queue.new({"token": "open", "to": "ada"}, key="two")
        queue.update("one", tags={"token": LATER, "to": "ada"})
        if with_catalog:
            catalog = Catalog.open(queue.log)
            catalog.catch_up()
            catalog.close()
    with Queue(url) as queue:
        for value in (VALUE, LATER):
            assert list(queue.tasks(tags={"token": value})) == []
            assert queue.select(tags={"token": value}).cancel().count == 0
            assert queue.select(text=value).cancel().count == 0
        assert [task.key for task in queue.tasks(tags={"token": "open"})] == ["two"]
        assert queue.select(tags={"token": "open"}).cancel().count == 1
        assert queue.select(tags={"to": "ada"}).cancel().count == 2


def test_no_file_of_the_catalog_has_it(tmp_path: Path) -> None:
    """Looked for byte by byte; what is no secret is there."""
    with Queue(f"sqlite:///{tmp_path}/log.db") as queue:
        queue.new(TAGS, key="one", secret=["token"])
        queue.update("one", tags={"token": LATER, "to": "bob"})
        queue.cancel("one")
        queue.retry("one")
    log = open_log(f"sqlite:///{tmp_path}/log.db")
    catalog = Catalog.open(log, tmp_path / "known.catalog")
    catalog.catch_up()
    catalog.close()
    log.close()
    written = b"".join(each.read_bytes() for each in tmp_path.glob("known.catalog*"))

    assert b"ada" in written
    assert b"bob" in written
    assert VALUE.encode() not in written
    assert LATER.encode() not in written


@pytest.mark.parametrize("with_catalog", [True, False])
def test_what_its_errors_say_is_not_searched(tmp_path: Path, *, with_catalog: bool) -> None:
    """They may tell what is secret: the catalog has their type and place, and no message."""
    url = f"sqlite:///{tmp_path}/log.db"

    def fail(_ctx: Context, task: Task) -> None:
        raise ConnectionError(f"not with {task.tags['token']}")

    with Queue(url, max_retries=0) as queue:
        queue.new(TAGS, key="one", secret=["token"])
        queue.new({"token": "open"}, key="two")
        queue.run(fail, until="idle", signals=False)
        if with_catalog:
            with closing(Catalog.open(queue.log)) as catalog:
                catalog.catch_up()
            written = b"".join(each.read_bytes() for each in tmp_path.glob("*catalog*"))
            assert b"not with open" in written
            assert VALUE.encode() not in written
    with Queue(url) as queue:
        found = [queue.select(message=text).retry().count for text in (VALUE, "not with", "open")]

        assert found == [0, 1, 1]
        assert queue.select(error="ConnectionError").retry().count == 2
        record = queue.select(error="ConnectionError", key="one").retry().sample(1)[0]
        assert (record.secret, record.error_message) == (("token",), "")
        assert "test_secret_tags.py" in record.error_place


@pytest.mark.parametrize(
    "token, other, is_told",
    [
        (VALUE, f"of {VALUE}.", False),
        (VALUE, [{"deep": VALUE}], False),
        (VALUE, {VALUE: 1}, False),
        (12345, "no 12345", False),
        ({"x": [VALUE]}, VALUE, False),
        (VALUE, VALUE[:-1], True),
        ("ab", "ab", True),
        (None, "null", True),
    ],
)
def test_what_holds_a_secret_is_not_told_either(token: Any, other: Any, *, is_told: bool) -> None:  # noqa: ANN401
    """A tag in which the value of a secret one stands, however deep; short ones stand anywhere."""
    tags = msgspec.json.encode({"token": token, "other": other, "n": 1})

    told = msgspec.json.decode(open_tags(tags, ("token",)))

    assert told == ({"other": other, "n": 1} if is_told else {"n": 1})


def work(ctx: Context, token: str, how: str) -> str | None:
    """Tells what it holds in every way there is."""
    ctx.log.warning("with %s", token)
    ctx.progress(1, 2, f"at {token}")
    if how == "cancel":
        raise Cancel(f"no {token!r}")
    if how == "snooze":
        raise Snooze("1h", f"not {token}")
    if how == "fail":
        raise Fail(f"no {token}") from ConnectionError(json.dumps(token))
    if how == "retry":
        raise Retry(f"no {token}", delay="1h")
    if how == "return":
        return f"sent {token}"
    raise ConnectionError(f"{token} {'x' * 990} {token}")


async def work_later(ctx: Context, token: str, how: str) -> str | None:
    """The same in an event loop."""
    return work(ctx, token, how)


WAYS = ["raise", "cancel", "snooze", "fail", "retry", "return"]
TELLING = Handlers()
KEPT: Any = {"secret": ["token"], "keep_logs": "info"}
in_thread = TELLING.task("thread", **KEPT)(work)
in_loop = TELLING.task("loop", **KEPT)(work_later)
# Another process finds it by this name.
in_process = TELLING.task("process", isolate=True, **KEPT)(work)


@pytest.mark.parametrize("handler", [in_thread, in_loop, in_process], ids=repr)
def test_no_word_of_an_attempt_has_it(
    tmp_path: Path,
    handler: Any,  # noqa: ANN401 - of three kinds
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither error, reason, kept line nor note, in the log or logged; a result is no word."""
    value = "s3cr3t\nv4lue-ö"
    url = f"sqlite:///{tmp_path}/log.db"
    with Queue(url, max_retries=0, handlers=[TELLING], workers=2) as queue:
        for how in WAYS:
            queue.new(handler.using(key=how), value, how)
        queue.run(until="idle", signals=False)
        events = [event for event in queue.events() if event.kind != "created"]
        histories = {how: list(queue.history(how)) for how in WAYS}
        done = queue.get("return")

    assert done is not None
    assert done.result == f"sent {value}"
    told = {
        event.kind: msgspec.json.encode(event.body).decode()
        for event in events
        if event.kind != "completed"
    }
    assert {"failed", "cancelled", "released", "noted", "progressed"} <= told.keys()
    said = [*told.values(), *(str(vars(each)) for each in caplog.records if owned(each.name))]
    assert not any(part in text for part in ("s3cr3t", "v4lue") for text in said)
    assert all(
        "***" in told[kind] for kind in ("failed", "cancelled", "released", "noted", "progressed")
    )
    failed = [event.body for event in histories["raise"] if event.kind == "failed"]
    assert failed[0].error.message.startswith("*** xxx")  # type: ignore[union-attr]
    assert "ConnectionError" in failed[0].error.traceback  # type: ignore[union-attr]


def owned(name: str) -> bool:
    """Whether we log by it; a worker's own lines are its own."""
    return name.startswith("eventq.") and name != "eventq.worker"


def test_the_default_of_a_secret_argument_is_not_told(queue: Queue) -> None:
    """Neither in the log nor by the handler's own words; others are."""

    @queue.task("send", secret=["token"])
    def send(to: str = "ada", *, token: str = VALUE, plain: str = "x") -> None: ...

    queue.run(until="idle", signals=False)
    [joined] = [event.body for event in queue.events() if event.kind == "joined"]

    text = "(to: str = 'ada', *, token: str = ..., plain: str = 'x')"
    assert repr(send) == f"<Handler send{text}>"
    assert joined.signatures == {"send": text}  # type: ignore[union-attr]
