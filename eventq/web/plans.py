"""Plans of changes to many that somebody looks at: kept from the preview until they are applied.

What a plan is about is fixed when it is made. They end with the process; the log has what was done.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial

from msgspec import Struct

from eventq.catalog.plan import Applied, Plan
from eventq.core.values import Via
from eventq.errors import EventqError
from eventq.host.logger import SafeLogger
from eventq.web.access import Person, Right

# Each may hold the numbers of a million tasks.
PLANS_KEPT = 20
KEPT_S = 30 * 60.0
# A change that takes longer is told of as it goes on.
PATIENT_S = 1.5

logger = SafeLogger("eventq.web")


class PlanState(Struct, frozen=True):
    """How a plan stands."""

    applied: Applied | None = None
    """What became of it."""
    problem: str | None = None
    """Why it has not been made, or not all of it."""
    done: int = 0
    runs: bool = False


class KeptPlan:
    """A plan that one person has made."""

    def __init__(self, plan: Plan, person: Person, words: str, rights: frozenset[Right]) -> None:
        self.name = secrets.token_urlsafe(9)
        self.plan = plan
        self.person = person
        self.words = words
        """Which tasks it is about, as a person says it."""
        self.rights = rights
        """What applying it takes, each time that is asked."""
        self.made_s = time.monotonic()
        self.state = PlanState()
        self._lock = threading.Lock()
        self._future: Future[None] | None = None

    def apply(self, executor: ThreadPoolExecutor, by: str, reason: str, via: Via) -> None:
        """Begins to make the change, unless that has begun, and waits for a moment."""
        with self._lock:
            if self._future is None or (self.state.problem is not None and not self.state.runs):
                self.state = PlanState(runs=True)
                self._future = executor.submit(partial(self._run, by, reason, via))
            future = self._future
        wait([future], PATIENT_S)

    def _run(self, by: str, reason: str, via: Via) -> None:
        try:
            applied = self.plan.apply(by=by, reason=reason, via=via, progress=self._tell)
            self.state = PlanState(applied=applied, done=self.plan.count)
        except EventqError as error:
            self.state = PlanState(problem=str(error), done=self.state.done)
        except Exception as error:
            logger.exception("a change broke off", extra={"error": repr(error)})
            self.state = PlanState(problem="something went wrong here", done=self.state.done)

    def _tell(self, done: int, _of: int) -> None:
        self.state = PlanState(done=done, runs=True)


class PlanShelf:
    """The plans of a console. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: OrderedDict[str, KeptPlan] = OrderedDict()
        # One after the other: two changes to the same tasks would only get in each other's way.
        self._executor = ThreadPoolExecutor(1, "eventq-console-change")

    def put(self, kept: KeptPlan) -> str:
        """Keeps a plan for its person; returns the name that it goes by."""
        with self._lock:
            self._plans[kept.name] = kept
            while len(self._plans) > PLANS_KEPT:
                self._drop_one()
        return kept.name

    def get(self, name: str, person: Person) -> KeptPlan | None:
        """The plan of this name, for who has made it; None for others, and for one too old.

        It is of their lanes as they were then: for who may look into others now, it is none.
        """
        with self._lock:
            found = self._plans.get(name)
            if found is None or found.person.name != person.name:
                return None
            if found.person.lanes != person.lanes:
                return None
            if time.monotonic() - found.made_s > KEPT_S and not found.state.runs:
                del self._plans[name]
                return None
            return found

    def apply(self, kept: KeptPlan, reason: str) -> None:
        """Makes the change that a plan is of."""
        kept.apply(self._executor, kept.person.name, reason, kept.person.via)

    def close(self) -> None:
        """Waits for the change that is being made; those behind it are not. May come twice."""
        self._executor.shutdown(cancel_futures=True)

    def _drop_one(self) -> None:
        """The oldest that is not being made."""
        with suppress(StopIteration):
            del self._plans[next(name for name, kept in self._plans.items() if not kept.state.runs)]
