"""Rules 11 and 12: what nodes have folded, and what snapshots bring back, is what the log says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventq.core.projection import Projection
from eventq.eventlog import EventLog
from eventq.replay.fold import catch_up
from eventq.snapshot import restore, take
from tools.simulate.world import NAMESPACE, Finding

if TYPE_CHECKING:
    from tools.simulate.simulation import Simulation


def check_folds(simulation: Simulation, log: EventLog) -> list[Finding]:
    """Rules 11 and 12: every node's fold is the log's, and its indexes are as a recount says."""
    fresh = Projection(NAMESPACE)
    catch_up(fresh, log)
    now = fresh.decided_at
    fresh.advance_to(now)
    findings = []
    expected = said_of(fresh)
    try:
        fresh.check()
    except AssertionError as error:
        findings.append(Finding("indexes", fresh.seq, f"a fresh fold: {error}"))
    for host in simulation.hosts:
        if host.process is None or host.is_retired:
            continue
        with host.process.node.reading() as projection:
            projection.advance_to(now)
            try:
                projection.check()
            except AssertionError as error:
                text = f"{host.process.name}: {error!r}"
                findings.append(Finding("indexes", projection.seq, text))
            for (name, ours), (_, theirs) in zip(expected, said_of(projection), strict=True):
                if ours != theirs:
                    text = f"{host.process.name} has other {name} than a replay"
                    findings.append(Finding("fold", projection.seq, text))
    return findings


def check_nodes(simulation: Simulation) -> list[Finding]:
    """Rules 11 and 12, as each node stands; what calm brings may put right what is wrong."""
    findings = []
    for host in simulation.hosts:
        known = None if host.process is None else host.process.node._folded.projection  # noqa: SLF001 - a look that reads nothing
        if known is None:
            continue
        try:
            known.check()
        except AssertionError as error:
            findings.append(Finding("indexes", known.seq, f"{host.name}: {error!r}"))
        findings += check_snapshot(known)
    return findings


def check_snapshot(projection: Projection) -> list[Finding]:
    """Rule 11: what a snapshot brings back is what it was taken of."""
    restored = restore(take(projection))
    return [
        Finding("snapshot", projection.seq, f"it brings back other {name} than it was taken of")
        for (name, ours), (_, theirs) in zip(said_of(restored), said_of(projection), strict=True)
        if ours != theirs
    ]


def said_of(projection: Projection) -> list[tuple[str, object]]:
    """All that a projection says."""
    governing = projection.governing
    return [
        ("end", (projection.seq, projection.at, projection.seal)),
        ("unknown", (projection.unknown, projection.unknown_count)),
        ("tasks", projection.tasks),
        ("counts", (projection.counts, projection.reopened)),
        ("holders", projection.holders),
        ("members", projection.members.by_name),
        ("followers", projection.followers),
        ("schedules", projection.schedules.by_name),
        ("waits", (projection.waits.by_task, projection.waits.by_predecessor)),
        ("doomed", (list(projection.waits.doomed), projection.waits.unneeded)),
        ("reviving", (list(projection.waits.expiring), list(projection.waits.reviving))),
        ("flows", projection.flows.by_number),
        ("strangers", (projection.strangers, projection.strange_ends)),
        ("limits", governing.limits.by_name),
        ("instants", governing.limits.instants(projection.decided_at)),
        (
            "uses",
            {bucket: use.running for bucket, use in governing.limits.uses.items() if use.running},
        ),
        ("pauses", governing.pauses.by_scope),
        ("turns", (governing.turns.shared, governing.turns.by_priority())),
        ("order", [task.number for task in projection.ready(projection.decided_at)]),
    ]
