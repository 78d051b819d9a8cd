"""How a simulated attempt will end: as recorded, or by rules and chance beyond the trace.

Chance depends on the seed, the task and the attempt's number alone, not on what else happened, so
that two policies are compared on the same luck.
"""

from __future__ import annotations

import random
from typing import Any

from msgspec import Struct

from eventq.core.settle import Outcome
from eventq.core.task import Task
from eventq.core.values import ErrorInfo
from eventq.sandbox.whatif.suppositions import RuleChanges
from eventq.sandbox.whatif.trace import (
    ASKED,
    CALLED_OFF,
    CANCELLED,
    COMPLETED,
    FAILED,
    LATE,
    NONE,
    RELEASED,
    UNENDED,
    Trace,
)

FAILURE = ErrorInfo("eventq.WhatIf", "as recorded")
FAILURES = frozenset({FAILED, ASKED, LATE})


class Changes(Struct, frozen=True):
    """What is other than it was. ``policy`` holds the fields of Policy that are replaced."""

    policy: dict[str, Any] = {}
    fail_rate: float | None = None
    """The share of unrecorded attempts that fail; None goes by the task's last recorded one."""
    by_group: bool = False
    """Whether tasks are created with the priority of their group, not with their own."""
    rules: RuleChanges = RuleChanges()


class Predicted(Struct, frozen=True, gc=False):
    """An attempt to come: how long it takes, how it ends, and its own wait for a retry or NONE."""

    length_us: int
    ending: int
    delay_us: int
    is_drawn: bool = False


class OutcomeModel:
    """Says of each attempt at its beginning how it will end."""

    def __init__(self, trace: Trace, changes: Changes, *, seed: int) -> None:
        self._trace = trace
        self._changes = changes
        self._seed = seed
        rate = changes.fail_rate
        self._fail_rate = trace.fail_rate if rate is None else rate

    def predict(self, task: Task, place: int, attempt: int, *, now: int) -> Predicted:
        """The leased task's attempt: the recorded one at ``attempt``, or NONE for one beyond."""
        trace = self._trace
        if attempt == NONE:
            found = self._draw(place, task.attempt)
        else:
            found = Predicted(
                trace.lengths_us[attempt], trace.endings[attempt], trace.delays_us[attempt]
            )
        return self._limited(task, found, now)

    def outcome(self, task: Task, place: int, predicted: Predicted) -> Outcome:
        """What the node hears when the attempt ends."""
        if predicted.ending == CANCELLED:
            return Outcome(task.number, task.fence, "cancelled")
        if predicted.ending == RELEASED:
            delay_us = predicted.delay_us or None
            return Outcome(task.number, task.fence, "released", delay_us=delay_us)
        if predicted.ending not in FAILURES:
            return Outcome(task.number, task.fence, "completed")
        # A wait that the worker or a lapse asked for is no matter of the policy.
        recorded = predicted.delay_us != NONE and (
            predicted.ending == ASKED or "backoff" not in self._changes.policy
        )
        return Outcome(
            task.number,
            task.fence,
            "failed",
            error=FAILURE,
            delay_us=predicted.delay_us if recorded else None,
            draw=self._chance(place, -task.attempt).random() if task.policy.jitter else 0.0,
        )

    def _draw(self, place: int, number: int) -> Predicted:
        """An attempt of which the trace says nothing.

        It takes as long as one of the task's own, or else of all, and ends as the task's last one
        did; where there is none, or a rate is given, chance decides.
        """
        trace, chance = self._trace, self._chance(place, number)
        own = [each for each in trace.attempts_of(place) if trace.endings[each] not in UNENDED]
        attempt = chance.choice(own) if own else trace.ended[chance.randrange(len(trace.ended))]
        if own and self._changes.fail_rate is None:
            ending = trace.endings[own[-1]]
            # How one that was called off would have ended is unknown.
            ending = COMPLETED if ending == CALLED_OFF else ending
        else:
            ending = FAILED if chance.random() < self._fail_rate else COMPLETED
        # Not zero, so that time goes on whatever the policy.
        return Predicted(max(1, trace.lengths_us[attempt]), ending, NONE, is_drawn=True)

    def _limited(self, task: Task, found: Predicted, now: int) -> Predicted:
        """What the deadline and the expiry leave of an attempt."""
        length_us, ending = found.length_us, found.ending
        if ending in UNENDED:
            # What the record does not tell, no deadline changes.
            return found
        deadline_us = self._changes.policy.get("deadline_us")
        # One that ran into its deadline is known no further: it runs into any other too.
        if deadline_us is not None and (ending == LATE or length_us > deadline_us):
            length_us, ending = deadline_us, LATE
        if task.expires_at_us is not None and now + length_us > task.expires_at_us:
            length_us, ending = task.expires_at_us - now, LATE
        if ending == found.ending and length_us == found.length_us:
            return found
        return Predicted(length_us, ending, found.delay_us, found.is_drawn)

    def _chance(self, place: int, number: int) -> random.Random:
        return random.Random(f"{self._seed}:{place}:{number}")  # noqa: S311 - guards nothing
