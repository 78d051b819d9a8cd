"""What must hold when a simulation is over, asked of log, nodes and what was written down.

Each check reads evidence that does not come from what it checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from eventq.archive import Archive, ArchivedLog
from eventq.core.audience import Audience
from eventq.core.commits import OF_FOLLOWERS, AnyBody, Unknown, decode_bodies
from eventq.core.durations import SECOND_US
from eventq.core.events import Completed, Created, Failed, Leased, Released
from eventq.core.projection import Projection
from eventq.core.queue_events import Followed, Renewed, Unfollowed
from eventq.core.task import TaskState
from eventq.core.values import LAPSED
from eventq.eventlog import EventLog
from eventq.eventlog.memory import MemoryLog
from eventq.verify import verify
from tools.history.checker import Checker, RawCommit
from tools.simulate.folds import check_folds
from tools.simulate.journals import judge_journals
from tools.simulate.reached import reached
from tools.simulate.world import NAMESPACE, Finding

if TYPE_CHECKING:
    from tools.simulate.simulation import Simulation

# Why a node gives a lease back that it has no attempt of.
NOBODY = "nobody runs it"
# Once faults have ended for so long, all that is past its time has expired.
EXPIRED_US = 10 * SECOND_US
# So many findings of one kind are enough.
MOST = 3
# Clocks drift by this at the most: a lapse may come so much earlier by the true time.
FASTEST = 1.11
# Of a lease time, as much as that.
LAPSE_SLACK = 1 - 1 / FASTEST
# What a clock that drifts rounds off, from one reading to the next, in microseconds.
ROUNDED_US = 1_000


class Said(Struct, frozen=True):
    """When an event was appended."""

    at_us: int
    """The true time."""
    decided_at: int
    """What its node took for the time."""
    looks_since_us: int
    """Since when its node has watched the others."""


class EarlyLapse(Struct, frozen=True):
    """A lapse before the lease time was over, by the true time."""

    seq: int
    task: int
    passed_us: int
    """Since the last sign of life."""
    ttl_us: int
    is_by_stamps: bool
    """Its node had just begun, and went by the log's stamps, which allow it."""


class Facts:
    """The whole log, decoded once."""

    def __init__(self, simulation: Simulation) -> None:
        self.bodies: list[tuple[int, int, AnyBody | Unknown]] = []
        """(position, task, body) of every event that the log has taken."""
        self.by: list[Said] = []
        """When each of them was appended, and by what time it was decided."""
        for each in simulation.world.appended:
            commit, bodies = each.commit, decode_bodies(each.commit.bodies)
            decided_at = commit.at
            if type(bodies[0]) is not Unknown and bodies[0].decided_at is not None:
                decided_at = bodies[0].decided_at
            said = Said(each.at_us, decided_at, each.looks_since_us)
            for seq, (task, body) in enumerate(
                zip(commit.tasks, bodies, strict=True), commit.first
            ):
                self.bodies.append((seq, task, body))
                self.by.append(said)


def check_all(simulation: Simulation) -> list[Finding]:
    """All that is wrong with one simulation."""
    world = simulation.world
    log: EventLog = MemoryLog(world.storage, url="memory://truth", namespace=NAMESPACE)
    if simulation.faults.archive is not None and log.start().seq:
        log = ArchivedLog(log, Archive(simulation.faults.archive.name, namespace=NAMESPACE))
    facts = Facts(simulation)
    world.sometimes.update(reached(facts))
    findings = [
        Finding(f"verify: {each.rule}", each.seq, each.problem)
        for each in verify(log, limit=MOST + len(simulation.faults.foreign)).findings
        if each.rule != "unknown"
    ]
    findings += _history(simulation, facts)
    findings += check_folds(simulation, log)[:MOST]
    for check in (_appended, _calls, _effects, _followers, _lapses):
        findings += list(check(simulation, facts))[:MOST]
    findings += list(simulation.clients.outboxes.judge(_keys_of(facts)))[:MOST]
    findings += list(check_overdue(simulation))[:MOST]
    return findings


def _history(simulation: Simulation, facts: Facts) -> list[Finding]:
    """What the history checker says, which shares no code with eventq."""
    by_stamps = {each.seq for each in early_lapses(simulation, facts) if each.is_by_stamps}
    newer = {"future"} if simulation.faults.foreign else ()
    checker = Checker(NAMESPACE, newer=newer, lapse_slack=LAPSE_SLACK, retries_by_policy=True)
    for each in simulation.world.appended:
        commit = each.commit
        raw = RawCommit(
            commit.id,
            commit.first,
            commit.at,
            commit.prev,
            commit.seal,
            commit.tasks,
            commit.keys,
            commit.bodies,
        )
        checker.add(raw, true_at=each.at_us)
    found = checker.finish(drained_at=_drained_at(simulation))
    if not simulation.faults.foreign:
        found = [*found, *judge_journals(simulation, checker)]
    # What was cancelled and is archived does not come back with what had cancelled it.
    archived_seq = max((cut for _, cut in simulation.world.cuts), default=0)
    return [
        Finding(f"history: {each.invariant}", each.seq or 0, each.text)
        for each in found
        if each.invariant not in _not_asked(simulation)
        and not (each.invariant == 13 and each.seq in by_stamps)
        and not (each.invariant == 14 and 0 < (each.seq or 0) <= archived_seq)
    ][:MOST]


def _not_asked(simulation: Simulation) -> set[int | str]:
    """The invariants that cannot be asked of this simulation."""
    found: set[int | str] = set()
    if not simulation.are_clocks_right:
        # A pause that a stamp far ahead has ended is over for nodes, and not for the checker; and
        # a node may be behind a stamp by less than a minute once its clock has jumped.
        found |= {7, "clock"}
    if simulation.world.cuts:
        # What is archived is not looked at for an outcome that comes so late: it is refused anew.
        found.add(15)
    return found


def _drained_at(simulation: Simulation) -> int | None:
    """When all must have ended by the log; None where something waits that nobody here takes."""
    world, first = simulation.world, simulation.hosts[0]
    if not simulation.is_drained or not simulation.are_clocks_right or not world.appended:
        return None
    if simulation.faults.foreign or simulation.workloads.are_plain or first.is_retired:
        return None
    return world.appended[-1].commit.at


def open_left(simulation: Simulation) -> list[int]:
    """The tasks that should have come to an end, and have not."""
    live = [host.process for host in simulation.hosts if host.process and not host.is_retired]
    if simulation.faults.has_newer_queue:
        # Whoever works stops.
        return [0 for host in simulation.hosts if host.plan.workload and not host.is_retired]
    audiences = [
        host.plan.workload.audience
        for host in simulation.hosts
        if host.plan.workload is not None and not host.is_retired
    ]
    if not audiences:
        return []
    with live[0].node.reading() as projection:
        excused = _excused(projection, audiences)
        return [number for number in projection.tasks if number not in excused]


def _excused(projection: Projection, audiences: list[Audience]) -> set[int]:
    """Tasks that wait without end, as they should."""
    tasks, waits = projection.tasks, projection.waits
    routes = {task.route for task in tasks.values()}
    taken = {route for route in routes if any(each.accepts(route) for each in audiences)}
    excused = {
        number
        for number, task in tasks.items()
        if task.recorded_state is TaskState.UNKNOWN or task.route not in taken
    }
    excused.update(
        number
        for number, wait in waits.by_task.items()
        if wait.failed and tasks[number].if_failed == "hold"
    )
    before = -1
    while before != len(excused):
        before = len(excused)
        flows = {tasks[number].flow for number in excused if tasks[number].flow is not None}
        for number, wait in waits.by_task.items():
            task = tasks[number]
            if not excused.isdisjoint(wait.open) or (task.role != "member" and task.flow in flows):
                excused.add(number)
    return excused


def _appended(simulation: Simulation, _: Facts) -> Iterable[Finding]:
    """Rule 2: what was acknowledged is there as it was, and what was refused is nowhere."""
    world = simulation.world
    ids = Counter(each.commit.id for each in world.appended)
    for identity, count in ids.items():
        if count > 1 or identity in world.refused_ids:
            yield Finding("append", 0, f"commit {identity} was refused, or is there twice")
    stored = world.storage.commits.get(NAMESPACE, [])
    kept = [each.commit for each in world.appended][len(world.appended) - len(stored) :]
    if kept != stored:
        yield Finding("append", 0, "the log does not hold what it has taken")


def _calls(simulation: Simulation, facts: Facts) -> Iterable[Finding]:
    """What callers were told is so: ok is there, refused or failed is not, unknown at most once."""
    marks: Counter[int] = Counter()
    created = set()
    for seq, _, body in facts.bodies:
        if type(body) is Created:
            created.add(seq)
            if body.repeats is None:
                mark = msgspec.json.decode(body.tags).get("mark")
                if mark is not None:
                    marks[mark] += 1
    for call in simulation.clients.calls:
        found = sum(marks[mark] for mark in call.marks)
        if any(marks[mark] > 1 for mark in call.marks):
            yield Finding("call", call.number, f"{call.what} ({call.status}) was done twice")
        if found and call.status in {"refused", "failed"}:
            yield Finding("call", call.number, f"{call.what} was {call.status}, and is in the log")
        for number in call.made:
            if number not in created:
                yield Finding("call", call.number, f"{call.what} returned {number}, not in the log")


def _keys_of(facts: Facts) -> dict[str, list[int]]:
    """The tasks with each key."""
    found: dict[str, list[int]] = {}
    for seq, _, body in facts.bodies:
        if type(body) is Created and body.key is not None:
            found.setdefault(body.key, []).append(seq)
    return found


def _effects(simulation: Simulation, facts: Facts) -> Iterable[Finding]:
    """Rule 15: what was run had been leased, what completed had been run, each attempt once."""
    leased = {seq: (task, body.worker) for seq, task, body in facts.bodies if type(body) is Leased}
    begun: Counter[int] = Counter()
    ended = set()
    for host in simulation.hosts:
        for effect in host.effects:
            if effect.what == "end":
                ended.add(effect.fence)
                continue
            begun[effect.fence] += 1
            if leased.get(effect.fence) != (effect.task, effect.node):
                yield Finding("effect", effect.fence, f"{effect.node} ran what it had not leased")
    for fence, count in begun.items():
        if count > 1:
            yield Finding("effect", fence, "one attempt was begun twice")
    for seq, task, body in facts.bodies:
        if type(body) is Completed and body.fence not in ended:
            yield Finding("effect", seq, f"task {task} completed, and nobody has run it")
        if type(body) is Released and body.reason == NOBODY and body.fence in ended:
            yield Finding("effect", seq, f"task {task} was run, and its outcome is lost")


def _followers(simulation: Simulation, facts: Facts) -> Iterable[Finding]:
    """Each follower was called for all that it follows, in order, at least once."""
    follows = {each.name: each for host in simulation.hosts for each in host.plan.follows}
    for name, follow in follows.items():
        of_it = [
            (seq, type(body))
            for seq, _, body in facts.bodies
            if isinstance(body, (Followed, Unfollowed)) and body.follower == name
        ]
        dropped = max((seq for seq, kind in of_it if kind is Unfollowed), default=0)
        begun = next((seq for seq, kind in of_it if kind is Followed and seq > dropped), None)
        if begun is None and dropped:
            # No run has begun anew since.
            continue
        # What was cut before the log knew of it, it has missed.
        cuts = [cut for end, cut in simulation.world.cuts if end < (begun or 0)]
        since = max(cuts, default=0)
        wanted = [
            seq
            for seq, _, body in facts.bodies[since : simulation.drained_seq]
            if type(body) is not Unknown
            and body.kind not in OF_FOLLOWERS
            and (follow.kinds is None or body.kind in follow.kinds)
        ]
        called = simulation.workloads.workers.followed.get(name, [])
        missed = set(wanted).difference(called)
        if missed and simulation.is_drained and not simulation.faults.has_newer_queue:
            yield Finding(
                "follower", min(missed), f"{name} was not called for {len(missed)} events"
            )
        first = list(dict.fromkeys(called))
        if first != sorted(first):
            yield Finding("follower", first[0], f"{name} was called out of order")


def _lapses(simulation: Simulation, facts: Facts) -> Iterable[Finding]:
    """Rule 13: nothing lapses before its ttl has passed since its node's last sign."""
    for each in early_lapses(simulation, facts):
        if not each.is_by_stamps and each.passed_us < each.ttl_us * (1 - LAPSE_SLACK):
            passed_s = each.passed_us / SECOND_US
            yield Finding("lapse", each.seq, f"task {each.task} lapsed {passed_s} s after a sign")


def check_overdue(simulation: Simulation) -> Iterator[Finding]:
    """Rule 14: what was past its time when faults ended has expired, whatever it waits for."""
    world, faults, calm_us = simulation.world, simulation.faults, simulation.calm_us
    working = [
        host.process.node
        for host in simulation.hosts
        if host.process is not None and host.plan.workload is not None and not host.is_retired
    ]
    if not simulation.is_drained or not simulation.are_clocks_right or faults.has_newer_queue:
        return
    if not working or world.now_us < calm_us + EXPIRED_US:
        return
    with working[0].reading() as projection:
        for number, task in projection.tasks.items():
            is_over = task.expires_at_us is not None and task.expires_at_us <= calm_us
            if is_over and task.recorded_state is not TaskState.UNKNOWN:
                yield Finding("overdue", projection.seq, f"task {number} is past its time")


def early_lapses(simulation: Simulation, facts: Facts) -> Iterator[EarlyLapse]:
    """Lapses before their time, however little that is: the history checker minds each.

    At its first look, a node takes a sign for as old as the log's stamps say; all that comes later
    it measures itself, whatever its wall clock does.
    """
    signs: dict[str, tuple[int, int, int]] = {}
    holder: dict[int, str] = {}
    for (seq, task, body), said in zip(facts.bodies, facts.by, strict=True):
        if type(body) is Leased:
            signs[body.worker] = said.at_us, said.decided_at, body.ttl_us
            holder[task] = body.worker
        elif type(body) is Renewed:
            signs[body.worker] = said.at_us, said.decided_at, body.ttl_us
        elif type(body) is Failed and body.error.type == LAPSED:
            seen_us, seen_at, ttl_us = signs[holder[task]]
            passed_us = said.at_us - seen_us
            if passed_us < ttl_us:
                is_first = seen_us <= said.looks_since_us
                by_stamps_us = said.decided_at - seen_at
                agree = not simulation.are_clocks_right or by_stamps_us >= ttl_us - ROUNDED_US
                yield EarlyLapse(seq, task, passed_us, ttl_us, is_first and agree)
