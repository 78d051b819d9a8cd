"""What must hold when one simulation is over, asked of the log, the nodes and what was written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from eventq.core.projection import Projection
from eventq.core.task import TaskState
from eventq.eventlog.memory import MemoryLog
from eventq.replay.fold import catch_up
from eventq.verify import verify
from tools.simulate.world import NAMESPACE

if TYPE_CHECKING:
    from tools.simulate.simulation import Simulation

# So many findings of one kind are enough.
FINDINGS = 3


class Finding(Struct, frozen=True):
    """One thing that must not be."""

    rule: str
    at: int
    """A position of the log, or a step."""
    text: str


def check_all(simulation: Simulation) -> list[Finding]:
    """All that is wrong with one simulation."""
    log = MemoryLog(simulation.world.storage, url="memory://truth", namespace=NAMESPACE)
    findings = [
        Finding(f"verify: {each.rule}", each.seq, each.problem)
        for each in verify(log, limit=FINDINGS).findings
    ]
    return findings


def open_left(simulation: Simulation) -> list[int]:
    return []
