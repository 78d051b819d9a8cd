"""What tasks come after, and flows, judged again: no lease before its time, finalisers once.

Rules 8, 14 and 18 of the design, with nothing of core's. Each waiting task keeps what is in its
way; a task's end, and its coming back, is told to those that it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from eventq.core.events import Cancelled, Created, Reopening, Retried
from eventq.core.values import Predecessor
from eventq.verify.seen import Seen
from eventq.verify.terms import BrokenError, Past

# The word for a node that must know this.
AFTER = "after"
# What a flow's key begins with among the commit's keys: no caller's can.
FLOW_MARK = "\x1f"


class SeenFlow(Struct):
    """One flow as far as it has come."""

    end: int
    """The position of the last task that was made with it."""
    open: int = 0
    failed: int = 0
    closed: bool = False
    for_failure: set[int] = set()
    for_end: set[int] = set()


class Links:
    """Who waits for whom, and the flows.

    ``tasks`` are the open ones; ``ready`` is told of a task whose wait is over.
    """

    def __init__(self, tasks: dict[int, Seen], past: Past, ready: Callable[[Seen], None]) -> None:
        self.flows: dict[int, SeenFlow] = {}
        self._tasks = tasks
        self._past = past
        self._ready = ready
        self._concerned: dict[int, set[int]] = {}
        # The flow that a completion's tasks join, and how many are still to come.
        self._joining: tuple[int | None, int] = (None, 0)

    def add(self, task: Seen) -> None:
        """Takes over a waiting task from elsewhere."""
        for number in (task.blocked_by or set()) | (task.failed_by or set()):
            self._concerned.setdefault(number, set()).add(task.number)

    def create(self, task: Seen, body: Created, commit_end: int) -> bool:
        """Judges what a new task comes after and its flow; returns whether it waits.

        Raises BrokenError.
        """
        if self._joining[1] or body.after or body.flow is not None:
            self._check_flow(task.number, body, commit_end)
        if not (body.after or body.role != "member"):
            if body.given or AFTER in body.needs:
                raise BrokenError("wait", "nothing is in the way of a task that says so")
            return False
        if AFTER not in body.needs:
            raise BrokenError("wait", "what comes after others does not say so in its needs")
        if any(each.verdict == "waived" for each in body.after):
            raise BrokenError("wait", "made with something waived")
        self._wait(task.number, task, body.after)
        if not set((body.given or {}).values()) <= _numbers(body.after):
            raise BrokenError("wait", "given the result of a task that it does not come after")
        return self._waits(task)

    def reopen(self, seq: int, task: Seen, body: Retried) -> bool:
        """Judges a task's coming back, and tells those it concerns; returns whether it waits."""
        content = body.reopens
        assert content is not None, "it has been looked at"
        waived = any(each.verdict == "waived" for each in content.after)
        if body.revived_by is not None and (waived or task.cause != body.revived_by):
            raise BrokenError("wait", f"task {body.revived_by} had not cancelled it")
        self._wait(seq, task, content.after)
        task.cause = None
        self._rejoin(task, content)
        for number in self._concerned.get(task.number, ()):
            waiting = self._tasks[number]
            if task.number in (waiting.failed_by or set()):
                assert waiting.failed_by is not None
                assert waiting.blocked_by is not None
                waiting.failed_by.discard(task.number)
                waiting.blocked_by.add(task.number)
        return self._waits(task)

    def waive(self, task: Seen) -> bool:
        """Somebody has a waiting task mind no more what has failed; whether its wait is over."""
        if task.state != "waiting" or not (task.failed_by or self._is_unneeded(task)):
            raise BrokenError("wait", "waives nothing")
        self._forget(task, task.failed_by or set())
        task.failed_by = set()
        return not task.blocked_by

    def check_cancelled(self, task: Seen, body: Cancelled) -> None:
        """Judges the cause that a cancellation names. Raises BrokenError."""
        if body.cause is not None and (
            task.state != "waiting"
            or task.if_failed != "cancel"
            or body.cause not in (task.failed_by or set())
        ):
            raise BrokenError("wait", f"task {body.cause} is no cause of this")

    def end(self, task: Seen, *, completed: bool, made: int = 0) -> None:
        """A task has come to its end, and makes others in this commit."""
        if task.number in self._concerned:
            for number in sorted(self._concerned[task.number]):
                self._met(self._tasks[number], task.number, completed=completed)
        flow = None if task.flow is None else self.flows.get(task.flow)
        self._joining = (None, made)
        if flow is None:
            return
        if task.role != "member":
            flow.for_failure.discard(task.number)
            flow.for_end.discard(task.number)
        elif not flow.closed:
            flow.open += made - 1
            flow.failed += not completed
            self._joining = (task.flow, made)
        if not flow.open:
            assert task.flow is not None
            self._close(task.flow, flow)

    def drop(self, task: Seen) -> None:
        """Nothing more is said of a task, nor of those that wait for it."""
        self._forget(task, (task.blocked_by or set()) | (task.failed_by or set()))

    def leave(self, task: Seen) -> None:
        """A task waits no more, whatever becomes of it."""
        self.drop(task)
        task.blocked_by = task.failed_by = None

    def _wait(self, seq: int, task: Seen, after: tuple[Predecessor, ...]) -> None:
        """Judges what a task comes after, and keeps what is in its way."""
        if len(_numbers(after)) != len(after):
            raise BrokenError("wait", "comes after one task twice")
        blocked, failed = set(), set()
        for each in after:
            if not 0 < each.task < task.number:
                raise BrokenError("wait", f"comes after {each.task}, which is not before it")
            self._check_verdict(seq, each)
            if each.verdict is None:
                blocked.add(each.task)
            elif each.verdict == "failed" and task.if_failed != "run":
                failed.add(each.task)
        task.after = tuple(each.task for each in after)
        task.blocked_by, task.failed_by = blocked, failed
        self.add(task)

    def _check_verdict(self, seq: int, each: Predecessor) -> None:
        """Raises BrokenError where what is said of a task is not how it stands."""
        known = self._tasks.get(each.task)
        if known is None:
            known = self._past.task(each.task, seq)
        if known is None:
            return
        is_final = known.state in {"completed", "expired", "cancelled"}
        stands = ("completed" if known.state == "completed" else "failed") if is_final else None
        # What is waived has failed.
        if ("failed" if each.verdict == "waived" else each.verdict) != stands:
            raise BrokenError("wait", f"task {each.task} is {known.state}, not {each.verdict}")

    def _waits(self, task: Seen) -> bool:
        flow = None if task.flow is None else self.flows.get(task.flow)
        if task.role == "member":
            return bool(task.blocked_by or task.failed_by)
        return flow is not None and not self._may_run(task, flow)

    def _may_run(self, task: Seen, flow: SeenFlow) -> bool:
        """Whether a finaliser's turn has come."""
        if not flow.closed:
            return False
        if task.role == "on_failure":
            return bool(flow.failed)
        return not (flow.failed and flow.for_failure)

    def _is_unneeded(self, task: Seen) -> bool:
        """Whether a finaliser waits for a failure that there was none of."""
        flow = None if task.flow is None else self.flows.get(task.flow)
        return task.role == "on_failure" and (flow is None or (flow.closed and not flow.failed))

    def _met(self, waiting: Seen, number: int, *, completed: bool) -> None:
        """What a task comes after has ended."""
        assert waiting.blocked_by is not None
        assert waiting.failed_by is not None
        waiting.blocked_by.discard(number)
        if completed or waiting.if_failed == "run":
            self._forget(waiting, {number})
        else:
            waiting.failed_by.add(number)
        if not (waiting.blocked_by or waiting.failed_by):
            self._ready(waiting)

    def _check_flow(self, seq: int, body: Created, commit_end: int) -> None:
        """Judges which flow a new task says it is in, and counts it there."""
        joins, left = self._joining
        self._joining = (joins, max(0, left - 1))
        if left:
            if body.flow != joins or body.role != "member" or body.flow_key is not None:
                raise BrokenError("flow", f"made by a task of flow {joins}, but is in {body.flow}")
            return
        if body.flow is None:
            if body.role != "member" or body.flow_key is not None:
                raise BrokenError("flow", "has a place in no flow")
            return
        flow = self.flows.get(body.flow)
        if flow is None:
            if not seq <= body.flow <= commit_end:
                raise BrokenError("flow", f"flow {body.flow} does not begin in this commit")
            flow = self.flows[body.flow] = SeenFlow(commit_end)
        if seq > flow.end:
            raise BrokenError("flow", f"joins flow {body.flow} from outside")
        if body.flow_key is not None and (body.flow != seq or body.key is not None):
            raise BrokenError("flow", "has the key of another task's flow")
        if body.role == "member":
            flow.open += 1
        else:
            (flow.for_failure if body.role == "on_failure" else flow.for_end).add(seq)

    def _rejoin(self, task: Seen, content: Reopening) -> None:
        flow = None if content.flow is None else self.flows.get(content.flow)
        if flow is None:
            return
        if content.role == "on_failure":
            flow.for_failure.add(task.number)
        elif content.role == "finally":
            flow.for_end.add(task.number)
        elif not flow.closed:
            flow.open += 1
            flow.failed -= 1

    def _close(self, number: int, flow: SeenFlow) -> None:
        """All members are final: those come whose turn it is, the last ones last."""
        flow.closed = True
        waiting = flow.for_end if not (flow.failed and flow.for_failure) else flow.for_failure
        for each in sorted(waiting):
            task = self._tasks.get(each)
            if task is not None and task.state == "waiting":
                self._ready(task)
        if not (flow.failed and flow.for_failure):
            del self.flows[number]

    def _forget(self, task: Seen, numbers: Iterable[int]) -> None:
        for number in numbers:
            concerned = self._concerned.get(number)
            if concerned is not None:
                concerned.discard(task.number)
                if not concerned:
                    del self._concerned[number]


def check_leased(task: Seen | None) -> None:
    """Judges whether a task that is leased had to wait. Raises BrokenError."""
    if task is not None and task.state == "waiting":
        raise BrokenError("wait", f"task {task.number} leased before what it comes after")


def _numbers(after: tuple[Predecessor, ...]) -> set[int]:
    return {each.task for each in after}
