"""What an order comes after, and where in a flow it stands; made into what the log says of it.

Orders that are made together refer to each other by their places, since they have no numbers yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.audience import AFTER
from eventq.core.command import Decision, Draft, PastTasks
from eventq.core.commits import AnyBody
from eventq.core.events import Created
from eventq.core.lookup import find_task
from eventq.core.newer import newer_task
from eventq.core.projection import Projection
from eventq.core.reference import TaskRef, place_of
from eventq.core.task import FINAL, Task, TaskState
from eventq.core.values import IfFailed, Predecessor, Role, Verdict
from eventq.errors import ArgumentError, LogArchivedError, TaskNotFoundError

# No caller's key has it: so the keys of flows and of tasks are never the same.
FLOW_MARK = "\x1f"


class Link(Struct, frozen=True, gc=False):
    """What one order comes after, and what it is in its flow."""

    after: tuple[TaskRef, ...] = ()
    if_failed: IfFailed = "cancel"
    given: tuple[tuple[str, TaskRef], ...] = ()
    """Arguments that are results of these."""
    role: Role = "member"


NO_LINK = Link()


def flow_name(key: str) -> str:
    """The key under which a log finds a flow."""
    return FLOW_MARK + key


def logged_key(body: Created) -> str | None:
    """The key under which a log finds the event."""
    return body.key if body.flow_key is None else flow_name(body.flow_key)


class Linking:
    """Makes links into what the log says, for one decision.

    ``changed`` are tasks that the same commit ends before what is made, with their verdicts, or
    reopens (None).
    """

    def __init__(
        self,
        projection: Projection,
        past: PastTasks,
        changed: Mapping[int, Verdict | None] | None = None,
    ) -> None:
        self._projection = projection
        self._past = past
        self._changed: Mapping[int, Verdict | None] = {} if changed is None else changed

    def linked(self, body: Created, link: Link, *, flow: int | None = None) -> Created:
        """The event with all that its order is linked with.

        Raises TaskNotFoundError, ArgumentError for a task of which nothing is kept, LogTooNewError.
        """
        numbers = [self._number(each) for each in link.after]
        given = {name: self._number(each) for name, each in link.given}
        after = tuple(map(self._settled, dict.fromkeys([*numbers, *given.values()])))
        needs = body.needs
        if (after or link.role != "member") and AFTER not in needs:
            needs = (*needs, AFTER)
        return replace(
            body,
            needs=needs,
            after=after,
            if_failed=link.if_failed if after else NO_LINK.if_failed,
            given=given or None,
            flow=flow,
            role=link.role,
        )

    def again(self, task: Task, *, waives: bool) -> tuple[Predecessor, ...]:
        """What a final task comes after when it is reopened, as that stands now.

        What has ended without success is in its way again, unless it ``waives`` that.
        """
        after = tuple(self._settled(each.task) for each in task.after)
        if not waives:
            return after
        return tuple(
            Predecessor(each.task, "waived") if each.verdict == "failed" else each for each in after
        )

    def _number(self, ref: TaskRef) -> int:
        if isinstance(ref, int):
            return ref
        return find_task(self._projection, self._past, ref).number

    def _settled(self, number: int) -> Predecessor:
        if number in self._changed:
            return Predecessor(number, self._changed[number])
        if number < 0:
            return Predecessor(number)
        task = self._projection.tasks.get(number)
        if task is None:
            try:
                task = self._past.created_and_task(number)[1]
            except LogArchivedError as error:
                expected = "a task that is open, or of which the log still holds the end"
                raise ArgumentError("after", str(number), expected) from error
        if task is None:
            raise TaskNotFoundError(str(number))
        if task.newer is not None:
            raise newer_task(task.key, task.newer)
        if task.recorded_state not in FINAL:
            return Predecessor(number)
        completed = task.recorded_state is TaskState.COMPLETED
        return Predecessor(number, "completed" if completed else "failed")


def placed(decision: Decision[Any], first: int) -> list[Draft]:
    """The events of a decision whose tasks refer to each other, from this position on."""
    return [(number, _placed(body, first)) for number, body in decision.events]


def _placed(body: AnyBody, first: int) -> AnyBody:
    if type(body) is not Created:
        return body

    def at(number: int) -> int:
        return number if number >= 0 else first + place_of(number)

    if not body.after:
        return body if body.flow is None else replace(body, flow=at(body.flow))
    return replace(
        body,
        after=tuple(Predecessor(at(each.task), each.verdict) for each in body.after),
        given=body.given and {name: at(number) for name, number in body.given.items()},
        flow=None if body.flow is None else at(body.flow),
    )
