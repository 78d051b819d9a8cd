"""A run at rest: the commit that creates a task may lease it for the run, which saves one commit.

Nothing here decides; whether a task may be leased says `lease_created` in core/lease.py.
"""

from __future__ import annotations

from eventq.core.audience import PLAIN_AUDIENCE, Audience
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.host.clock import Clock


class Standby:
    """Whether a run of this node waits for a task, and what was leased for it.

    Whoever leases or takes holds the node's lock, so that the run knows all that it holds. A lease
    that an interrupt keeps from it is one that nobody runs: the run gives those back.
    """

    def __init__(self, worker: str, clock: Clock) -> None:
        self.worker = worker
        self.ttl_us: int | None = None
        """For how long one task may be leased; None where no run waits."""
        self.audience = PLAIN_AUDIENCE
        """Which tasks may be leased."""
        self.leased_s = 0.0
        """When the last lease was decided. Monotonic seconds."""
        self._clock = clock
        self._leased: list[Task] = []

    @property
    def is_on(self) -> bool:
        """Whether a run waits, or has something to take."""
        return self.ttl_us is not None or bool(self._leased)

    def offer(self, audience: Audience, ttl_us: int) -> None:
        """Has one task of the audience leased, since a run waits that has a worker free."""
        self.audience, self.ttl_us = audience, ttl_us

    def note_decided(self) -> None:
        """Notes that a lease is decided; others may see it before its commit returns."""
        self.leased_s = self._clock.monotonic()

    def note_leased(self, task: Task) -> None:
        """Keeps a task for the run, whose free worker it is for; another one it has to offer."""
        self._leased.append(task)
        self.ttl_us = None

    def take(self, projection: Projection) -> list[Task]:
        """Ends it, and returns the tasks whose leases still hold."""
        self.ttl_us = None
        leased, self._leased = self._leased, []
        return [task for task in leased if _fence_of(projection, task.number) == task.fence]


def _fence_of(projection: Projection, number: int) -> int:
    task = projection.tasks.get(number)
    return 0 if task is None else task.fence
