"""Attempts that outlive their run: the next run of the node goes on with them; none runs twice."""

from __future__ import annotations

from collections.abc import Iterable

from eventq.core.settle import Outcome
from eventq.host.logger import SafeLogger
from eventq.runner.attempt import Attempt, released
from eventq.runner.executors import Executor

logger = SafeLogger("eventq.runner")

# What workers are told, and why a lease is given back, when a run ends by an error.
BROKE_OFF = "the run broke off"


class Earlier:
    """Attempts of earlier runs that have not ended, and where they work.

    Those not revoked keep their lease, and are held by the run that goes on with them. None keeps a
    worker of that run.
    """

    def __init__(self) -> None:
        self._where: dict[Attempt, Executor] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._where)

    def __contains__(self, attempt: Attempt) -> bool:
        """Whether the attempt is one of them."""
        return attempt in self._where

    def take_over(
        self,
        executor: Executor,
        attempts: Iterable[Attempt],
        before: Earlier,
        unsettled: list[Outcome],
    ) -> list[Attempt]:
        """Takes what a run left in its executor, and what it had taken over; returns those it held.

        ``unsettled`` are the outcomes that it had taken in.
        """
        executor.take_back()
        known = {id(outcome) for outcome in unsettled}
        for attempt, where in (dict.fromkeys(attempts, executor) | before._where).items():
            # One that the executor has not begun will never begin.
            begun = attempt.begun_s is not None or attempt.handle is not None
            if begun and id(attempt.outcome) not in known:
                self._where[attempt] = where
        if self._where:
            keys = [attempt.task.key for attempt in self._where]
            values = {"tasks": keys}
            logger.warning(
                "workers of an earlier run have not ended: %(tasks)s", values, extra=values
            )
        return [attempt for attempt in self._where if not attempt.revoked]

    def take_ended(self) -> list[tuple[Attempt, Outcome | None]]:
        """Those that have ended since, with the outcome to settle; None where there is none."""
        ended: list[tuple[Attempt, Outcome | None]] = []
        for attempt, executor in list(self._where.items()):
            # Looked at first: what ended it while it lived has left an outcome.
            is_alive = executor.is_alive()
            if attempt.outcome is None and is_alive:
                continue
            del self._where[attempt]
            outcome = attempt.outcome
            if attempt.stopped:
                outcome = None if attempt.revoked else released(attempt, BROKE_OFF)
            ended.append((attempt, outcome))
        return ended

    def executors(self) -> set[Executor]:
        """Where they work."""
        return set(self._where.values())

    def executor_of(self, attempt: Attempt, others: Executor) -> Executor:
        """Where the attempt works; ``others`` for one that is none of them."""
        return self._where.get(attempt, others)

    def held_count(self) -> int:
        """How many of them have their lease."""
        return sum(not attempt.revoked for attempt in self._where)
