"""The JSON that commands print: which fields of a struct it has, in their order.

The fields are a promise: one may be added, none renamed, retyped or taken away. Instants are ISO
8601 in UTC with microseconds; durations are whole microseconds in fields ending in ``_us``. An
event's ``body`` is what the log holds, where instants are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import msgspec

from eventq import Event, Stats, Task
from eventq.anchors.proofs import Verified
from eventq.audit import (
    FlowStep,
    FlowView,
    Grant,
    Held,
    LogDifference,
    Moment,
    QueueState,
    Rank,
    Rival,
    Step,
    Why,
)
from eventq.audit.report import Report
from eventq.audit.signs import Silence
from eventq.catalog.counts import Times
from eventq.catalog.passing_attempts import AttemptRecord
from eventq.catalog.record import TaskRecord
from eventq.cli.text import iso_text
from eventq.cli.views.change import NAMES, TaskChange
from eventq.core.commits import Unknown
from eventq.core.holders import Holder
from eventq.core.queue_events import Shared
from eventq.core.schedules import Schedule
from eventq.core.task import Progress, instant
from eventq.eventlog.contract import SnapshotEntry
from eventq.replay.points import Point
from eventq.replay.query import state_counts
from eventq.sandbox import Ended, Numbers, Rerun
from eventq.snapshot import (
    Flaw,
    FollowerDifference,
    HolderDifference,
    MemberDifference,
    RuleDifference,
    ScheduleDifference,
    Snapshot,
    SnapshotVerdict,
    restore,
)

# Fields that hold microseconds since 1970. ``resumed_at`` is a position.
INSTANTS = frozenset(
    {"at", "created_at", "scheduled_at", "expires_at", "started_at", "finished_at", "ended_at"}
    | {"leased_at", "seen_at", "taken_at", "lapses_at", "stamped_at", "ready_at", "next_at", "due"}
    | {"first_at", "last_at"}
)
# Fields that are JSON already, as deep as users made it.
READY = frozenset({"tags", "result", "saved", "body", "fields", "snapshot", "replayed"})
# What a node has said of itself.
MEMBER_FIELDS = ("names", "unnamed", "lanes", "slots", "version", "signatures", "ttl_us")
MICROSECOND = timedelta(microseconds=1)

Getter = Callable[[Any], Any]


class TaskAtPoint(msgspec.Struct, frozen=True):
    """A task, and the point as of which it is shown."""

    task: Task
    point: Point


class ListedTask(msgspec.Struct, frozen=True):
    """A task of a list, and what keeps it from running, where something does."""

    task: Task
    waits_for: str | None = None
    source: str = "log"
    """By what final tasks were found: the catalog, or the log."""


def json_fields(value: Any) -> Any:  # noqa: ANN401 - whatever a command answers
    """The value with each struct in it as a dict of the fields that programs get."""
    if isinstance(value, msgspec.Struct):
        kind = type(value)
        getters = FIELDS.get(kind) or _getters(" ".join(kind.__struct_fields__))
        fields = {name: _field(name, get(value)) for name, get in getters.items()}
        # A star stands for all fields of a part, which come before those of the whole.
        return {**fields.pop("*", {}), **fields}
    if isinstance(value, dict):
        return {n: each if n in READY else json_fields(each) for n, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_fields(each) for each in value]
    return value


def _field(name: str, value: Any) -> Any:  # noqa: ANN401 - see json_fields
    if name in READY:
        return value
    if isinstance(value, datetime) or (name in INSTANTS and isinstance(value, int)):
        return iso_text(value)
    if isinstance(value, timedelta):
        return value // MICROSECOND
    return value.hex() if isinstance(value, bytes) else json_fields(value)


def plain_value(value: object) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """A field of a projection as JSON has it: bytes as text, or in hexadecimal if they are none."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, Holder):
        return {**msgspec.to_builtins(value), "tasks": sorted(value.tasks)}
    if isinstance(value, Schedule):
        # By way of JSON, which its tags are.
        return msgspec.json.decode(msgspec.json.encode(value))
    return sorted(value) if isinstance(value, set) else msgspec.to_builtins(value)


def _getters(names: str, /, **others: Getter) -> dict[str, Getter]:
    """Getters by field: ``name``, or ``name=path.to.it``; ``others`` compute theirs."""
    pairs = (name.partition("=") for name in names.split())
    return {name: others.pop(name, attrgetter(path or name)) for name, _, path in pairs}


def _body(event: Event) -> dict[str, Any]:
    """The event's body as the log holds it."""
    body = event.body
    raw = body.raw if isinstance(body, Unknown) else msgspec.json.encode(body)
    fields: dict[str, Any] = msgspec.json.decode(raw)
    fields.pop("kind")
    return fields


def _snapshot_nodes(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [
        {
            "node": worker,
            "leases": len(holder.tasks),
            "seen_seq": holder.seen_seq,
            "seen_at": iso_text(holder.seen_at),
            "ttl_us": holder.ttl_us,
        }
        for worker, holder in sorted(snapshot.holders.items())
    ]


def _snapshot_members(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [
        {"node": worker, "seq": member.seq, "at": iso_text(member.at)}
        | {name: getattr(member.joined, name) for name in MEMBER_FIELDS}
        for worker, member in sorted(snapshot.members.items())
    ]


def _snapshot_followers(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [
        {"follower": name, "seq": each.seq, "at": iso_text(each.at)}
        | {"position": each.said.seq, "node": each.said.worker, "ttl_us": each.said.ttl_us}
        for name, each in sorted(snapshot.followers.items())
    ]


def _snapshot_schedules(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [
        {
            "schedule": name,
            "seq": each.seq,
            "next_at": None if each.next_at is None else iso_text(each.next_at),
            "paused": each.planned.paused,
            "cron": each.planned.timing.cron,
            "zone": each.planned.timing.zone,
            "every_us": each.planned.timing.every_us,
        }
        for name, each in sorted(snapshot.schedules.items())
    ]


def _snapshot_limits(snapshot: Snapshot) -> list[dict[str, Any]]:
    names = ("limit", "running", "rate", "per_us", "per")
    return [
        {name: getattr(limit.said, name) for name in names}
        | {"seq": limit.seq, "at": iso_text(limit.at)}
        for _, limit in sorted(snapshot.limits.items())
    ]


def _snapshot_pauses(snapshot: Snapshot) -> list[dict[str, Any]]:
    found = sorted(snapshot.pauses.values(), key=attrgetter("seq"))
    return [
        {
            "scope": msgspec.structs.asdict(pause.said.scope),
            "until": None if pause.said.until is None else iso_text(pause.said.until),
            "by": pause.said.by,
            "reason": pause.said.reason,
            "seq": pause.seq,
            "at": iso_text(pause.at),
        }
        for pause in found
    ]


def _turns(said: Shared | None) -> dict[str, Any] | None:
    """Whose turn it is; None where no turns are taken."""
    return None if said is None or said.lifted else {"per": said.per, "weights": said.weights}


def _newer(event: tuple[int, str] | None) -> dict[str, Any] | None:
    return None if event is None else dict(zip(("seq", "kind"), event, strict=True))


def _changed_fields(
    change: HolderDifference
    | MemberDifference
    | FollowerDifference
    | ScheduleDifference
    | RuleDifference
    | TaskChange,
) -> dict[str, list[Any]]:
    named = [(NAMES.get(name, name), pair) for name, pair in change.fields.items()]
    return {name: [_changed_value(name, each) for each in pair] for name, pair in named}


def _changed_value(name: str, value: object) -> Any:  # noqa: ANN401 - see json_fields
    return msgspec.json.decode(value) if isinstance(value, bytes) else _field(name, value)


def _waits(numbers: Numbers) -> list[dict[str, Any]]:
    return [
        {"priority": priority, **msgspec.structs.asdict(waits)}
        for priority, waits in numbers.by_priority.items()
    ]


def _share_waits(numbers: Numbers) -> list[dict[str, Any]]:
    return [
        {"share": share, **msgspec.structs.asdict(waits)}
        for share, waits in numbers.by_share.items()
    ]


def _result(ended: Ended) -> Any:  # noqa: ANN401 - any JSON value
    return None if ended.result_json is None else msgspec.json.decode(ended.result_json)


def _error_met(record: TaskRecord) -> dict[str, str] | None:
    if record.error_type is None:
        return None
    met = (record.error_type, record.error_message, record.error_place)
    return dict(zip(("type", "message", "place"), met, strict=True))


# Of a struct that is not here, each field is shown under its own name.
FIELDS: dict[type, dict[str, Getter]] = {
    Task: _getters(
        "key number namespace name lane needs state priority tags created_at scheduled_at "
        "expires_at started_at finished_at age_us=age attempt retry_count lapses snoozes worker "
        "progress saved schedule due buckets share trace secret "
        "last_error result result_missing final_reason policy unique newer after if_failed given "
        "flow role cause",
        newer=lambda task: _newer(task.newer),
    ),
    Progress: _getters("done total note at"),
    TaskAtPoint: _getters("*=task seq=point.seq at=point.at"),
    ListedTask: _getters("*=task waits_for source"),
    TaskRecord: _getters(
        "key number name lane state priority tags attempts created_at scheduled_at ended_at "
        "last_seq last_at waited_us ran_us error nodes flow schedule by lapses refused ran_twice "
        "secret",
        tags=lambda record: msgspec.json.decode(record.tags_json),
        error=_error_met,
    ),
    AttemptRecord: _getters("*=task attempt fence node started_at ended_at ended_seq outcome late"),
    Report: _getters(
        " ".join(Report.__struct_fields__),
        since=lambda report: instant(report.since),
        until=lambda report: instant(report.until),
    ),
    Silence: _getters(
        "node since until leases",
        since=lambda silence: instant(silence.since),
        until=lambda silence: None if silence.until is None else instant(silence.until),
    ),
    Times: _getters("count median_us=median p95_us=p95 p99_us=p99"),
    Event: _getters("seq at task kind body", body=_body),
    Stats: _getters(f"{' '.join(Stats.__struct_fields__)} open total"),
    FlowView: _getters("flow=number key closed=is_closed seq at tasks=steps"),
    FlowStep: _getters("*=task made_by took_us depth"),
    Step: _getters(
        "*=event since_us node state attempt=task.attempt retry_count=task.retry_count reason "
        "is_damage"
    ),
    Moment: _getters("*=event key gap_us"),
    QueueState: _getters(
        "seq at seal counts total overdue ready held leases waiting expiring limits pauses turns "
        "schedules unknown cut",
        turns=lambda state: _turns(state.turns),
        unknown=lambda state: _newer(state.unknown),
    ),
    Held: _getters(
        "key=task.key number=task.number fence=task.fence attempt=task.attempt worker leased_at "
        "ttl_us seen_seq seen_at lapses_at"
    ),
    Why: _getters(
        "key=task.key seq at state=task.state verdict notes ready_at ready_rank rank leases_since "
        "overtaken overtaken_count grant loads handled_by task"
    ),
    Grant: _getters("seq at worker attempt in_order rank"),
    Rank: _getters(
        "seq at place ahead_count ahead_by ahead behind_count behind_by behind overdue held_back"
    ),
    Rival: _getters(
        "key=task.key number=task.number priority=task.priority scheduled_at=task.scheduled_at "
        "field"
    ),
    LogDifference: _getters(
        "equal=is_empty before after same_until counts=open.counts events=open.events passed "
        "nodes=open.holders joined=open.members followers=open.followers "
        "schedules=open.schedules rules=open.rules"
    ),
    HolderDifference: _getters("worker fields", fields=_changed_fields),
    MemberDifference: _getters("worker fields", fields=_changed_fields),
    FollowerDifference: _getters("follower fields", fields=_changed_fields),
    ScheduleDifference: _getters("schedule fields", fields=_changed_fields),
    RuleDifference: _getters("rule fields", fields=_changed_fields),
    TaskChange: _getters("key number what fields final", fields=_changed_fields),
    Rerun: _getters(
        "key=recorded.task.key number=recorded.task.number attempt=recorded.task.attempt "
        "fence=recorded.task.fence worker=recorded.task.worker leased_at=recorded.leased_at "
        "verdict differs recorded=recorded.ended here recorded_us here_us"
    ),
    Ended: _getters("outcome=kind result result_missing error delay_us late", result=_result),
    Numbers: _getters(
        " ".join(Numbers.__struct_fields__), by_priority=_waits, by_share=_share_waits
    ),
    SnapshotEntry: _getters("seq at taken_at bytes=size_bytes seal"),
    Snapshot: _getters(
        "namespace seq at seal states events=counts nodes joined followers schedules limits "
        "pauses turns waits flows unknown",
        states=lambda snapshot: state_counts(restore(snapshot), now=snapshot.at),
        nodes=_snapshot_nodes,
        joined=_snapshot_members,
        followers=_snapshot_followers,
        schedules=_snapshot_schedules,
        limits=_snapshot_limits,
        pauses=_snapshot_pauses,
        turns=lambda snapshot: _turns(snapshot.shared),
        waits=lambda snapshot: len(snapshot.waits),
        flows=lambda snapshot: len(snapshot.flows),
    ),
    SnapshotVerdict: _getters("snapshot=name seq proven=is_proven problem flaw"),
    Flaw: _getters(
        "field task snapshot replayed",
        snapshot=lambda flaw: plain_value(flaw.snapshot),
        replayed=lambda flaw: plain_value(flaw.replayed),
    ),
    Verified: _getters("*=verdict proofs proven warning ok"),
}
