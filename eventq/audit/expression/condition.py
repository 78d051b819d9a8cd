"""A condition as people write it, made something that a cursor can run to."""

from __future__ import annotations

from eventq.audit.expression.parser import parse_expression
from eventq.audit.expression.view import View
from eventq.audit.stepper.cursor import Condition
from eventq.core.events import Event
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.eventlog.contract import EventLog


def condition_of(log: EventLog, projection: Projection, text: str) -> Condition:
    """The condition of an expression, for a cursor that runs forward from this projection.

    Raises ArgumentError for what is no expression, TaskNotFoundError for a task it names that
    the log has not.
    """
    expression = parse_expression(text, "condition")
    view = View(log, projection, keys=expression.keys)

    def holds(projection: Projection, event: Event, task: Task | None) -> bool:
        view.projection = projection
        view.keep(event, task)
        return expression.holds(view)

    return holds
