"""Planning schedules and ticking their dues; no due is computed here: who asks brings them.

Whoever asks has looked at a schedule as one event left it; once there is another, nothing is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventq.core.asking import NOBODY, Asking
from eventq.core.command import NEW, Decision, Draft, PastTasks
from eventq.core.create import Making, NewTask, has_expired, resolve
from eventq.core.definitions import Definition, adopted, hash_of
from eventq.core.events import Cancelled, Created, Expired
from eventq.core.newer import check_understood
from eventq.core.projection import Projection
from eventq.core.queue_events import Planned, Ticked, Unplanned
from eventq.core.schedules import Schedule
from eventq.core.task import DEFAULT_LANE, PLAIN_ROUTE, Route
from eventq.core.values import NODE, Call
from eventq.errors import ArgumentError

NAME_EXPECTED = "the name of a schedule of this queue"

# Why a due that is skipped made no task, where that is as its schedule or handler wants it.
ONE_OPEN = "the one before is open"
VALUE_TAKEN = "a task with its unique value is open"
AS_WANTED = frozenset({ONE_OPEN, VALUE_TAKEN})


class PlanSchedules(Struct, frozen=True):
    """Code says which schedules there are to be, each as if it were new.

    The result names those of which the log has a newer definition; they stay as they are.
    """

    wanted: tuple[Planned, ...]
    version: tuple[int, ...]
    """The code's own number for each definition."""
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, now: int) -> Decision[list[str]]:
        """See Command.decide."""
        check_understood(projection.unknown)
        drafts: list[Draft] = []
        older: list[str] = []
        for wanted, version in zip(self.wanted, self.version, strict=True):
            known = projection.schedules.get(wanted.schedule)
            code = adopted(
                None if known is None else known.planned.code, definition_hash(wanted), version
            )
            if code == "older":
                older.append(wanted.schedule)
            elif isinstance(code, Definition):
                drafts.append((NODE, replanned(known, replace(wanted, code=code), now)))
        return Decision(drafts, older)


class EditSchedule(Struct, frozen=True):
    """Appends these events about a schedule, unless there has been one since ``seen``.

    ``seen`` 0: there was no such schedule. The result is whether they were appended.
    """

    schedule: str
    seen: int
    bodies: tuple[Planned | Unplanned | Ticked, ...]
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[bool]:
        """See Command.decide."""
        check_understood(projection.unknown)
        known = projection.schedules.get(self.schedule)
        if (0 if known is None else known.seq) != self.seen:
            return Decision([], result=False)
        return Decision([(NODE, body) for body in self.bodies], result=True)


class Tick(Struct, frozen=True):
    """The dues of one schedule that have come; each says what follows it.

    What is to be made may turn out to be skipped. Behind ``good_until`` one of them may be too late
    to be made, and the schedule is to be looked at anew.
    """

    schedule: str
    seen: int
    bodies: tuple[Ticked, ...]
    good_until: int | None = None


class TickSchedules(Struct, frozen=True):
    """Makes the tasks of the dues that have come, unless another node has done so.

    The result says for how many schedules something was done.
    """

    ticks: tuple[Tick, ...]
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[int]:
        """See Command.decide."""
        if projection.unknown is not None:
            return Decision([], 0)
        ticks = _Ticks(projection, past, now)
        count = 0
        for tick in self.ticks:
            known = projection.schedules.get(tick.schedule)
            if known is None or known.seq != tick.seen or known.planned.paused:
                continue
            if tick.good_until is not None and now > tick.good_until:
                # The log has taken its time since somebody looked.
                continue
            ticks.tick(known, tick.bodies)
            count += 1
        return Decision(ticks.drafts, count)


class MakeByHand(Struct, frozen=True):
    """Makes tasks of a schedule beside its dues, also while it is paused.

    ``dues`` None: one for now, a trigger. Raises ArgumentError where there is no such schedule, or
    none whose tasks are of these ``lanes`` (None: of any), and for tasks that lack the tag of their
    limit.
    """

    schedule: str
    dues: tuple[int, ...] | None
    asking: Asking = NOBODY
    lanes: frozenset[str] | None = None
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[None]:
        """See Command.decide."""
        check_understood(projection.unknown)
        known = known_in(projection, self.schedule, self.lanes)
        hand: Literal["trigger", "backfill"] = "trigger" if self.dues is None else "backfill"
        ticks = _Ticks(projection, past, now)
        for due in (now,) if self.dues is None else self.dues:
            body = Ticked(self.schedule, due, "made", hand=hand, **self.asking.marks)
            ticks.make(known, body)
        return Decision(ticks.drafts, None)


def known_in(projection: Projection, name: str, lanes: frozenset[str] | None) -> Schedule:
    """The schedule of this name, in one of the lanes (None: any). Raises ArgumentError."""
    known = projection.schedules.get(name)
    if known is None:
        raise ArgumentError("schedule", name, NAME_EXPECTED)
    if lanes is not None and (known.planned.call.lane or DEFAULT_LANE) not in lanes:
        raise ArgumentError("schedule", name, "one that makes tasks in a lane of yours")
    return known


def definition_hash(wanted: Planned) -> str:
    """The hash of what a definition in code says of a schedule."""
    # By way of JSON, in which tags stand as they were written.
    text = msgspec.json.encode([wanted.timing, wanted.rules, wanted.call])
    return hash_of(msgspec.json.decode(text))


def replanned(known: Schedule | None, wanted: Planned, now: int) -> Planned:
    """A new plan for a schedule, with what it keeps of the one that stands.

    It stays paused. While its timing stays, so do its next due and what was drawn; where that
    changes, a due that has come already is not forgotten, and none comes twice.
    """
    if known is None:
        return wanted
    planned = replace(wanted, paused=known.planned.paused)
    if wanted.timing == known.planned.timing:
        return replace(planned, next_at=known.next_at, shift_us=known.planned.shift_us)
    last_due = -1 if known.ticked is None else known.ticked.due
    has_come = known.next_at is not None and known.next_at <= now
    goes_back = planned.next_at is not None and planned.next_at <= last_due
    return replace(planned, next_at=known.next_at) if has_come or goes_back else planned


def order_of_call(call: Call) -> NewTask:
    """The order for the task that a schedule makes."""
    route = Route(call.name, call.lane, call.needs, call.limits)
    return NewTask(
        bytes(call.tags),
        call.policy,
        call.priority,
        delay_us=call.delay_us,
        route=PLAIN_ROUTE if route == PLAIN_ROUTE else route,
        unique=call.unique,
        share=call.share,
        secret=call.secret,
    )


class _Ticks:
    """Drafts of ticks and their tasks, in one commit."""

    def __init__(self, projection: Projection, past: PastTasks, now: int) -> None:
        self.drafts: list[Draft] = []
        self._projection = projection
        self._now = now
        self._tasks = Making(projection, past, now)

    def tick(self, known: Schedule, bodies: Iterable[Ticked]) -> None:
        """What becomes of dues that have come, in order."""
        overlap = known.planned.rules.overlap
        is_made = False
        for body in bodies:
            if body.due + known.planned.shift_us > self._now:
                # By another clock it has not come yet; so have none behind it.
                return
            if body.outcome != "made" or overlap == "allow":
                self.make(known, body)
                continue
            open_tasks = [] if is_made else self._open_tasks(known)
            if is_made or (open_tasks and overlap == "skip"):
                self._skip(body, ONE_OPEN)
                continue
            if any(self._projection.tasks[n].newer is not None for n in open_tasks):
                self._skip(body, "a newer eventq has touched the one before")
                continue
            reason = f"the next due of schedule {known.name} has come"
            self._end({number: Cancelled(reason=reason) for number in open_tasks})
            is_made = self.make(known, body)

    def make(self, known: Schedule, body: Ticked) -> bool:
        """The event, with its task if it is to be made; returns whether it is."""
        if body.outcome != "made":
            self.drafts.append((NODE, body))
            return False
        order = order_of_call(known.planned.call)
        try:
            order = resolve(order, self._projection.governing.limits.per_of, "limits")
        except ArgumentError as error:
            if body.hand is not None:
                raise
            # A limit may be given another tag at any time: that is not to stop the others.
            self._skip(body, str(error))
            return False
        drafted = self._tasks.make([order], self.drafts)
        self.drafts += drafted.beside
        for _, made in drafted.created:
            assert type(made) is Created, "that is what it creates"
            task = replace(made, schedule=known.name, due=body.due)
            self.drafts += [(NODE, body), (NEW, task)]
            return True
        self._skip(body, VALUE_TAKEN)
        return False

    def _skip(self, body: Ticked, reason: str) -> None:
        self.drafts.append((NODE, replace(body, outcome="skipped", reason=reason)))

    def _open_tasks(self, known: Schedule) -> list[int]:
        """The tasks of it that are open; those that are past their time are ended."""
        found = []
        for number in known.tasks:
            task = self._projection.tasks.get(number)
            if task is not None and has_expired(task, self._now):
                self._end({number: Expired("max_age")})
            elif task is not None:
                found.append(number)
        return found

    def _end(self, ends: Mapping[int, Cancelled | Expired]) -> None:
        """Ends open tasks; a unique value that one of them has is free then."""
        for number, body in ends.items():
            self.drafts.append((number, body))
            task = self._projection.tasks[number]
            if task.unique is not None:
                self._tasks.note(task, [(number, body)])
