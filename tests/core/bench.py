"""What the tests of deciding share: a small queue to arrange, and plain orders."""

from __future__ import annotations

from eventq.core.audience import PLAIN_AUDIENCE, Audience
from eventq.core.create import NewTask
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.core.values import ErrorInfo, Policy
from tests import deciding as decide
from tests.driver import memory_log, record

PLAIN = Policy("linear", 10)
AGING = Policy("linear", 10, max_age_us=50)
ERROR = ErrorInfo("OSError", "disk")
TTL = 30


class Bench:
    """A log and its projection, for arranging what a test decides about."""

    def __init__(self) -> None:
        self.log = memory_log()
        self.projection = Projection(self.log.namespace)

    def have(self, *orders: NewTask, now: int = 100) -> list[int]:
        """Creates tasks; gives their numbers."""
        drafts, places = decide.create(list(orders), {}, now=now, projection=self.projection)
        first = self.projection.seq + 1
        record(self.log, self.projection, drafts, now=now)
        return [first - 1 - place for place in places]

    def lease(
        self,
        worker: str = "n",
        count: int = 100,
        now: int = 100,
        audience: Audience = PLAIN_AUDIENCE,
    ) -> list[int]:
        """Leases tasks; gives the fences."""
        drafts = decide.lease(
            self.projection,
            worker=worker,
            ttl_us=TTL,
            wanted=Vacancy(count),
            room=1_000,
            now=now,
            audience=audience,
        )
        first = self.projection.seq + 1
        record(self.log, self.projection, drafts, now=now)
        return list(range(first, first + len(drafts)))


def order(priority: int = 0, **options: object) -> NewTask:
    """A plain order."""
    return NewTask(**{"tags_json": b"{}", "policy": PLAIN, "priority": priority, **options})  # type: ignore[arg-type]
