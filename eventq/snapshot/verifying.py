"""Proving snapshots: each must be what the log folds to from the first event on.

The fold is deterministic, so a snapshot that is equal to the replay up to its position leads, with
any tail, to what the replay leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Struct

from eventq.core.holders import Holder
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.errors import SnapshotError
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import catch_up
from eventq.snapshot.content import Snapshot, take
from eventq.snapshot.keeping import check_fits, get

# Told of each position reached, so that a person can see it go on; this many events a step.
STEP_EVENTS = 50_000


class Flaw(Struct, frozen=True):
    """Where a snapshot first differs from the replay, in the order in which fields stand.

    ``task`` is the number of the task whose ``field`` it is, or None for one of the projection.
    """

    field: str
    task: int | None
    snapshot: Any
    replayed: Any


class SnapshotVerdict(Struct, frozen=True):
    """What a check of one snapshot gave: nothing wrong, or why it cannot be used, or a flaw."""

    name: str
    """Its position, or the path of its file."""
    seq: int | None
    """The position it says it is of; None where it cannot be read."""
    problem: str | None = None
    flaw: Flaw | None = None

    @property
    def is_proven(self) -> bool:
        """Whether it is exactly what the log folds to."""
        return self.problem is None and self.flaw is None


def verify(
    log: EventLog,
    sources: Iterable[tuple[str, Callable[[], Snapshot]]] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[SnapshotVerdict]:
    """Compares snapshots with one replay of the log from its first event on, in that order.

    ``sources``: names, and functions that give the snapshot or raise SnapshotError; None means
    all in the log's database. ``progress`` is called with the position reached and the last one.
    Raises LogCorruptError where the log is damaged. One snapshot at a time is in memory.
    """
    chosen = list(stored_sources(log) if sources is None else sources)
    verdicts = [_verdict(log, name, give) for name, give in chosen]
    found = sorted((v.seq, place) for place, v in enumerate(verdicts) if v.seq is not None)
    replayed = Projection(log.namespace)
    for seq, place in found:
        while (before := replayed.seq) < seq:
            catch_up(replayed, log, until=min(seq, before + STEP_EVENTS))
            if progress is not None:
                progress(replayed.seq, found[-1][0])
            assert replayed.seq > before, "a commit ends there, so the log reaches it"
        # Read again, rather than all kept in memory at a time.
        verdicts[place] = _verdict(log, *chosen[place], replayed)
    return verdicts


def stored_sources(
    log: EventLog, seqs: Iterable[int] | None = None
) -> Iterator[tuple[str, Callable[[], Snapshot]]]:
    """Sources for `verify` of snapshots in the log's database: of some positions, or all."""

    def source(seq: int) -> tuple[str, Callable[[], Snapshot]]:
        return str(seq), lambda: get(log, seq)

    chosen = [entry.seq for entry in log.snapshots.entries()] if seqs is None else seqs
    return (source(seq) for seq in chosen)


def find_flaw(snapshot: Snapshot, replayed: Snapshot) -> Flaw | None:
    """Where a snapshot first differs from another of the same position; None if nowhere."""
    return next(_flaws(snapshot, replayed), None)


def _verdict(
    log: EventLog, name: str, give: Callable[[], Snapshot], replayed: Projection | None = None
) -> SnapshotVerdict:
    """Whether it can be used and, given the replay up to its position, whether it is that."""
    try:
        snapshot = give()
        check_fits(log, snapshot)
    except SnapshotError as error:
        return SnapshotVerdict(name, None, error.problem)
    flaw = None if replayed is None else find_flaw(snapshot, take(replayed))
    return SnapshotVerdict(name, snapshot.seq, flaw=flaw)


def _flaws(snapshot: Snapshot, replayed: Snapshot) -> Iterator[Flaw]:
    for name in ("namespace", "seq", "at", "seal", "decided_at", "unknown"):
        yield from _unlike(name, None, getattr(snapshot, name), getattr(replayed, name))
    for name in ("counts", "reopened", "strange_ends", "strangers"):
        for kind, ours, theirs in _pairs(getattr(snapshot, name), getattr(replayed, name)):
            yield from _unlike(f"{name}.{kind}", None, ours, theirs)
    for number, ours, theirs in _pairs(snapshot.tasks, replayed.tasks):
        if ours is None or theirs is None:
            yield Flaw("number", number, ours and number, theirs and number)
        elif ours != theirs:
            for name in Task.__struct_fields__:
                yield from _unlike(name, number, getattr(ours, name), getattr(theirs, name))
    yield from _holder_flaws(snapshot.holders, replayed.holders)
    for field in ("members", "followers", "schedules"):
        for name, ours, theirs in _pairs(getattr(snapshot, field), getattr(replayed, field)):
            yield from _unlike(f"{field}.{name}", None, ours, theirs)


def _holder_flaws(snapshot: dict[str, Holder], replayed: dict[str, Holder]) -> Iterator[Flaw]:
    for worker, ours, theirs in _pairs(snapshot, replayed):
        place = f"holders.{worker}"
        if ours is None or theirs is None:
            yield Flaw(place, None, ours, theirs)
            continue
        for name in Holder.__struct_fields__:
            yield from _unlike(f"{place}.{name}", None, getattr(ours, name), getattr(theirs, name))


def _pairs(ours: dict[Any, Any], theirs: dict[Any, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Each name that one of the two has, with what it is in both."""
    return ((name, ours.get(name), theirs.get(name)) for name in sorted(ours.keys() | theirs))


def _unlike(name: str, task: int | None, ours: object, theirs: object) -> Iterator[Flaw]:
    if ours != theirs:
        yield Flaw(name, task, ours, theirs)
