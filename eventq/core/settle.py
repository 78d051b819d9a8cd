"""Settling attempts: how they ended, by their worker's word or because their node fell silent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from eventq.core.audience import PLAIN_AUDIENCE, Audience
from eventq.core.cascade import tend
from eventq.core.command import NO_PAST, Decision, Draft, PastTasks
from eventq.core.commits import AnyTold, Event
from eventq.core.create import Making, NewTask
from eventq.core.events import Cancelled, Completed, Expired, Failed, Refused, Released, Retried
from eventq.core.lease import Leasing
from eventq.core.places import Wanted
from eventq.core.policy import Backoff, after_failure, wait_us
from eventq.core.projection import Projection
from eventq.core.queue_events import Joined
from eventq.core.task import Task
from eventq.core.values import COMMIT_EVENTS, LAPSED, NODE, ErrorInfo, ProcessExit
from eventq.errors import (
    ArgumentError,
    DuplicateTaskError,
    KeyConflictError,
    LogArchivedError,
    LogTooNewError,
    TaskNotFoundError,
)

# The type of the error of an attempt that its worker called off.
CANCEL = "eventq.Cancel"
# The errors of attempts whose tasks could not be made with their completions.
CANNOT_MAKE = (
    ArgumentError,
    DuplicateTaskError,
    KeyConflictError,
    LogArchivedError,
    LogTooNewError,
    TaskNotFoundError,
)
UNMADE = frozenset(f"eventq.{error.__name__}" for error in CANNOT_MAKE)


class Outcome(Struct, frozen=True, gc=False):
    """How an attempt ended. ``draw`` is a random number from 0 up to 1, for jitter.

    ``delay_us`` is the wait until the next attempt: after a failure (None: as ``backoff`` says, or
    the policy without one), or after a release, which is then a snooze. A ``fatal`` failure is for
    good. ``rule`` says which retry rule of the handler decided.

    A ``verdict`` comes from the runner, for an attempt whose worker has not ended. It is void once
    the lease is over, since the worker's own end is still to come.
    """

    task: int
    fence: int
    kind: Literal["completed", "failed", "cancelled", "released"]
    result_json: bytes | None = None
    result_missing: str | None = None
    error: ErrorInfo | None = None
    delay_us: int | None = None
    draw: float = 0.0
    reason: str = ""
    verdict: bool = False
    fatal: bool = False
    backoff: Backoff | None = None
    rule: str | None = None
    exit: ProcessExit | None = None
    told: tuple[AnyTold, ...] = ()
    """What the attempt has told that is not in the log yet."""
    children: tuple[NewTask, ...] = ()
    """The tasks that a completed attempt makes."""


class SettleAndLease(Struct, frozen=True):
    """One commit: how the last attempts of a node ended, and leases of the next.

    The node says first what it can run, where it has ``joined``. See `settle` and `lease`. What
    attempts that go on have ``told`` comes along, as far as their leases live.

    By ``held``, the tasks that it takes for its own, it has counted the places of its lanes. Where
    the log has ended one it leases nothing: the place is free by the log, which judges the order.
    """

    worker: str
    outcomes: list[Outcome]
    ttl_us: int
    wanted: Wanted
    audience: Audience = PLAIN_AUDIENCE
    joined: Joined | None = None
    told: tuple[tuple[int, AnyTold], ...] = ()
    held: tuple[int, ...] = ()
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = True

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[None]:
        """See Command.decide."""
        making = Making(projection, past, now)
        settled = settle(
            projection, self.outcomes, worker=self.worker, now=now, past=past, making=making
        )
        told = live_told(projection, self.told, room=COMMIT_EVENTS - len(settled))
        taken = len(settled) + len(told)
        # What fills a commit by itself leaves no place for it.
        says = self.joined is not None and projection.unknown is None and taken < COMMIT_EVENTS
        with Leasing(projection, worker=self.worker, ttl_us=self.ttl_us, now=now) as leasing:
            # What changes which task comes first, or is late, must be in the log before.
            room = 0 if making.has_touched else COMMIT_EVENTS - taken - says
            if self.held and not projection.leases_of(self.worker).issuperset(self.held):
                room = 0
            leased = leasing.early(self.wanted, audience=self.audience, room=room)
            room -= len(leased)
            tended = self._tended(projection, past, leased, now, room)
            late = leasing.late(tended + settled, room=room - len(tended))
        said: list[Draft] = [(NODE, self.joined)] if self.joined and says else []
        # Leases first: the choice is right at their position only while nothing came before. What
        # needs a place that an outcome frees stands behind all of them.
        return Decision(said + leased + tended + told + settled + late, None)

    def _tended(
        self, projection: Projection, past: PastTasks, leased: list[Draft], now: int, room: int
    ) -> list[Draft]:
        """What the ends of tasks do to those that come after them, where there is room for it."""
        if room <= 0 or not projection.waits.has_work():
            return []
        if projection.unknown is not None or any(each.children for each in self.outcomes):
            return []
        expired = {number for number, body in leased if type(body) is Expired}
        return tend(projection, past, but=expired, room=room, now=now)


class Lapse(Struct, frozen=True):
    """Fails the attempts of a node that stopped renewing, at most ``room`` drafts of two each.

    ``seen_seq`` is the node's last sign of life as the judge knew it: if there has been another
    since, nothing happens.
    """

    worker: str
    seen_seq: int
    room: int = COMMIT_EVENTS
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, now: int) -> Decision[None]:
        """See Command.decide."""
        holder = projection.holders.get(self.worker)
        drafts: list[Draft] = []
        if projection.unknown is not None:
            # What keeps a lease alive may have changed.
            return Decision(drafts, None)
        if holder is None or holder.seen_seq != self.seen_seq:
            return Decision(drafts, None)
        error = ErrorInfo(type=LAPSED, message=f"node {self.worker} stopped renewing")
        for number in sorted(holder.tasks)[: self.room // 2]:
            task = projection.tasks[number]
            outcome = Outcome(
                number, task.fence, "failed", error=error, delay_us=_wait_after_lapse(task)
            )
            drafts += _fail(task, outcome, worker=self.worker, now=now)
        return Decision(drafts, None)


def settle(
    projection: Projection,
    outcomes: list[Outcome],
    *,
    worker: str,
    now: int,
    past: PastTasks = NO_PAST,
    making: Making | None = None,
) -> list[Draft]:
    """Records how attempts ended. An outcome whose lease was lost is refused, not applied.

    So is a second outcome of one attempt: the first has given its lease back. No attempt is refused
    twice. The ``past`` is asked where a lease is over: the log may hold this very outcome already.
    Archived events are not asked for: an outcome in doubt is never as old as that.
    """
    drafts: list[Draft] = []
    making = making or Making(projection, past, now)
    settled: set[int] = set()
    refused: set[int] = set()
    for outcome in outcomes:
        task = projection.tasks.get(outcome.task)
        if task is None or task.fence != outcome.fence or outcome.fence in settled:
            void = outcome.verdict or outcome.kind == "released" or outcome.fence in refused
            if not void and not is_recorded(outcome, past.history(outcome.task)):
                refused.add(outcome.fence)
                ended: Literal["completed", "failed"] = (
                    "completed" if outcome.kind == "completed" else "failed"
                )
                drafts.append((outcome.task, Refused(outcome.fence, worker, ended)))
            continue
        settled.add(outcome.fence)
        first = len(drafts)
        if outcome.told:
            drafts += [(task.number, body) for body in outcome.told]
        if outcome.kind == "completed":
            drafts += _complete(task, outcome, making, drafts, worker=worker, now=now)
        elif outcome.kind == "released":
            put_off = None if outcome.delay_us is None else now + outcome.delay_us
            drafts.append((task.number, Released(outcome.fence, outcome.reason, put_off)))
        else:
            drafts += _fail(task, outcome, worker=worker, now=now)
        if task.rarity is not None and task.unique is not None:
            making.note(task, drafts[first:])
    return drafts


def live_told(
    projection: Projection, told: Iterable[tuple[int, AnyTold]], *, room: int
) -> list[Draft]:
    """What attempts have told whose leases are live, at most ``room`` drafts of it."""
    drafts: list[Draft] = []
    for number, body in told:
        task = projection.tasks.get(number)
        if task is not None and task.fence == body.fence and len(drafts) < room:
            drafts.append((number, body))
    return drafts


def is_recorded(outcome: Outcome, history: list[Event]) -> bool:
    """Whether the task's history holds this very outcome already, or has refused its attempt.

    That happens when the append of this outcome was reported as unknown, but was made.
    """
    if any(type(e.body) is Refused and e.body.fence == outcome.fence for e in history):
        return True
    for event in history:
        body = event.body
        if type(body) is Completed and body.fence == outcome.fence:
            return outcome.kind == "completed"
        if type(body) is Failed and body.fence == outcome.fence:
            unmade = bool(outcome.children) and body.error.type in UNMADE
            return unmade or body.error == _error_of(outcome)
    return False


def _complete(
    task: Task,
    outcome: Outcome,
    making: Making,
    drafts: list[Draft],
    *,
    worker: str,
    now: int,
) -> list[Draft]:
    """As `completion`; where a task cannot be made none is, and the attempt fails for good.

    No later one would fare better, save on a newer node.
    """
    try:
        return completion(task, outcome, making, drafts)
    except CANNOT_MAKE as error:
        met = ErrorInfo(f"eventq.{type(error).__name__}", str(error))
        fatal = not isinstance(error, LogTooNewError)
        end = Outcome(outcome.task, outcome.fence, "failed", error=met, fatal=fatal)
        return _fail(task, end, worker=worker, now=now)


def completion(task: Task, outcome: Outcome, making: Making, drafts: list[Draft]) -> list[Draft]:
    """The end of an attempt that did its work, with the tasks that it makes, behind ``drafts``.

    Raises where one of them cannot be made.
    """
    result = UNSET if outcome.result_json is None else Raw(outcome.result_json)
    body = Completed(outcome.fence, result, outcome.result_missing)
    if not outcome.children:
        return [(task.number, body)]
    if task.unique is not None:
        # Its value is free for a task that it makes.
        making.note(task, [(task.number, body)])
    made = making.make(outcome.children, drafts, maker=task)
    completed = task.number, replace(body, made=len(made.created))
    return [*made.beside, completed, *made.created]


def _fail(task: Task, outcome: Outcome, *, worker: str, now: int) -> list[Draft]:
    error = _error_of(outcome)
    assert error is not None, "a failure says what failed"
    failed = (task.number, Failed(outcome.fence, error, outcome.rule, outcome.exit))
    if outcome.kind == "cancelled":
        return [failed, (task.number, Cancelled(reason=outcome.reason, by=worker))]
    if outcome.fatal:
        return [failed, (task.number, Expired("fatal"))]
    most = task.policy.max_lapses
    if error.type == LAPSED and most is not None and task.lapses >= most:
        return [failed, (task.number, Expired("max_lapses"))]
    policy = task.policy
    if outcome.backoff is not None:
        policy = outcome.backoff.policy(max_retries=policy.max_retries)
    following = after_failure(
        policy,
        retry_count=task.retry_count,
        failed_at=now,
        expires_at=task.expires_at_us,
        draw=outcome.draw,
        delay_us=outcome.delay_us,
    )
    if isinstance(following, str):
        return [failed, (task.number, Expired(following))]
    return [failed, (task.number, Retried(scheduled_at=following))]


def _wait_after_lapse(task: Task) -> int:
    """None after the first: the ttl has been the wait. The n-th in a row waits n - 1 backoffs.

    In full, without jitter: a task that takes its process along is in no hurry.
    """
    return wait_us(task.policy, retry=task.lapses, draw=0.0) if task.lapses else 0


def _error_of(outcome: Outcome) -> ErrorInfo | None:
    """The error that its `failed` event records."""
    if outcome.kind == "cancelled" and outcome.error is None:
        return ErrorInfo(type=CANCEL, message=outcome.reason)
    return outcome.error
