"""A snapshot as bytes and back; bytes that are not exactly what was written are refused.

First a line of JSON that anybody can read, then a checksum of everything, then the content:
msgpack, one array a field of Task, compressed with zlib. Equal projections give equal bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from hashlib import blake2b
from itertools import repeat
from operator import attrgetter, lt
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from eventq.core.commits import KINDS
from eventq.core.flows import FlowState
from eventq.core.holders import Holder
from eventq.core.limits import Limit
from eventq.core.members import Follower, Member
from eventq.core.pauses import Pause
from eventq.core.projection import END_KINDS, FOLD_VERSION
from eventq.core.queue_events import Shared
from eventq.core.schedules import Schedule
from eventq.core.seal import SEAL_BYTES
from eventq.core.task import PLAIN_ROUTE, Rarity, Route, Task, TaskState
from eventq.core.turns import TurnState
from eventq.core.values import Bucket, ErrorInfo, Policy
from eventq.core.waits import Wait
from eventq.errors import SnapshotError
from eventq.snapshot.content import Snapshot

# Of the bytes' layout; the fold has a number of its own.
CODEC_VERSION = 8
# What the first line begins with, in every version.
MARK = b'{"eventq":"snapshot",'
HEADER_BYTES = 1024
DIGEST_BYTES = 32
# Content that claims to be larger is not unpacked: it would be a hundred million tasks.
CONTENT_BYTES = 16 * 1024**3
# The largest level takes six times as long for the same size: what repeats does so nearby.
COMPRESSION = 1

SCHEDULED, LEASED, UNKNOWN = TaskState.SCHEDULED, TaskState.LEASED, TaskState.UNKNOWN
WAITING = TaskState.WAITING

Natural = Annotated[int, Meta(ge=0)]


class SnapshotHeader(Struct, frozen=True):
    """The first line: what the rest is of, and how to read it."""

    eventq: str
    codec: int
    fold: int
    namespace: str
    seq: Natural
    at: int
    seal: str
    content_bytes: Natural


class _Flow(Struct, frozen=True, array_like=True):
    """A flow; its numbers are sorted."""

    open: Natural
    failed: Natural
    closed: bool
    on_failure: list[int]
    last: list[int]


class _Content(Struct, frozen=True, forbid_unknown_fields=True):
    """The rest. The arrays from ``number`` on run in parallel, by rising number."""

    counts: dict[str, Natural]
    reopened: dict[str, Natural]
    unknown: tuple[int, str] | None
    decided_at: int
    # Worker, ttl_us, seen_seq, seen_at: by name; a task names its worker by the place here.
    holders: list[tuple[str, int, int, int]]
    # By name.
    members: list[Member]
    followers: list[Follower]
    # As JSON, which is what their tags are.
    schedules: list[bytes]
    strangers: dict[int, tuple[int, str]]
    strange_ends: dict[str, int]
    # Waiting task, what it waits for, what has failed; by number, as all that follows.
    waits: list[tuple[int, list[int], list[int]]]
    unneeded: list[int]
    reviving: list[int]
    flows: list[tuple[int, _Flow]]
    # By name, by bucket, by scope.
    limits: list[Limit]
    instants: list[tuple[Bucket, list[int]]]
    pauses: list[Pause]
    shared: Shared | None
    # By priority: how far it has come, and the shares that are ahead, by name, with how far.
    turns: list[tuple[int, int, list[tuple[str | None, int]]]]
    # In the order in which tasks first have them.
    policies: list[Policy]
    routes: list[Route]
    number: list[Annotated[int, Meta(gt=0)]]
    caller_key: list[str | None]
    priority: list[int]
    tags_json: list[bytes]
    policy: list[Natural]
    created_at_us: list[int]
    scheduled_at_us: list[int]
    expires_at_us: list[int | None]
    seen_at_us: list[int]
    attempt: list[Natural]
    retry_count: list[Natural]
    fence: list[Natural]
    worker: list[Natural | None]
    last_error: list[ErrorInfo | None]
    route: list[Natural]
    started_at_us: list[Natural | None]
    rarity: list[Rarity | None]


_COLUMNS = _Content.__struct_fields__[_Content.__struct_fields__.index("number") :]

# Those that stand as the tasks have them.
_AS_THEY_ARE = [name for name in _COLUMNS if name not in {"policy", "route", "worker"}]

_header_decoder = msgspec.json.Decoder(SnapshotHeader)
_schedule_decoder = msgspec.json.Decoder(Schedule)
_content_decoder = msgspec.msgpack.Decoder(_Content)


def encode(snapshot: Snapshot) -> bytes:
    """The snapshot's bytes. It must be one of a commit's end, where no attempt is half over."""
    content = msgspec.msgpack.encode(_to_content(snapshot))
    header = SnapshotHeader(
        eventq="snapshot",
        codec=CODEC_VERSION,
        fold=FOLD_VERSION,
        namespace=snapshot.namespace,
        seq=snapshot.seq,
        at=snapshot.at,
        seal=snapshot.seal.hex(),
        content_bytes=len(content),
    )
    line = msgspec.json.encode(header) + b"\n"
    packed = zlib.compress(content, COMPRESSION)
    return b"".join((line, _digest(line, packed), packed))


def decode(data: bytes) -> Snapshot:
    """The snapshot of these bytes. Raises SnapshotError for any others."""
    header, packed = _checked(data)
    content = _unpack(packed, header.content_bytes)
    try:
        snapshot = _to_snapshot(header, _content_decoder.decode(content))
    except (msgspec.DecodeError, ValueError, IndexError, RecursionError) as error:
        raise SnapshotError(f"its content is not understood: {error}") from error
    problem = next(_contradictions(snapshot), None)
    if problem is not None:
        raise SnapshotError(f"it contradicts itself: {problem}")
    return snapshot


def check(data: bytes) -> SnapshotHeader:
    """The first line of a snapshot whose bytes are whole; its content is not unpacked.

    Raises SnapshotError.
    """
    return _checked(data)[0]


def _checked(data: bytes) -> tuple[SnapshotHeader, bytes]:
    line, digest, packed = _split(data)
    header = _read_header(line)
    if _digest(line, packed) != digest:
        raise SnapshotError("it is damaged: its checksum does not match")
    return header, packed


def _digest(line: bytes, packed: bytes) -> bytes:
    digest = blake2b(line, digest_size=DIGEST_BYTES)
    digest.update(packed)
    return digest.digest()


def _split(data: bytes) -> tuple[bytes, bytes, bytes]:
    end = data.find(b"\n", 0, HEADER_BYTES) + 1
    if not data.startswith(MARK) or not end:
        raise SnapshotError("it is not one of eventq")
    start = end + DIGEST_BYTES
    return data[:end], data[end:start], data[start:]


def _read_header(line: bytes) -> SnapshotHeader:
    try:
        header = _header_decoder.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise SnapshotError(f"its first line is not understood: {error}") from error
    if header.codec != CODEC_VERSION:
        raise SnapshotError(f"its codec {header.codec} is not {CODEC_VERSION}")
    if header.fold != FOLD_VERSION:
        raise SnapshotError(
            f"it was folded by rules {header.fold}, and this version has rules {FOLD_VERSION}"
        )
    return header


def _unpack(packed: bytes, content_bytes: int) -> bytes:
    if content_bytes > CONTENT_BYTES:
        raise SnapshotError(f"it claims a content of {content_bytes:,} bytes")
    unpacking = zlib.decompressobj()
    try:
        # One byte more than announced: with none, nothing would bound it.
        content = unpacking.decompress(packed, content_bytes + 1)
    except zlib.error as error:
        raise SnapshotError(f"it cannot be unpacked: {error}") from error
    if len(content) != content_bytes or not unpacking.eof or unpacking.unused_data:
        raise SnapshotError("its content is not as long as announced")
    return content


def _to_content(snapshot: Snapshot) -> _Content:
    tasks = [snapshot.tasks[number] for number in sorted(snapshot.tasks)]
    states = {task.recorded_state for task in tasks}
    assert states <= {WAITING, SCHEDULED, LEASED, UNKNOWN}, "a commit's end leaves no others"
    places = {worker: place for place, worker in enumerate(sorted(snapshot.holders))}
    policies: dict[Policy, int] = {}
    routes: dict[Route, int] = {}
    return _Content(
        counts=dict(sorted(snapshot.counts.items())),
        reopened=dict(sorted(snapshot.reopened.items())),
        unknown=snapshot.unknown,
        decided_at=snapshot.decided_at,
        holders=[
            (name, holder.ttl_us, holder.seen_seq, holder.seen_at)
            for name, holder in sorted(snapshot.holders.items())
        ],
        members=[member for _, member in sorted(snapshot.members.items())],
        followers=[follower for _, follower in sorted(snapshot.followers.items())],
        schedules=[msgspec.json.encode(each) for _, each in sorted(snapshot.schedules.items())],
        strangers=dict(sorted(snapshot.strangers.items())),
        strange_ends=dict(sorted(snapshot.strange_ends.items())),
        waits=[(n, sorted(w.open), sorted(w.failed)) for n, w in sorted(snapshot.waits.items())],
        unneeded=snapshot.unneeded,
        reviving=snapshot.reviving,
        flows=[(number, _packed(flow)) for number, flow in sorted(snapshot.flows.items())],
        limits=[limit for _, limit in sorted(snapshot.limits.items())],
        instants=sorted(snapshot.instants.items(), key=lambda each: _bucket_key(each[0])),
        pauses=sorted(snapshot.pauses.values(), key=lambda pause: pause.seq),
        shared=snapshot.shared,
        turns=[
            (priority, turn.level, sorted(turn.ahead.items(), key=lambda each: each[0] or ""))
            for priority, turn in sorted(snapshot.turns.items())
        ],
        policy=[policies.setdefault(task.policy, len(policies)) for task in tasks],
        policies=list(policies),
        route=[routes.setdefault(task.route, len(routes)) for task in tasks],
        routes=list(routes),
        worker=[None if task.worker is None else places[task.worker] for task in tasks],
        **{name: list(map(attrgetter(name), tasks)) for name in _AS_THEY_ARE},
    )


def _to_snapshot(header: SnapshotHeader, content: _Content) -> Snapshot:
    """Puts it together. Raises ValueError or IndexError where the parts do not fit."""
    lengths = {len(getattr(content, name)) for name in _COLUMNS}
    if len(lengths) != 1:
        raise ValueError("its columns differ in length")
    holders = {
        name: Holder(ttl_us, seen_seq, seen_at, set())
        for name, ttl_us, seen_seq, seen_at in content.holders
    }
    if len(holders) != len(content.holders):
        raise ValueError("a node comes twice")
    names = [name for name, *_ in content.holders]
    workers = [None if place is None else names[place] for place in content.worker]
    for number, worker in zip(content.number, workers, strict=True):
        if worker is not None:
            holders[worker].tasks.add(number)
    waits = {number: Wait(set(some), set(failed)) for number, some, failed in content.waits}
    columns = {name: getattr(content, name) for name in _AS_THEY_ARE} | {
        "namespace": repeat(header.namespace),
        "policy": map(content.policies.__getitem__, content.policy),
        "route": map(_shared(content.routes).__getitem__, content.route),
        "recorded_state": [
            WAITING if number in waits else _state(worker, rarity)
            for number, worker, rarity in zip(content.number, workers, content.rarity, strict=True)
        ]
        if waits
        else list(map(_state, workers, content.rarity)),
        "worker": workers,
        "ending": repeat(None),
    }
    members = {member.joined.worker: member for member in content.members}
    if len(members) != len(content.members):
        raise ValueError("a node has joined twice")
    followers = {follower.said.follower: follower for follower in content.followers}
    if len(followers) != len(content.followers):
        raise ValueError("a follower comes twice")
    schedules = {each.name: each for each in map(_schedule_decoder.decode, content.schedules)}
    if len(schedules) != len(content.schedules):
        raise ValueError("a schedule comes twice")
    # The order of Task's fields, by place: with names this takes three times as long.
    tasks = map(Task, *(columns[name] for name in Task.__struct_fields__))
    return Snapshot(
        namespace=header.namespace,
        seq=header.seq,
        at=header.at,
        decided_at=content.decided_at,
        seal=bytes.fromhex(header.seal),
        counts=content.counts,
        reopened=content.reopened,
        tasks=dict(zip(content.number, tasks, strict=True)),
        holders=holders,
        members=members,
        followers=followers,
        schedules=schedules,
        strangers=content.strangers,
        strange_ends=content.strange_ends,
        waits=waits,
        unneeded=content.unneeded,
        reviving=content.reviving,
        flows={number: _unpacked(flow) for number, flow in content.flows},
        limits={limit.said.limit: limit for limit in content.limits},
        instants=dict(content.instants),
        pauses={pause.said.scope: pause for pause in content.pauses},
        shared=content.shared,
        turns={p: TurnState(level, dict(ahead)) for p, level, ahead in content.turns},
        unknown=content.unknown,
    )


def _packed(flow: FlowState) -> _Flow:
    assert not flow.owed, "a commit's end leaves nothing to come"
    return _Flow(flow.open, flow.failed, flow.closed, sorted(flow.on_failure), sorted(flow.last))


def _unpacked(flow: _Flow) -> FlowState:
    return FlowState(flow.open, 0, flow.failed, flow.closed, set(flow.on_failure), set(flow.last))


def _bucket_key(bucket: Bucket) -> tuple[str, str]:
    return bucket.limit, bucket.value or ""


def _shared(routes: list[Route]) -> list[Route]:
    """The routes; the plain one is always the same object."""
    return [PLAIN_ROUTE if route == PLAIN_ROUTE else route for route in routes]


def _state(worker: str | None, rarity: Rarity | None) -> TaskState:
    if worker is not None:
        return LEASED
    return SCHEDULED if rarity is None or rarity.newer is None else UNKNOWN


def _counts_known_kinds(snapshot: Snapshot) -> bool:
    return (
        snapshot.counts.keys() == KINDS
        and snapshot.reopened.keys() == {"expired", "cancelled"}
        and snapshot.strange_ends.keys() == set(END_KINDS)
    )


def _contradictions(snapshot: Snapshot) -> Iterator[str]:
    """What no fold could have led to: a projection must not be built on it."""
    numbers = list(snapshot.tasks)
    keys = [task.caller_key for task in snapshot.tasks.values() if task.caller_key is not None]
    final = sum(snapshot.counts.get(kind, 0) for kind in ("completed", "expired", "cancelled"))
    if len(snapshot.seal) != SEAL_BYTES:
        yield "its seal has another length"
    others = sum(snapshot.reopened.values()) + sum(snapshot.strange_ends.values())
    # A kind more or less means that it was folded by another version.
    if not _counts_known_kinds(snapshot):
        yield "it counts other kinds of events"
    elif len(numbers) + final - others != snapshot.counts["created"]:
        yield "its tasks are not as many as were created"
    if not all(map(lt, numbers, numbers[1:])) or numbers[-1:] > [snapshot.seq]:
        yield "its tasks are out of order"
    if len(set(keys)) != len(keys):
        yield "two of its tasks have one key"
    known = [task for task in snapshot.tasks.values() if task.unique and not task.newer]
    if len({task.unique for task in known}) != len(known):
        yield "two of its tasks have one unique value"
    if not all(holder.tasks for holder in snapshot.holders.values()):
        yield "a node holds no lease"
    yield from _contradicting_nodes(snapshot)
    yield from _contradicting_waits(snapshot)
    yield from _contradicting_rules(snapshot)


def _contradicting_nodes(snapshot: Snapshot) -> Iterator[str]:
    if any((task.fence > 0) != (task.worker is not None) for task in snapshot.tasks.values()):
        yield "a lease and its fence do not go together"
    if any(task.newer and task.worker for task in snapshot.tasks.values()):
        yield "a node holds a task of which nobody knows"
    if any(member.seq > snapshot.seq for member in snapshot.members.values()):
        yield "a node is to join"
    if any(not each.said.seq < each.seq <= snapshot.seq for each in snapshot.followers.values()):
        yield "a follower is ahead of what it follows"
    if snapshot.strangers.keys() & snapshot.tasks.keys():
        yield "a task is open and is not"


def _contradicting_waits(snapshot: Snapshot) -> Iterator[str]:
    tasks = snapshot.tasks
    if not all(number in tasks for number in snapshot.waits):
        yield "a task waits that is not open"
    elif not all(wait.open <= tasks.keys() for wait in snapshot.waits.values()):
        yield "a task waits for another that is not open"
    if not all(number in snapshot.waits for number in snapshot.unneeded):
        yield "a task is to be cancelled that does not wait"
    for flow in snapshot.flows.values():
        if not (flow.on_failure | flow.last) <= tasks.keys():
            yield "a flow has finalisers that are not open"


def _contradicting_rules(snapshot: Snapshot) -> Iterator[str]:
    said = [limit.seq for limit in snapshot.limits.values()]
    said += [pause.seq for pause in snapshot.pauses.values()]
    if any(seq > snapshot.seq for seq in said):
        yield "a limit or a pause is to be set"
    if any(each != sorted(each) for each in snapshot.instants.values()):
        yield "leases that a rate looks at are out of order"
    if any(f <= t.level for t in snapshot.turns.values() for f in t.ahead.values()):
        yield "a share is ahead and is not"
