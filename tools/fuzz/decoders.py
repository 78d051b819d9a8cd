"""What is fuzzed: each decoder of eventq, with good inputs to begin with.

A decoder may return or raise an error of eventq; anything else that it raises is a find.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from eventq.archive.members import pack
from eventq.archive.segments import Segment, SegmentHeader, encode_segment
from eventq.audit import parse_expression
from eventq.audit.expression.view import View
from eventq.core.commits import Commit, decode_at
from eventq.core.durations import parse_duration
from eventq.core.projection import Projection
from eventq.errors import EventqError
from eventq.eventlog import Kept, lines, open_log
from eventq.eventlog.memory import MemoryLog
from eventq.eventlog.mongo.driver import parse
from eventq.replay.fold import read_all, replay
from eventq.replay.points import find_point
from eventq.replay.tombstones import KeptTask, decode_kept, encode_kept
from eventq.schedules.rules import check_timing, rule_of
from eventq.snapshot import codec, take
from eventq.verify import parse_anchor
from tools.generate.factory import START_US, generate

DAY_US = 86_400_000_000
TASKS = 12


class Decoder(Struct, frozen=True):
    """Something that reads what others have written."""

    name: str
    decode: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]

    def reads(self, data: bytes) -> bool:
        """Whether it takes the data; False for an error of eventq. Raises any other."""
        try:
            self.decode(data)
        except EventqError:
            return False
        return True


@cache
def example() -> MemoryLog:
    """A log whose parts are the seeds."""
    log = open_log("memory://")
    assert isinstance(log, MemoryLog)
    generate(log, tasks=TASKS, live=TASKS // 2, pending=TASKS // 3)
    return log


@cache
def commits() -> list[Commit]:
    """Its commits."""
    return [commit for commit, _ in read_all(example(), after=0)]


@cache
def snapshot() -> bytes:
    """One of it, as bytes."""
    return codec.encode(take(end()))


@cache
def end() -> Projection:
    """What it folds to."""
    return replay(example())


@cache
def header() -> SegmentHeader:
    """That of a segment with all of it."""
    return encode_segment("default", commits())[0]


def _text(data: bytes) -> str:
    """The bytes as text, whatever they are: lone surrogates too."""
    return data.decode("utf-8", "surrogateescape")


def _event(data: bytes) -> None:
    decode_at(1, [_text(data)])


def _line(data: bytes) -> None:
    lines.parse_header(data)
    lines.to_commit(data, 1)


def _fold(data: bytes) -> None:
    """One body behind a good log: decoded, and folded if it is one."""
    log = example()
    head = log.head()
    bodies = [_text(data)]
    projection = Projection(log.namespace)
    first = commits()[0]
    projection.apply(first, collect=False)
    commit = Commit("fuzz", first.last + 1, head.at, first.seal, bytes(32), [1], {}, bodies)
    projection.apply(commit, collect=False)


def _snapshot(data: bytes) -> None:
    codec.decode(data)


def _snapshot_content(data: bytes) -> None:
    """Content under a header and a checksum that fit it."""
    whole = snapshot()
    line = whole[: whole.index(b"\n")]
    fields = {**msgspec.json.decode(line), "content_bytes": len(data)}
    fitting = msgspec.json.encode(fields) + b"\n"
    packed = zlib.compress(data, 1)
    codec.decode(fitting + codec._digest(fitting, packed) + packed)  # noqa: SLF001


def _archive(data: bytes) -> None:
    Segment(Path("fuzz"), header()).block(data, 1)


def _archive_lines(data: bytes) -> None:
    Segment(Path("fuzz"), header()).block(pack(data), 1)


def _expression(data: bytes) -> None:
    expression = parse_expression(_text(data))
    log = example()
    expression.holds(View(log, end(), keys=expression.keys))


def _url(data: bytes) -> None:
    text = _text(data)
    if text.startswith(("mongodb://", "mongodb+srv://")):
        # A name of a service is looked up, and a server is asked.
        if not text.startswith("mongodb+srv"):
            parse(text)
        return
    open_log(text, create=False).close()


def _cron(data: bytes) -> None:
    spec, _, zone = _text(data).partition("|")
    rule = rule_of(check_timing(cron=spec, zone=zone or "UTC", jitter=0))
    at: int | None = START_US
    for _ in range(3):
        at = None if at is None else rule.after(at)


def _point(data: bytes) -> None:
    find_point(example(), _text(data), now=START_US + DAY_US)


def _duration(data: bytes) -> None:
    parse_duration(_text(data))


def _anchor(data: bytes) -> None:
    parse_anchor(data, "fuzz")


def _kept(data: bytes) -> None:
    decode_kept(Kept(1, 1, None, _text(data)))


def _bodies() -> list[bytes]:
    return [body.encode() for commit in commits() for body in commit.bodies]


def _texts(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


DECODERS = {
    each.name: each
    for each in (
        Decoder("event", _event, _bodies),
        Decoder("fold", _fold, _bodies),
        Decoder("line", _line, lambda: [lines.to_line(each) for each in commits()[:20]]),
        Decoder("snapshot", _snapshot, lambda: [snapshot()]),
        Decoder(
            "snapshot-content",
            _snapshot_content,
            lambda: [msgspec.msgpack.encode(codec._to_content(take(end())))],  # noqa: SLF001
        ),
        Decoder("archive", _archive, lambda: [pack(b"".join(map(lines.to_line, commits()[:3])))]),
        Decoder(
            "archive-lines",
            _archive_lines,
            lambda: [b"".join(map(lines.to_line, commits()[:count])) for count in (1, 3)],
        ),
        Decoder(
            "expression",
            _expression,
            _texts(
                "ready > 3 and not leased",
                'expired > 0 and task("thumb:a").attempt >= 3',
                'task("a b").state == "ready" or scheduled * 2 <= -1',
            ),
        ),
        Decoder(
            "url",
            _url,
            _texts(
                "sqlite:///a.db",
                "sqlite:////a/b%20c.db",
                "mongodb://u:p@h1,h2:27018/db?replicaSet=rs0&w=1",
                "memory://name",
                "file:///a.jsonl",
            ),
        ),
        Decoder(
            "cron",
            _cron,
            _texts("*/10 * * * *", "0 2 29 2 *|Europe/Berlin", "1-5,7 0-23/2 L * MON#2|UTC"),
        ),
        Decoder(
            "point",
            _point,
            _texts("7", "end", "-2h", "7-2s", "2026-01-01T00:00:00Z", "today", "2026-01-01 00:00"),
        ),
        Decoder("duration", _duration, _texts("500ms", "2h30m", "7d", "1.5s")),
        Decoder(
            "anchor",
            _anchor,
            _texts('{"namespace":"default","seq":7,"at":1,"seal":"' + "0" * 64 + '"}'),
        ),
        Decoder(
            "kept",
            _kept,
            lambda: [
                encode_kept(KeptTask(end().seq, task, None)).state.encode()
                for task in end().tasks.values()
                if task.caller_key is None
            ],
        ),
    )
}
