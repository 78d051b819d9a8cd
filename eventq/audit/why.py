"""Why a task was or was not dispatched: what blocked it, who was ahead, whom it beat.

The projection is taken at no more than three points of the log: when the task became ready, right
before its lease, and at the point asked about.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from eventq.audit.dispatch_rank import (
    Rank,
    Rival,
    ahead_words,
    beaten_words,
    overtaken_words,
)
from eventq.audit.handling import handling_of
from eventq.audit.history import Step, steps_of
from eventq.audit.holding import held_words
from eventq.audit.lookup import last_lease, last_sign, read_history
from eventq.audit.phrases import counted, progress_words, sign_words
from eventq.audit.ready_wait import ReadyWait
from eventq.audit.waiting import unblocked_at, waiting_words
from eventq.core.commits import Event
from eventq.core.durations import brief_duration, show_duration
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Leased,
    Released,
    Retried,
    Updated,
)
from eventq.core.queue_events import Renewed
from eventq.core.task import FINAL, PENDING, Task, TaskState, is_due, show_instant
from eventq.eventlog.contract import EventLog
from eventq.replay.points import Point
from eventq.snapshot import projection_at

LIMIT = 5


class Grant(Struct, frozen=True):
    """A lease and why this task was the one to get it. Instants in microseconds."""

    seq: int
    at: int
    worker: str
    attempt: int
    rank: Rank
    """Right before the lease: `rank.behind` are the tasks it beat."""

    @property
    def in_order(self) -> bool:
        """Whether no ready task ranked higher, as must always be."""
        return self.rank.ahead_count == 0


class Load(Struct, frozen=True):
    """A node that held leases at the point."""

    worker: str
    leases: int
    seen_at: int


class Why(Struct, frozen=True):
    """The answer, in words and in what they were made from. Instants in microseconds."""

    seq: int
    at: int
    task: Task
    """As it stood at the point."""
    verdict: str
    """What decides, in one sentence."""
    notes: list[str]
    """What else the log shows. Names here and in the verdict may hold any character."""
    ready_at: int | None = None
    """When it became ready for the dispatch in question, or will."""
    ready_rank: Rank | None = None
    """Its rank at that instant."""
    rank: Rank | None = None
    """Its rank at the point, or when it stopped waiting, if it waited."""
    overtaken: list[Rival] = []
    """The first of the tasks that were leased since it is ready, and were not ahead of it then."""
    overtaken_count: int = 0
    """How many there are."""
    leases_since: int | None = None
    """Leases granted to other tasks between the two."""
    grant: Grant | None = None
    """Its last lease until the point, if that is what came of the waiting."""
    loads: list[Load] = []
    """Nodes that held leases at the point, for a task that waits to be leased."""
    handled_by: list[str] = []
    """Nodes that had joined and could take it, for a task that waits to be leased."""


def why(log: EventLog, key: str, point: Point, *, limit: int = LIMIT) -> Why:
    """Why the task was or was not dispatched, as the log up to the point tells it.

    A task that waits: what blocks it, and its rank. One that is leased or final: its last lease,
    and which tasks that beat; ask at the position of an earlier lease for that one. Rivals are
    named up to ``limit``. Raises TaskNotFoundError, also when the task was created after the
    point; LogCorruptError.
    """
    return explain(log, read_history(log, key, point), point, limit=limit)


def explain(log: EventLog, history: list[Event], point: Point, *, limit: int = LIMIT) -> Why:
    """The same, for who has the task's history up to the point."""
    steps = list(steps_of(log, history))
    task = steps[-1].task.as_of(point.at)
    if task.state is TaskState.WAITING:
        # Its own history does not tell when that has ended.
        projection = projection_at(log, point)
        task = projection.tasks[task.number].as_of(point.at)
        if task.state is TaskState.WAITING:
            verdict, notes = waiting_words(projection, task, point)
            return _with_origin(Why(point.seq, point.at, task, verdict, notes), steps)
        steps[-1] = _unblocked(log, steps[-1], task, point)
    return _with_origin(_answer(log, steps, task, point, limit), steps)


def _with_origin(told: Why, steps: list[Step]) -> Why:
    """The answer, with what brought the task to its lane, and the schedule that made it, if any."""
    task, notes = told.task, list(told.notes)
    moves = [
        s for s in steps if isinstance(s.event.body, Updated) and s.event.body.lane is not None
    ]
    if moves:
        notes.append(f"it is in lane {task.lane} by {_event(moves[-1])}")
    if task.schedule is not None and task.due_us is not None:
        due, late = show_instant(task.due_us), brief_duration(task.created_at_us - task.due_us)
        notes.append(f"schedule {task.schedule} made it for {due}, {late} after that")
    return replace(told, notes=notes)


def _answer(log: EventLog, steps: list[Step], task: Task, point: Point, limit: int) -> Why:
    """For a task that waits for no other one."""
    if task.newer is not None:
        return _untouchable(steps, task, point)
    if task.state is TaskState.SCHEDULED:
        return _scheduled(steps, task, point)
    if task.state is TaskState.READY:
        return _ready(log, steps, task, point, limit)
    end = _last(steps, Completed, Expired, Cancelled) if task.state in FINAL else None
    before = None if end is None else steps[end - 1].task.recorded_state
    if end is not None and before in PENDING:
        if before is TaskState.WAITING:
            return _ended_waiting(steps[: end + 1], task, point)
        return _given_up(log, steps[: end + 1], task, point, limit)
    return _dispatched(log, steps, task, point, limit)


def _unblocked(log: EventLog, step: Step, task: Task, point: Point) -> Step:
    """The last step of a task that came after others: it is ready since the last of them ended."""
    found = unblocked_at(log, task, point.seq + 1)
    if found is None or found[0] < step.event.seq:
        return replace(step, task=task)
    seq, at = found
    is_later = task.scheduled_at_us > at
    ready_at = task.scheduled_at_us if is_later else at
    return replace(step, task=task, ready_at=ready_at, ready_seq=None if is_later else seq)


def _ended_waiting(steps: list[Step], task: Task, point: Point) -> Why:
    """It came to its end while it waited for others."""
    end = steps[-1]
    verdict = f"it has been {task.state} since {_ending(end)}"
    return Why(point.seq, point.at, task, verdict, ["it came after others, and was never leased"])


def _untouchable(steps: list[Step], task: Task, point: Point) -> Why:
    """An event of a newer eventq was about it: what it may do, nobody here can say."""
    assert task.newer is not None, "asked for such tasks only"
    seq, kind = task.newer
    verdict = f"event {seq} about it is of the unknown kind {kind}, written by a newer eventq"
    end = _last(steps, Completed, Expired, Cancelled) if task.state in FINAL else None
    left = "this eventq leaves it alone: only a newer one leases, changes or reopens it"
    ended = [] if end is None else [f"it is {task.state}, by {_event(steps[end])}"]
    return Why(point.seq, point.at, task, verdict, [*ended, left])


def _scheduled(steps: list[Step], task: Task, point: Point) -> Why:
    """It waits for its instant: nothing but the history is needed."""
    due_at = task.scheduled_at_us
    verdict = f"it is scheduled for {show_instant(due_at)}, in {brief_duration(due_at - point.at)}"
    return Why(point.seq, point.at, task, verdict, [_cause(steps)], ready_at=due_at)


def _ready(log: EventLog, steps: list[Step], task: Task, point: Point, limit: int) -> Why:
    """It waits for a worker: who was ahead when it became ready, who is now, who has asked."""
    ready_at = steps[-1].ready_at
    wait = ReadyWait(log, steps[-1], end=point.seq, limit=limit)
    rank = wait.until(point.at)
    handling = handling_of(wait.projection, task, point.at)
    loads = [
        Load(worker, len(holder.tasks), holder.seen_at)
        for worker, holder in sorted(wait.projection.holders.items())
    ]
    waited = brief_duration(point.at - ready_at)
    notes = [f"it has been ready for {waited}, since {show_instant(ready_at)}", wait.words]
    overtaken, count = wait.overtaken()
    if count:
        notes.append(overtaken_words(overtaken, count))
    if task.expires_at_us is not None and task.expires_at_us <= point.at:
        since = show_instant(task.expires_at_us)
        verdict = f"it is past its expiry since {since}: the next node that looks expires it"
    elif (kept := held_words(wait.projection, task, point.at)) is not None:
        verdict = kept[0]
        notes += kept[1]
    elif handling.problem is not None:
        verdict = handling.problem
        notes += [ahead_words(rank)] if rank.ahead_count else []
    elif rank.ahead_count:
        verdict = ahead_words(rank)
    else:
        verdict = f"nothing blocks it: it is next; {_nobody_asked(log, wait, point)}"
    held = sum(load.leases for load in loads)
    nodes = f"{counted(len(loads), 'node')} {'holds' if len(loads) == 1 else 'hold'}"
    notes.append(f"{nodes} {counted(held, 'lease')}" if loads else "no node holds a lease")
    if handling.words is not None:
        notes.append(handling.words)
    if wait.projection.unknown is not None:
        seq, kind = wait.projection.unknown
        notes.append(f"event {seq} is of the unknown kind {kind}: only a newer eventq leases now")
    told = Why(point.seq, point.at, task, verdict, notes, ready_at, handled_by=handling.nodes)
    told = replace(told, overtaken=overtaken, overtaken_count=count)
    return replace(told, **wait.facts, rank=rank, loads=loads)


def _given_up(log: EventLog, steps: list[Step], task: Task, point: Point, limit: int) -> Why:
    """It came to its end while it waited, and no lease was granted to it in that time."""
    end, ready_at = steps[-1], steps[-2].ready_at
    verdict = f"it has been {task.state} since {_ending(end)}"
    if ready_at > end.event.decided_at:
        due = f"it was still scheduled, for {show_instant(ready_at)}"
        notes = [due, _cause(steps[:-1])]
        return Why(point.seq, point.at, task, verdict, notes, ready_at=ready_at)
    wait = ReadyWait(log, steps[-2], end=end.event.seq - 1, limit=limit)
    rank = wait.until(end.event.decided_at)
    waited = brief_duration(end.event.decided_at - ready_at)
    notes = [
        f"it had been ready for {waited}, since {show_instant(ready_at)}",
        wait.words_until(end.event.decided_at),
        f"at its end, {ahead_words(rank, past=True)}",
    ]
    told = Why(point.seq, point.at, task, verdict, notes, ready_at)
    return replace(told, **wait.facts, rank=rank)


def _dispatched(log: EventLog, steps: list[Step], task: Task, point: Point, limit: int) -> Why:
    """It has been leased: whom it beat, and what has come of it until the point."""
    index = _last(steps, Leased)
    assert index is not None, "what has not waited at its end was leased"
    step, ready_at = steps[index], steps[index].ready_at
    seq, at, body = step.event.seq, step.event.decided_at, step.event.body
    assert isinstance(body, Leased), "found by its kind"
    if ready_at > at:
        # Against the rules; the log that has such a lease is answered for all the same.
        step = replace(step, ready_at=at, ready_seq=seq - 1)
    wait = ReadyWait(log, step, end=seq - 1, limit=limit, worker=body.worker)
    rank = wait.until(at)
    grant = Grant(seq, at, body.worker, body.attempt, rank)
    notes = [f"lease {seq}, {step.reason}", wait.words_until(at), beaten_words(rank)]
    if ready_at > at and not is_due(step.task, at):
        notes.append(f"too early: it was scheduled for {show_instant(ready_at)}")
    if not grant.in_order:
        notes.append(f"out of order: {ahead_words(rank, past=True)}")
    if task.state in FINAL:
        end = steps[_last(steps, Completed, Expired, Cancelled) or 0]
        verdict = f"it has been {task.state} since {_ending(end)}"
    elif task.state is TaskState.LEASED:
        held = brief_duration(point.at - at)
        verdict = f"it has been leased to {body.worker} since {show_instant(at)}, for {held}"
        notes += [_signs(log, body.worker, grant, point, task.number), *_told(task, point)]
    else:
        verdict = "its attempt has just failed; what follows stands in the same commit, behind"
    told = Why(point.seq, point.at, task, verdict, notes, ready_at)
    return replace(told, **wait.facts, grant=grant)


def _nobody_asked(log: EventLog, wait: ReadyWait, point: Point) -> str:
    """Since when no task has been leased, of which this one would have been the first."""
    last = last_lease(log, after=wait.begin, before=point.seq + 1) if wait.leases else None
    if last is None:
        return "no lease has been granted since it became ready, so no free worker has asked"
    ago = brief_duration(point.at - last.decided_at)
    return f"no lease has been granted since {last.seq}, {ago} ago, so no free worker has asked"


def _signs(log: EventLog, worker: str, grant: Grant, point: Point, number: int) -> str:
    """What the log shows of the node that holds the lease."""
    sign = last_sign(log, worker, after=grant.seq - 1, before=point.seq + 1)
    assert sign is not None, "its lease is one"
    assert isinstance(sign.body, Leased | Renewed), "signs of life are of these kinds"
    silent = brief_duration(point.at - sign.decided_at)
    about = sign_words(sign, number)
    lasts = show_duration(sign.body.ttl_us)
    return f"last sign of life of the node {silent} ago, {about}; its lease lasts {lasts}"


def _told(task: Task, point: Point) -> list[str]:
    """What the attempt has said of itself, if anything."""
    if (told := task.progress) is None:
        return []
    note = f" {told.note}" if told.note else ""
    ago = brief_duration(point.at - told.at_us)
    return [
        f"its attempt has done {progress_words(told.done, told.total)}{note}, as it said {ago} ago"
    ]


def _cause(steps: list[Step]) -> str:
    """The event that chose the instant for which the task is scheduled."""
    causes = (
        step
        for step in reversed(steps)
        if isinstance(step.event.body, Created | Retried)
        or (
            isinstance(step.event.body, Updated | Released)
            and step.event.body.scheduled_at is not None
        )
    )
    return f"because of {_event(next(causes))}"


def _event(step: Step) -> str:
    return f"{step.event.kind} at {step.event.seq}: {step.reason}"


def _ending(step: Step) -> str:
    return f"{show_instant(step.event.decided_at)}, by {_event(step)}"


def _last(steps: list[Step], *kinds: type) -> int | None:
    """The index of the last step of these kinds."""
    found = [index for index, step in enumerate(steps) if isinstance(step.event.body, kinds)]
    return found[-1] if found else None
