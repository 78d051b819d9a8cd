"""Snapshots, what a check of them gave, and what differs between two, as people see them."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from eventq.cli.output import Listing, Pairs, say, say_table
from eventq.cli.text import iso_text, json_text, short, time_text, visible
from eventq.cli.views.fields import plain_value
from eventq.cli.views.tasks import VALUE_CHARACTERS, count_pairs, event_text
from eventq.core.commits import Event
from eventq.core.projection import Projection
from eventq.core.values import NODE
from eventq.replay.query import state_counts
from eventq.snapshot import Difference, Snapshot, SnapshotVerdict, restore


def snapshot_pairs(snapshot: Snapshot) -> Pairs:
    """What a snapshot holds, as names and values."""
    pairs = [
        ("namespace", snapshot.namespace),
        ("position", snapshot.seq),
        ("at", time_text(snapshot.at)),
        ("seal", snapshot.seal),
        *count_pairs(state_counts(restore(snapshot), now=snapshot.at)),
        ("open", len(snapshot.tasks)),
        *((f"{kind} events", n) for kind, n in sorted(snapshot.counts.items()) if n),
    ]
    for worker, holder in sorted(snapshot.holders.items()):
        seen = f"{len(holder.tasks)} leases, last sign of life at {time_text(holder.seen_at)}"
        pairs.append((f"node {visible(worker)}", seen))
    for _, member in sorted(snapshot.members.items()):
        said = event_text(Event(member.seq, member.at, NODE, member.joined))
        pairs.append(("joined", f"{said}, at {time_text(member.at)}"))
    for _, follower in sorted(snapshot.followers.items()):
        said = event_text(Event(follower.seq, follower.at, NODE, follower.said))
        pairs.append(("follower", f"{said}, at {time_text(follower.at)}"))
    for _, schedule in sorted(snapshot.schedules.items()):
        planned = replace(schedule.planned, next_at=schedule.next_at)
        said = event_text(Event(schedule.planned_seq, schedule.planned_at, NODE, planned))
        pairs.append(("schedule", said))
    limits = sorted(snapshot.limits.items())
    pairs += [("limit", event_text(Event(x.seq, x.at, NODE, x.said))) for _, x in limits]
    paused = sorted(snapshot.pauses.values(), key=attrgetter("seq"))
    pairs += [("pause", event_text(Event(x.seq, x.at, NODE, x.said))) for x in paused]
    if snapshot.shared is not None:
        pairs.append(("turns", event_text(Event(NODE, NODE, NODE, snapshot.shared))))
    if snapshot.waits or snapshot.flows:
        pairs.append(("waits", f"{len(snapshot.waits)} tasks, {len(snapshot.flows)} flows"))
    if snapshot.unknown is not None:
        seq, kind = snapshot.unknown
        pairs.append(("unknown", f"event {seq} is of the unknown kind {kind}"))
    return pairs


def difference_fields(
    difference: Difference, before: Projection, after: Projection
) -> dict[str, Any]:
    """What differs between two projections, for programs; each pair is the first's, the second's.

    A task's fields are those of Task, instants in microseconds.
    """
    return {
        "before": {"seq": before.seq, "at": iso_text(before.advanced_to)},
        "after": {"seq": after.seq, "at": iso_text(after.advanced_to)},
        "states": difference.counts,
        "events": difference.events,
        "tasks": [
            {"number": task.number, "key": task.key, "fields": _plain_pairs(task.fields)}
            for task in difference.tasks
        ],
        "nodes": [
            {"node": holder.worker, "fields": _plain_pairs(holder.fields)}
            for holder in difference.holders
        ],
        "joined": [
            {"node": member.worker, "fields": _plain_pairs(member.fields)}
            for member in difference.members
        ],
        "followers": [
            {"follower": each.follower, "fields": _plain_pairs(each.fields)}
            for each in difference.followers
        ],
        "schedules": [
            {"schedule": each.schedule, "fields": _plain_pairs(each.fields)}
            for each in difference.schedules
        ],
        "rules": [
            {"rule": each.rule, "fields": _plain_pairs(each.fields)} for each in difference.rules
        ],
    }


def say_difference(difference: Difference, before: Projection, after: Projection) -> None:
    """Prints what differs: the two positions, counts that differ, and each thing that does."""
    rows = [
        ["position", str(before.seq), str(after.seq)],
        ["at", time_text(before.advanced_to), time_text(after.advanced_to)],
    ]
    counts = difference.counts.items()
    rows += [[name, str(old), str(new)] for name, (old, new) in counts if old != new]
    say_table(["", "A", "B"], rows, elastic=0)
    _say_fields("TASK", [(task.key, task.fields) for task in difference.tasks])
    _say_fields("NODE", [(holder.worker, holder.fields) for holder in difference.holders])
    _say_fields("JOINED", [(member.worker, member.fields) for member in difference.members])
    _say_fields("FOLLOWER", [(each.follower, each.fields) for each in difference.followers])
    say_rules(difference)


def say_rules(difference: Difference) -> None:
    """Prints what differs of schedules, limits, pauses and turns."""
    _say_fields("SCHEDULE", [(each.schedule, each.fields) for each in difference.schedules])
    _say_fields("RULE", [(each.rule, each.fields) for each in difference.rules])


def _say_fields(title: str, things: Iterable[tuple[str, dict[str, tuple[Any, Any]]]]) -> None:
    rows = [
        [visible(name), field, _text(old), _text(new)]
        for name, fields in things
        for field, (old, new) in fields.items()
    ]
    if rows:
        say()
        say_table([title, "FIELD", "A", "B"], rows, elastic=2)


def _plain_pairs(fields: dict[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {name: [plain_value(each) for each in pair] for name, pair in fields.items()}


def _word(verdict: SnapshotVerdict) -> str:
    if verdict.is_proven:
        return "proven"
    return "unusable" if verdict.flaw is None else "wrong"


def _problem(verdict: SnapshotVerdict) -> str | None:
    flaw = verdict.flaw
    if verdict.is_proven or flaw is None:
        return None if verdict.is_proven else verdict.problem or ""
    what = flaw.field if flaw.task is None else f"task {flaw.task}: {flaw.field}"
    return f"{what} is {_text(flaw.snapshot)}, and {_text(flaw.replayed)} in the replay"


def _text(value: object) -> str:
    if value is None:
        return "-"
    text = visible(value) if isinstance(value, str) else json_text(plain_value(value))
    return short(text, VALUE_CHARACTERS)


ENTRIES = Listing(
    ("SEQ", "seq"),
    ("AT", lambda entry: time_text(entry.at)),
    ("TAKEN", lambda entry: time_text(entry.taken_at)),
    ("BYTES", "size_bytes"),
    ("SEAL", "seal"),
)
VERDICTS = Listing(("SNAPSHOT", "name"), ("SEQ", "seq"), ("VERDICT", _word), ("WHY", _problem))
