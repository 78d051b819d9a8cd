"""Completing one attempt by itself, together with what else its commit holds, or not at all."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from eventq.core.command import Decision, Draft, PastTasks
from eventq.core.create import Making
from eventq.core.projection import Projection
from eventq.core.settle import Outcome, completion
from eventq.errors import AttemptCancelledError


class CompleteAttempt(Struct, frozen=True):
    """Completes one attempt whose lease is live; raises where it cannot, or make a task of it.

    What stands in the same commit is then not made either. Raises AttemptCancelledError, and what
    `Making.make` does.
    """

    outcome: Outcome
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[None]:
        """See Command.decide."""
        outcome = self.outcome
        task = projection.tasks.get(outcome.task)
        if task is None or task.fence != outcome.fence:
            raise AttemptCancelledError("its lease was lost before it completed")
        making = Making(projection, past, now)
        told: list[Draft] = [(task.number, body) for body in outcome.told]
        return Decision(told + completion(task, outcome, making, told), None)
