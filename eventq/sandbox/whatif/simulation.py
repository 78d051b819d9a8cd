"""Recorded arrivals and run times under a policy, in virtual time; no log and no clock is read.

What is decided is decided by `core` on a projection, as a node does; here are only the arrivals,
the workers' time, and the chance that stands in for what no trace can know.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from eventq.core.audience import EVERYTHING
from eventq.core.cascade import cancel_doomed
from eventq.core.command import NEW, Draft
from eventq.core.commits import KIND_OF, OF_RULES, AnyRule, Commit, encode_bodies
from eventq.core.events import Cancelled, Created, Failed, Leased, Reopening, Retried
from eventq.core.lease import can_lease, lease
from eventq.core.manage import CancelTask
from eventq.core.places import Vacancy
from eventq.core.projection import END_KINDS, Projection
from eventq.core.settle import Outcome, settle
from eventq.core.task import Task
from eventq.core.values import COMMIT_EVENTS, NODE, Policy, Predecessor
from eventq.errors import ArgumentError, NotAllowedError
from eventq.sandbox.whatif.arrivals import Arrival
from eventq.sandbox.whatif.edits import edits_of, governed_fields
from eventq.sandbox.whatif.metrics import Metrics, Numbers
from eventq.sandbox.whatif.outcome_model import Changes, OutcomeModel, Predicted
from eventq.sandbox.whatif.ready_since import ReadySince
from eventq.sandbox.whatif.supposed_dues import SupposedDues
from eventq.sandbox.whatif.trace import CALLED_OFF, NONE, RELEASED, RUNNING, Trace

# The one node of a simulation takes all names and lanes, and its leases need no renewal.
NODE_NAME = "whatif"
# More leases than a queue ever grants.
ANY_NUMBER = 2**53
TTL_US = 2**53
# A policy that makes more attempts than so many times the recorded ones never comes to an end.
ATTEMPTS_FACTOR, ATTEMPTS_SPARE = 50, 100_000
NEVER = 2**63
# Stands for a task that has failed and has no number any more.
NO_TASK = 0
# Why a task ends that the trace leaves open.
LET_GO = "the trace ends"


class _Live(Struct):
    """An open task's place in the trace, and its next recorded attempt."""

    place: int
    attempt: int


class Simulation:
    """One run over a trace; `run` once. The same arguments give the same numbers."""

    def __init__(
        self,
        trace: Trace,
        changes: Changes,
        *,
        workers: int | None,
        seed: int,
        dues: SupposedDues | None = None,
    ) -> None:
        """``dues`` are those that are supposed, which are among the arrivals then."""
        self._trace = trace
        self._changes = changes
        self._model = OutcomeModel(trace, changes, seed=seed)
        self._metrics = Metrics()
        self._projection = Projection("default")
        self._now = 0
        # How many workers there are from when on, and where in it the present is.
        self._capacity = trace.capacity(workers)
        self._span = 0
        # Limits, pauses and turns cost each task its tags, and each instant a choice on trial.
        self._is_governed = trace.is_governed or changes.rules.is_any
        self._ready_since = ReadySince(self._projection)
        self._dues = dues
        self._policies: dict[Policy, Policy] = {}
        self._let_go: set[int] = set()
        self._most_attempts = ATTEMPTS_SPARE + ATTEMPTS_FACTOR * len(trace.lengths_us)
        # Open tasks: by their number here, and the number here by the place in the trace.
        self._live: dict[int, _Live] = {}
        self._numbers: dict[int, int] = {}
        # The flows here, by their numbers in the trace.
        self._flows: dict[int, int] = {}
        # Tasks that a retry by hand may bring back: how they ended, by the place in the trace.
        self._reopenable: dict[int, str] = {}
        # Ends of attempts to come: (instant, order, number, what happens).
        self._ends: list[tuple[int, int, int, Predicted]] = []

    def run(self, arrivals: Iterable[Arrival]) -> Numbers:
        """Lets all arrive, and goes on until nothing is left that the trace knows of.

        Raises ArgumentError for a policy under which attempts never end.
        """
        self._now = self._trace.begun_at
        rules = self._changes.rules
        self._apply([(NODE, body) for body in rules.first(self._trace.limits_said)])
        for body in self._trace.said:
            self._govern(body)
        coming = iter(arrivals)
        following = next(coming, None)
        while (now := self._next_instant(following)) is not None:
            self._now = now
            while following is not None and following.at <= now:
                following = self._arrive(following, coming)
            self._step()
        return self._metrics.numbers(workers=max(workers for _, workers in self._capacity))

    # When something happens next.

    def _next_instant(self, following: Arrival | None) -> int | None:
        instants = [] if following is None else [following.at]
        if self._ends:
            instants.append(self._ends[0][0])
        projection, now = self._projection, self._now
        if projection.waits.doomed:
            instants.append(now)
        if projection.pending_count:
            workers = self._workers(now)
            if self._span + 1 < len(self._capacity):
                instants.append(self._capacity[self._span + 1][0])
            if workers > projection.leased_count and self._can_lease(now):
                # Something has become ready right behind the last decision.
                instants.append(now)
            elif workers and (instant := projection.next_instant()) is not None:
                instants.append(max(instant, now))
        return min(instants, default=None)

    def _can_lease(self, now: int) -> bool:
        if not self._is_governed:
            return self._projection.ready_count(now) > 0
        return can_lease(self._projection, Vacancy(1), now=now, audience=EVERYTHING)

    def _workers(self, now: int) -> int:
        """How many workers there are."""
        capacity = self._capacity
        while self._span + 1 < len(capacity) and capacity[self._span + 1][0] <= now:
            self._span += 1
        return capacity[self._span][1]

    # What comes from outside.

    def _arrive(self, arrival: Arrival, coming: Iterator[Arrival]) -> Arrival | None:
        """Takes one arrival, or all new tasks that came at once; returns the one behind."""
        if isinstance(arrival.body, OF_RULES):
            self._govern(arrival.body)
            return next(coming, None)
        if type(arrival.body) is not Created:
            self._edit(arrival)
            return next(coming, None)
        if self._is_skipped(arrival, arrival.body):
            return next(coming, None)
        drafts: list[Draft] = []
        places = []
        following: Arrival | None = arrival
        while (
            following is not None
            and type(following.body) is Created
            and following.at == arrival.at
            and len(drafts) < COMMIT_EVENTS
            # A due is decided by itself.
            and (self._dues is None or following is arrival)
        ):
            place = self._trace.place_of(following.task)
            places.append(place)
            # Others of this commit may come after it.
            self._numbers[place] = self._projection.seq + 1 + len(drafts)
            self._metrics.arrive(place, following.at)
            drafts.append((NEW, self._created(following.body, place, following.at)))
            following = next(coming, None)
        for place, task in zip(places, self._apply(drafts), strict=True):
            assert task is not None, "a created task is open"
            self._live[task.number] = _Live(place, self._trace.first[place])
        return following

    def _created(self, body: Created, place: int, at: int) -> Created:
        """The event under the new policy; the tags have done their part when groups were formed."""
        policy = self._policy(body.policy)
        expires_at = body.expires_at
        # One with an instant of its own keeps it, as `Queue.new` has it.
        if "max_age_us" in self._changes.policy and (
            expires_at is None or body.policy.max_age_us is not None
        ):
            expires_at = None if policy.max_age_us is None else at + policy.max_age_us
        created = Created(
            policy=policy,
            priority=self._trace.groups[place] if self._changes.by_group else body.priority,
            scheduled_at=body.scheduled_at,
            expires_at=expires_at,
        )
        if self._is_governed:
            created = msgspec.structs.replace(created, **governed_fields(body))
        if not body.after and body.flow is None:
            return created
        return msgspec.structs.replace(created, **self._links(body, self._numbers[place]))

    def _is_skipped(self, arrival: Arrival, body: Created) -> bool:
        """Decides a due; returns whether it makes no task, since that of the one before is open.

        Nor do the others come that a skipped due would have brought.
        """
        dues, name = self._dues, body.schedule
        if dues is None:
            return False
        if name is None or not dues.is_due(arrival):
            return dues.is_dropped(arrival)
        last = dues.last_of(name)
        number = None if last is None else self._numbers.get(self._trace.place_of(last))
        overlap = dues.overlaps[name]
        is_skipped = number is not None and overlap == "skip"
        dues.note(arrival, name, skipped=is_skipped)
        if number is not None and overlap == "cancel":
            drafts = CancelTask().events(self._projection.tasks[number], self._now)
            self._apply(drafts)
            self._count(drafts)
        return is_skipped

    def _govern(self, body: AnyRule) -> None:
        """Something is said of limits, pauses or turns."""
        changed = self._changes.rules.changed(body)
        if changed is not None:
            self._apply([(NODE, changed)])

    def _links(self, content: Created | Reopening, number: int) -> dict[str, Any]:
        """What the task comes after, and its flow, by the numbers here."""
        after: list[Predecessor] = []
        for each in content.after:
            place = self._trace.place_of(each.task)
            if place in self._numbers:
                after.append(Predecessor(self._numbers[place]))
            elif place in self._reopenable:
                after.append(Predecessor(NO_TASK, "failed"))
        flow = content.flow
        if flow is not None:
            flow = self._flows.setdefault(flow, number)
        return {
            "after": tuple(after),
            "if_failed": content.if_failed,
            "flow": flow,
            "role": content.role,
        }

    def _policy(self, policy: Policy) -> Policy:
        if not self._changes.policy:
            return policy
        known = self._policies.get(policy)
        if known is None:
            if len(self._policies) > COMMIT_EVENTS:
                self._policies.clear()
            known = msgspec.structs.replace(policy, **self._changes.policy)
            self._policies[policy] = known
        return known

    def _edit(self, arrival: Arrival) -> None:
        """What a person did to a task, as far as the task still stands so that it can be done."""
        place = self._trace.place_of(arrival.task)
        if type(arrival.body) is Retried:
            self._reopen(place, arrival.at, arrival.body)
            return
        number = self._numbers.get(place)
        if number is None:
            return
        task = self._projection.tasks[number]
        try:
            drafts = edits_of(task, arrival.body, self._now)
        except (NotAllowedError, ArgumentError):
            # It runs, or expires before: here the edit would have been refused.
            return
        self._apply(drafts)
        self._count(drafts)

    def _reopen(self, place: int, at: int, body: Retried) -> None:
        content, was = body.reopens, self._reopenable.pop(place, None)
        if content is None or was is None:
            # Here it is still open, or done.
            return
        policy = self._policy(content.policy)
        age_us = policy.max_age_us
        expires_at = None if age_us is None else at + age_us
        if body.undoes is not None and policy == content.policy:
            # It is as it was before its end.
            expires_at = content.expires_at
        reopens = msgspec.structs.replace(
            content,
            policy=policy,
            key=None,
            tags=content.tags if self._is_governed else Created(policy).tags,
            limits=content.limits if self._is_governed else (),
            expires_at=expires_at,
        )
        number = self._projection.seq + 1
        reopens = msgspec.structs.replace(reopens, given=None, **self._links(content, number))
        self._apply([(number, Retried(body.scheduled_at, reopens))])
        self._live[number] = _Live(place, self._attempt_behind(place, content.attempt))
        self._numbers[place] = number
        self._metrics.reopen(place, was)

    def _attempt_behind(self, place: int, count: int) -> int:
        """The recorded attempt of the task that follows so many counted ones, or NONE."""
        trace = self._trace
        for attempt in trace.attempts_of(place):
            if not count:
                return attempt
            count -= trace.endings[attempt] != RELEASED
        return NONE

    # What the one node does.

    def _step(self) -> None:
        """One commit: what has ended, and what is leased instead, as `SettleAndLease` has it."""
        now = self._now
        self._projection.advance_to(now)
        outcomes, called_off = self._ended(now)
        leased: list[Draft] = []
        # Where no node is, nothing expires either.
        if workers := self._workers(now):
            free = workers - self._projection.leased_count + len(outcomes) + len(called_off)
            leased = lease(
                self._projection,
                worker=NODE_NAME,
                ttl_us=TTL_US,
                wanted=Vacancy(free),
                room=ANY_NUMBER,
                now=now,
                audience=EVERYTHING,
            )
            leased = [self._known(draft) for draft in leased]
        # What was cancelled so is brought back as it was recorded.
        ended = {number for number, body in leased if type(body) is not Leased}
        leased += cancel_doomed(self._projection, room=ANY_NUMBER, but=ended)
        settled = settle(self._projection, outcomes, worker=NODE_NAME, now=now)
        drafts = leased + settled + called_off
        if not drafts:
            return
        after = self._apply(drafts)
        for (_, body), task in zip(drafts, after, strict=True):
            if type(body) is Leased:
                assert task is not None, "a leased task is open"
                self._begin(task)
        self._count(drafts)

    def _ended(self, now: int) -> tuple[list[Outcome], list[Draft]]:
        """What has come of the attempts that end by now; and of those that a person ends."""
        outcomes: list[Outcome] = []
        called_off: list[Draft] = []
        while self._ends and self._ends[0][0] <= now:
            _, _, number, predicted = heapq.heappop(self._ends)
            # A task that was called off meanwhile is gone; reopened, it has another number.
            task = self._projection.tasks.get(number)
            if task is None:
                continue
            if predicted.ending == RUNNING:
                called_off.append((number, Cancelled(reason=LET_GO)))
            elif predicted.ending == CALLED_OFF:
                called_off += CancelTask().events(task, now)
            else:
                place = self._live[number].place
                outcomes.append(self._model.outcome(task, place, predicted))
        return outcomes, called_off

    def _known(self, draft: Draft) -> Draft:
        """The draft; once the trace is over, a task of which it says no more is let go."""
        number, _ = draft
        if self._now < self._trace.ended_at:
            return draft
        return draft if self._live[number].attempt != NONE else (number, Cancelled(reason=LET_GO))

    def _begin(self, task: Task) -> None:
        """Begins an attempt: how it will end is known at once."""
        live, trace = self._live[task.number], self._trace
        predicted = self._model.predict(task, live.place, live.attempt, now=self._now)
        if predicted.ending != RELEASED:
            waited_us = self._now - self._ready_since.of(task)
            self._metrics.begin(
                live.place, trace.groups[live.place], waited_us, trace.share_at(live.place)
            )
        if self._metrics.attempts > self._most_attempts:
            raise ArgumentError(
                "backoff", task.policy.backoff_us, "a policy under which failing tasks end or wait"
            )
        self._metrics.drawn += predicted.is_drawn
        if live.attempt != NONE:
            live.attempt = trace.following[live.attempt]
        ends_at = self._now + predicted.length_us
        # Those that end together end in the order in which they began.
        heapq.heappush(self._ends, (ends_at, self._metrics.attempts, task.number, predicted))

    # Keeping account.

    def _apply(self, drafts: list[Draft]) -> list[Task | None]:
        """Folds the drafts as a commit that no log holds."""
        if not drafts:
            return []
        if self._projection.waits.by_task:
            for number, body in drafts:
                if KIND_OF[type(body)] in END_KINDS:
                    self._ready_since.note_end(number, self._now)
        first = self._projection.seq + 1
        tasks = [seq if number == NEW else number for seq, (number, _) in enumerate(drafts, first)]
        bodies = encode_bodies([body for _, body in drafts])
        return self._projection.apply(Commit("", first, self._now, b"", b"", tasks, {}, bodies))

    def _count(self, drafts: list[Draft]) -> None:
        for number, body in drafts:
            kind = type(body)
            if kind is Failed:
                self._metrics.failures += 1
                self._metrics.end(self._now)
            elif (end := KIND_OF[kind]) in self._metrics.ends:
                place = self._live.pop(number).place
                del self._numbers[place]
                if body == Cancelled(reason=LET_GO) or getattr(body, "cause", None) in self._let_go:
                    # What came after it is no more known than itself.
                    self._let_go.add(number)
                    continue
                self._metrics.finish(place, end, self._now)
                if end != "completed":
                    self._reopenable[place] = end
