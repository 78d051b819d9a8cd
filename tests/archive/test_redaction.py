"""Exports: the log to the byte, or its shape without any of its values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from eventq import LogArchivedError, LogCorruptError, Queue, Retry
from eventq.archive.copy import copy_log
from eventq.archive.export import event_line, export_log, stored_events
from eventq.archive.redact import VALUES, Redactor
from eventq.core.commits import KIND_OF, AnyBody, Unknown, decode_bodies, encode_bodies, events_of
from eventq.core.definitions import Definition
from eventq.core.events import (
    Asked,
    Created,
    Expired,
    Failed,
    Noted,
    Progressed,
    Reopening,
    Restoring,
    Saved,
    Updated,
)
from eventq.core.queue_events import (
    Bulk,
    BulkEnded,
    Followed,
    Joined,
    Limited,
    Planned,
    Shared,
    Ticked,
    Unfollowed,
    Unplanned,
)
from eventq.core.values import Bucket, Call, ErrorInfo, LogLine, Policy, ProcessExit, Scope
from eventq.eventlog import EventLog, StoredEvent, open_log
from eventq.replay.fold import replay
from tests.archive.logs import content, fill, move
from tests.core.test_task import BODIES
from tests.support import node_of

# Long enough that none of them comes out of chance, and of no letters that a redactor writes.
values = st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZäöü漢字"), min_size=6, max_size=20)
# Text that stays: what code is called, not what it works on.
KEPT = {
    (ErrorInfo, "type"),
    (Failed, "rule"),
    (LogLine, "level"),
    *((struct, name) for struct in (Created, Reopening) for name in ("name", "lane", "needs")),
    *((struct, "schedule") for struct in (Created, Reopening, Planned, Unplanned, Ticked)),
    *((Call, name) for name in ("name", "lane", "needs")),
    *((struct, "secret") for struct in (Created, Reopening, Updated, Call)),
    *((struct, "lane") for struct in (Updated, Bulk)),
    *((struct, "via") for struct in Asked.__subclasses__()),
    *((struct, "via") for struct in (Expired, BulkEnded)),
    (Bulk, "digest"),
    *((Joined, name) for name in ("version", "names", "lanes")),
    *((Followed, name) for name in ("follower", "kinds", "names")),
    (Unfollowed, "follower"),
    (Limited, "limit"),
    (Limited, "per"),
    (Shared, "per"),
    (Bucket, "limit"),
    *((Scope, name) for name in ("lane", "name", "limit")),
}
numbers = st.integers(10**12, 10**15)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | values | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)
tags = st.dictionaries(st.sampled_from(["path", "size", "kind"]), json_values, max_size=3)


def leaves(value: Any) -> list[str]:  # noqa: ANN401
    """The texts and numbers in a JSON value, as they stand in a file."""
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [str(value)] if isinstance(value, str | int) and not isinstance(value, bool) else []


def shape(value: Any) -> Any:  # noqa: ANN401
    """The value with its types and lengths alone."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    if value is None or isinstance(value, bool):
        return type(value).__name__
    return (type(value).__name__, len(str(value)))


def imported(lines: list[bytes], path: Path) -> EventLog:
    """The log that an export becomes."""
    path.write_bytes(b"".join(lines))
    target = open_log("memory://")
    copy_log(open_log(f"file:///{path}", create=False), target)
    return target


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    """A filled log."""
    url = f"memory://{tmp_path.name.replace('_', '-')}"
    fill(url)
    return open_log(url)


def test_an_export_is_the_log(log: EventLog, tmp_path: Path) -> None:
    """Imported, it has the same commits, to the byte."""
    copy = imported(list(export_log(log)), tmp_path / "export.jsonl")

    assert content(copy) == content(log)


def test_a_redacted_export_is_a_log(log: EventLog, tmp_path: Path) -> None:
    """It imports, its seals are right, and its tasks went the same ways at the same times."""
    lines = list(export_log(log, redactor=Redactor(b"secret")))
    copy = imported(lines, tmp_path / "export.jsonl")
    ours, theirs = replay(log), replay(copy)

    assert json.loads(lines[0])["redacted"] is True
    assert (theirs.counts, theirs.seq, theirs.at) == (ours.counts, ours.seq, ours.at)
    assert theirs.final_counts() == ours.final_counts()
    assert all(commit.id.startswith("redacted-") for commit in copy.read(after=0))
    for before, after in zip(log.read(after=0), copy.read(after=0), strict=True):
        kinds = [[event.kind for event in events_of(commit)] for commit in (before, after)]
        assert (kinds[0], before.at, before.tasks) == (kinds[1], after.at, after.tasks)
        assert list(before.keys.values()) == list(after.keys.values())


@given(tags, values, values, values)
def test_no_value_survives(content: dict[str, Any], key: str, error: str, reason: str) -> None:
    """Of tags, keys, results, errors and reasons, nothing is left in the bytes."""

    def work(_: object, task: Any) -> object:  # noqa: ANN401
        if task.tags.get("fails"):
            raise Retry(error) from ValueError(error)
        return content

    with Queue("memory://", max_retries=0, workers=1) as queue:
        queue.new(content, key=key)
        queue.new({"fails": True})
        queue.cancel(queue.new(content, delay="1d").key, reason=reason, by=error)
        queue.run(work, until="idle")
        log = queue.log
        plain = b"".join(export_log(log)).decode()
        hidden = b"".join(export_log(log, redactor=Redactor(b"secret"))).decode()
        node = node_of(queue).name

    for word in {key, error, reason, node, *leaves(content)}:
        assert word in plain
        assert word not in hidden


def test_every_text_of_an_event_is_a_value_or_a_choice() -> None:
    """A new kind, or a new field that holds text, must say whether somebody wrote it."""
    structs = {Reopening, Restoring, ErrorInfo, LogLine, Call, Definition, Scope, Bucket}
    assert VALUES.keys() == {*KIND_OF, *structs}
    for struct, names in VALUES.items():
        for name, hint in get_type_hints(struct).items():
            if get_origin(hint) is not ClassVar and name not in names:
                of_text = {str, Raw, ErrorInfo, Reopening, Restoring} & {hint, *get_args(hint)}
                assert not of_text or (struct, name) in KEPT


def test_what_nodes_say_keeps_its_names_and_lanes() -> None:
    """So that a redacted log can still be verified; default values of arguments go."""
    body = Joined("HOST", 30, 4, "1", ("a.*",), lanes={"b": 1}, signatures={"a.c": "(x=7)"})
    redactor = Redactor(b"secret")

    [found] = decode_bodies([redactor.body(encode_bodies([body])[0])])

    assert found == replace(
        body, worker=redactor.name("HOST"), signatures={"a.c": redactor.text("(x=7)")}
    )


def test_what_attempts_tell_keeps_its_shape() -> None:
    """How far they came stays; notes, values and what was logged go."""
    bodies: list[AnyBody] = [
        Progressed(3, done=1, total=2, note="SECRET"),
        Saved(3, value=Raw(b'{"page":"SECRET"}')),
        Noted(3, lines=(LogLine(7, "info", "SECRET"),)),
    ]
    redactor = Redactor(b"secret")

    found = decode_bodies([redactor.body(text) for text in encode_bodies(bodies)])

    hidden = redactor.text("SECRET")
    assert found == [
        Progressed(3, done=1, total=2, note=hidden),
        Saved(3, value=Raw(f'{{"page":"{hidden}"}}'.encode())),
        Noted(3, lines=(LogLine(7, "info", hidden),)),
    ]


def test_what_may_be_skipped_stays_so() -> None:
    """Else a reader of the redacted log would take it for a change."""
    [found] = decode_bodies([Redactor(b"s").body('{"kind":"told","skip":true,"done":true}')])

    assert isinstance(found, Unknown)
    assert found.skip
    assert json.loads(found.raw)["done"] is False


def test_how_a_process_ended_stays() -> None:
    """Nobody wrote it: signals and amounts are what a redacted log is read for."""
    found = ProcessExit(signal="SIGKILL", killed_after_us=5, peak_bytes=6, memory_bytes=7)
    [text] = encode_bodies([Failed(2, ErrorInfo("E", "secret"), None, found)])
    [redacted] = decode_bodies([Redactor(b"one").body(text)])

    assert isinstance(redacted, Failed)
    assert redacted.exit == found
    assert redacted.error.message != "secret"


@given(json_values)
def test_shapes_stay(value: Any) -> None:  # noqa: ANN401
    """Types, lengths and names, and which values are equal, for one secret."""
    one, other = Redactor(b"one"), Redactor(b"other")

    assert shape(one.value(value)) == shape(value)
    assert one.value(value) == Redactor(b"one").value(value)
    if leaves(value):
        assert one.value(value) != other.value(value)
        assert one.value(value) != value


@given(st.text(max_size=3) | st.integers(-99, 99).filter(bool))
def test_short_values_never_stay(value: str | int) -> None:
    """Even where there is little choice."""
    redacted = Redactor(b"secret").value(value)

    assert redacted != value or not value
    assert len(str(redacted)) == len(str(value))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_kind_is_redacted(body: Any) -> None:  # noqa: ANN401
    """What comes out is a body of the same kind, and twice the same."""
    [text] = encode_bodies([body])
    redacted = Redactor(b"secret").body(text)

    [found] = decode_bodies([redacted])
    assert found.kind == body.kind
    assert redacted == Redactor(b"secret").body(text)


def test_an_unknown_kind_is_redacted_whole() -> None:
    """What a newer eventq wrote keeps its kind and its names alone."""
    text = '{"kind":"sung","song":"PRIVATE","at":1234567890123,"by":{"who":["PERSON"]}}'
    redacted = Redactor(b"secret").body(text)

    assert json.loads(redacted)["kind"] == "sung"
    assert not any(word in redacted for word in ("PRIVATE", "1234567890123", "PERSON"))


def test_what_is_nested_too_deeply_goes_whole() -> None:
    """A kind that is not known may hold anything, and its shape is not worth a crash."""
    text = f'{{"kind":"sung","song":{"[" * 700}{"]" * 700}}}'

    assert Redactor(b"secret").body(text) == '{"kind":"sung"}'


@pytest.mark.parametrize("redactor", [None, Redactor(b"secret")])
@pytest.mark.parametrize("body", ["not JSON", '{"kind":"created"}', "[" * 9_000])
def test_a_damaged_body_is_no_line(body: str, redactor: Redactor | None) -> None:
    """It is told with its position; nothing that is no JSON is printed as such."""
    with pytest.raises(LogCorruptError) as caught:
        event_line(StoredEvent(7, 1, 7, body), redactor=redactor)

    assert caught.value.position == 7


def test_a_part_is_told_event_by_event(log: EventLog) -> None:
    """With the stored body as it is, or without its values."""
    found = list(stored_events(log, after=3, until=9))

    assert [event.seq for event in found] == [4, 5, 6, 7, 8, 9]
    line = event_line(found[0])
    assert (line["seq"], line["at"], line["task"]) == (4, found[0].at, found[0].task)
    assert bytes(line["body"]).decode() == found[0].body  # type: ignore[call-overload]
    assert line["body"] != event_line(found[0], redactor=Redactor(b"secret"))["body"]


def test_a_wrong_seal_is_not_exported(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redacted log is sealed anew, which must not wash away damage."""
    monkeypatch.setattr("eventq.core.seal.is_sealed", lambda commit: commit.first < 5)

    with pytest.raises(LogCorruptError, match="position 5"):
        list(export_log(log, redactor=Redactor(b"secret")))


def test_a_cut_log_is_exported_with_its_archive_only(log: EventLog, folder: Path) -> None:
    """Half a log is no log."""
    move(log, folder, 10)

    with pytest.raises(LogArchivedError):
        list(export_log(log))


def test_a_trace_context_stays_one() -> None:
    """With another trace and span, equal for equal ones, and nothing of what vendors added."""
    one = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    redactor = Redactor(b"secret")

    def redacted(trace: str) -> str | None:
        [text] = encode_bodies([Created(Policy("linear", 1), trace=trace)])
        [body] = decode_bodies([redactor.body(text)])
        assert isinstance(body, Created)
        return body.trace

    found = redacted(one)
    assert found is not None
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", found)
    assert found[3:] != one[3:]
    assert found == redacted(one) == redacted(f"{one} vendor=SECRET")
