"""Proving snapshots: each must be what the log folds to from the first event on.

The fold is deterministic, so a snapshot that is equal to the replay up to its position leads, with
any tail, to what the replay leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Struct

from eventq.core.projection import Holder, Projection
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
    verdicts: dict[int, SnapshotVerdict] = {}
    found: list[tuple[int, int]] = []
    for place, (name, give) in enumerate(chosen):
        snapshot = _usable(log, give)
        if isinstance(snapshot, SnapshotError):
            verdicts[place] = SnapshotVerdict(name, None, snapshot.problem)
        else:
            found.append((snapshot.seq, place))
    replayed = Projection(log.namespace)
    end = max(found, default=(0, 0))[0]
    for seq, place in sorted(found):
        _fold_to(replayed, log, seq, end, progress)
        name, give = chosen[place]
        verdicts[place] = _compared(name, give, replayed)
    return [verdicts[place] for place in range(len(chosen))]


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


def _usable(log: EventLog, give: Callable[[], Snapshot]) -> Snapshot | SnapshotError:
    try:
        snapshot = give()
        check_fits(log, snapshot)
    except SnapshotError as error:
        return error
    return snapshot


def _compared(name: str, give: Callable[[], Snapshot], replayed: Projection) -> SnapshotVerdict:
    try:
        # Read again, rather than all kept in memory at a time.
        snapshot = give()
    except SnapshotError as error:
        return SnapshotVerdict(name, None, error.problem)
    return SnapshotVerdict(name, snapshot.seq, flaw=find_flaw(snapshot, take(replayed)))


def _fold_to(
    projection: Projection,
    log: EventLog,
    seq: int,
    end: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    while projection.seq < seq:
        before = projection.seq
        catch_up(projection, log, until=min(seq, before + STEP_EVENTS))
        if progress is not None:
            progress(projection.seq, end)
        assert projection.seq > before, "a commit ends at the position, so the log reaches it"


def _flaws(snapshot: Snapshot, replayed: Snapshot) -> Iterator[Flaw]:
    for name in ("namespace", "seq", "at", "seal", "unknown"):
        yield from _pair(name, None, getattr(snapshot, name), getattr(replayed, name))
    for name in ("counts", "reopened"):
        ours, theirs = getattr(snapshot, name), getattr(replayed, name)
        for kind in sorted(ours.keys() | theirs.keys()):
            yield from _pair(f"{name}.{kind}", None, ours.get(kind), theirs.get(kind))
    if snapshot.tasks != replayed.tasks:
        for number in sorted(snapshot.tasks.keys() | replayed.tasks.keys()):
            ours, theirs = snapshot.tasks.get(number), replayed.tasks.get(number)
            yield from _task_flaws(number, ours, theirs)
    for worker in sorted(snapshot.holders.keys() | replayed.holders.keys()):
        yield from _holder_flaws(worker, snapshot.holders.get(worker), replayed.holders.get(worker))


def _task_flaws(number: int, ours: Task | None, theirs: Task | None) -> Iterator[Flaw]:
    if ours is None or theirs is None:
        if ours is not theirs:
            yield Flaw("number", number, ours and number, theirs and number)
        return
    for name in Task.__struct_fields__:
        yield from _pair(name, number, getattr(ours, name), getattr(theirs, name))


def _holder_flaws(worker: str, ours: Holder | None, theirs: Holder | None) -> Iterator[Flaw]:
    if ours is None or theirs is None:
        if ours is not theirs:
            yield Flaw(f"holders.{worker}", None, ours, theirs)
        return
    for name in Holder.__struct_fields__:
        yield from _pair(
            f"holders.{worker}.{name}", None, getattr(ours, name), getattr(theirs, name)
        )


def _pair(name: str, task: int | None, ours: object, theirs: object) -> Iterator[Flaw]:
    if ours != theirs:
        yield Flaw(name, task, ours, theirs)
