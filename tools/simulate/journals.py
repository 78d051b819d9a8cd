"""What callers and workers of a simulation wrote down, in the lines that the history checker reads.

Left out is what such a line cannot tell: calls that make several tasks, or give them results.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tools.history.checker import Checker
from tools.history.clients import judge_clients
from tools.history.facts import Finding
from tools.history.journals import Line, calls_of
from tools.history.workers import judge_workers

# What the checker says of work that nobody has settled.
UNTOLD = "was done, and no event says so"
# Calls that are done in one commit or not at all.
EDITS = frozenset({"cancel", "retry", "update"})

if TYPE_CHECKING:
    from tools.simulate.clients import Call
    from tools.simulate.simulation import Simulation


def judge_journals(simulation: Simulation, checker: Checker) -> list[Finding]:
    """What does not fit between these lines and the log that the checker has read."""
    found = judge_workers(checker, _of_workers(simulation))
    # A run here may sleep for longer than such a journal allows for; executors know when it looked.
    found = [each for each in found if each.invariant != "deadline"]
    if simulation.world.cuts or "unfollowed" in checker.kinds:
        # It may have missed what was archived, or come anew.
        found = [each for each in found if each.invariant != "follower"]
    # An attempt may outlive the run that its node has left, and the process then dies.
    effects = (effect for host in simulation.hosts for effect in host.effects)
    untold = {each.fence for each in effects if each.node in simulation.world.dead}
    found = [each for each in found if not (each.seq in untold and each.text.endswith(UNTOLD))]
    calls = calls_of(_of_clients(simulation))
    return found + judge_clients(checker, calls)


def _of_clients(simulation: Simulation) -> Iterator[Line]:
    for call in simulation.clients.calls:
        if call.what in EDITS:
            yield from _of_edit(call)
        for place, (key, tags, is_unique) in enumerate(call.asked):
            name = f"c{call.number}-{place}"
            line = {"call": name, "op": "new", "key": key, "tags": tags, "unique": is_unique}
            yield {**line, "state": "invoked"}
            if call.status == "ok" and len(call.made) == len(call.asked):
                yield {"call": name, "state": "ok", "task": call.made[place]}
            elif call.status in {"failed", "refused"}:
                yield {"call": name, "state": "failed"}


def _of_edit(call: Call) -> Iterator[Line]:
    """One that changes one task, if anything: the log names it as whoever did that."""
    name = f"c{call.number}"
    yield {"call": name, "op": call.what, "state": "invoked"}
    if call.status == "ok":
        yield {"call": name, "state": "ok", "changed": False}
    elif call.status in {"failed", "refused"}:
        yield {"call": name, "state": "failed"}


def _of_workers(simulation: Simulation) -> Iterator[Line]:
    for host in simulation.hosts:
        for effect in host.effects:
            line = {"what": effect.what, "task": effect.task, "fence": effect.fence}
            line |= {"node": effect.node, "clock": effect.at_us}
            yield line if effect.what == "start" else {**line, "outcome": effect.outcome}
    if simulation.are_clocks_right and all(host.clock.rate == 1 for host in simulation.hosts):
        for each in simulation.world.appended:
            line = {"what": "append", "first": each.commit.first, "last": each.commit.last}
            yield {**line, "began": each.at_us, "clock": each.at_us}
    for name, positions in simulation.workloads.workers.followed.items():
        for seq in positions:
            yield {"what": "called", "follower": name, "seq": seq}
