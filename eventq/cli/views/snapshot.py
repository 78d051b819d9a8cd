"""Snapshots, verdicts and differences in the two forms the command shows them.

The JSON forms are a promise, as those of forms.py are.
"""

from __future__ import annotations

from typing import Any

import msgspec

from eventq.cli.output import say, say_table
from eventq.cli.text import iso_text, json_text, short, time_text, visible
from eventq.core.holders import Holder
from eventq.core.projection import Projection
from eventq.eventlog.snapshots import SnapshotEntry
from eventq.replay.query import state_counts
from eventq.snapshot import Difference, Flaw, Snapshot, Verdict, restore

VALUE_CHARACTERS = 200

ENTRY_COLUMNS = ["SEQ", "AT", "TAKEN", "BYTES", "SEAL"]
VERDICT_COLUMNS = ["SNAPSHOT", "SEQ", "VERDICT", "WHY"]


def entry_form(entry: SnapshotEntry) -> dict[str, Any]:
    """A snapshot in a database, for programs."""
    return {
        "seq": entry.seq,
        "at": iso_text(entry.at),
        "taken_at": iso_text(entry.taken_at),
        "bytes": entry.size_bytes,
        "seal": entry.seal.hex(),
    }


def entry_row(entry: SnapshotEntry) -> list[str]:
    """Its cells below ENTRY_COLUMNS."""
    return [
        str(entry.seq),
        time_text(entry.at),
        time_text(entry.taken_at),
        str(entry.size_bytes),
        entry.seal.hex(),
    ]


def snapshot_form(snapshot: Snapshot) -> dict[str, Any]:
    """What a snapshot holds, for programs."""
    return {
        "namespace": snapshot.namespace,
        "seq": snapshot.seq,
        "at": iso_text(snapshot.at),
        "seal": snapshot.seal.hex(),
        "states": state_counts(restore(snapshot), now=snapshot.at),
        "events": snapshot.counts,
        "nodes": [
            {
                "node": worker,
                "leases": len(holder.tasks),
                "seen_seq": holder.seen_seq,
                "seen_at": iso_text(holder.seen_at),
                "ttl_us": holder.ttl_us,
            }
            for worker, holder in sorted(snapshot.holders.items())
        ],
        "unknown": None if snapshot.unknown is None else list(snapshot.unknown),
    }


def snapshot_pairs(snapshot: Snapshot) -> list[tuple[str, str]]:
    """What a snapshot holds, as names and values."""
    states = state_counts(restore(snapshot), now=snapshot.at)
    counted = {kind: count for kind, count in snapshot.counts.items() if count}
    pairs = [
        ("namespace", visible(snapshot.namespace)),
        ("position", str(snapshot.seq)),
        ("at", time_text(snapshot.at)),
        ("seal", snapshot.seal.hex()),
        *((state, str(count)) for state, count in states.items()),
        ("open", str(len(snapshot.tasks))),
        *((f"{kind} events", str(count)) for kind, count in sorted(counted.items())),
    ]
    for worker, holder in sorted(snapshot.holders.items()):
        seen = f"{len(holder.tasks)} leases, last sign of life at {time_text(holder.seen_at)}"
        pairs.append((f"node {visible(worker)}", seen))
    if snapshot.unknown is not None:
        seq, kind = snapshot.unknown
        pairs.append(("unknown", f"event {seq} is of the unknown kind {visible(kind)}"))
    return pairs


def verdict_form(verdict: Verdict) -> dict[str, Any]:
    """What a check of a snapshot gave, for programs."""
    flaw = verdict.flaw
    return {
        "snapshot": verdict.name,
        "seq": verdict.seq,
        "proven": verdict.is_proven,
        "problem": verdict.problem,
        "flaw": None
        if flaw is None
        else {
            "field": flaw.field,
            "task": flaw.task,
            "snapshot": _plain(flaw.snapshot),
            "replayed": _plain(flaw.replayed),
        },
    }


def verdict_row(verdict: Verdict) -> list[str]:
    """Its cells below VERDICT_COLUMNS."""
    if verdict.is_proven:
        word, why = "proven", "-"
    elif verdict.flaw is None:
        word, why = "unusable", visible(verdict.problem or "")
    else:
        word, why = "wrong", _flaw_text(verdict.flaw)
    return [visible(verdict.name), "-" if verdict.seq is None else str(verdict.seq), word, why]


def difference_form(
    difference: Difference, before: Projection, after: Projection
) -> dict[str, Any]:
    """What differs between two projections, for programs; each pair is the first's, the second's.

    A task's fields are those of Task, instants in microseconds.
    """
    return {
        "before": {"seq": before.seq, "at": iso_text(before.advanced_to)},
        "after": {"seq": after.seq, "at": iso_text(after.advanced_to)},
        "states": {name: list(pair) for name, pair in difference.counts.items()},
        "events": {name: list(pair) for name, pair in difference.events.items()},
        "tasks": [
            {"number": task.number, "key": task.key, "fields": _pairs(task.fields)}
            for task in difference.tasks
        ],
        "nodes": [
            {"node": holder.worker, "fields": _pairs(holder.fields)}
            for holder in difference.holders
        ],
    }


def say_difference(difference: Difference, before: Projection, after: Projection) -> None:
    """Prints what differs: the two positions, counts that differ, tasks, nodes."""
    say_table(
        ["", "A", "B"],
        [
            ["position", str(before.seq), str(after.seq)],
            ["at", time_text(before.advanced_to), time_text(after.advanced_to)],
            *(
                [name, str(old), str(new)]
                for name, (old, new) in difference.counts.items()
                if old != new
            ),
        ],
        elastic=0,
    )
    rows = [
        [visible(task.key), field, _text(old), _text(new)]
        for task in difference.tasks
        for field, (old, new) in task.fields.items()
    ]
    if rows:
        say()
        say_table(["TASK", "FIELD", "A", "B"], rows, elastic=2)
    rows = [
        [visible(holder.worker), field, _text(old), _text(new)]
        for holder in difference.holders
        for field, (old, new) in holder.fields.items()
    ]
    if rows:
        say()
        say_table(["NODE", "FIELD", "A", "B"], rows, elastic=2)


def _flaw_text(flaw: Flaw) -> str:
    what = flaw.field if flaw.task is None else f"task {flaw.task}: {flaw.field}"
    return f"{visible(what)} is {_text(flaw.snapshot)}, and {_text(flaw.replayed)} in the replay"


def _pairs(fields: dict[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {name: [_plain(old), _plain(new)] for name, (old, new) in fields.items()}


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """The value as JSON has it: bytes that are JSON themselves as text, others in hexadecimal."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, Holder):
        return {**msgspec.to_builtins(value), "tasks": sorted(value.tasks)}
    if isinstance(value, set):
        return sorted(value)
    return msgspec.to_builtins(value)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return short(visible(value), VALUE_CHARACTERS)
    return short(json_text(_plain(value)), VALUE_CHARACTERS)
