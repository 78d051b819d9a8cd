"""What a run logs about attempts, always after the event log holds it; it decides nothing.

Warnings are for what ended without success for good. What will be retried is for information.
"""

from __future__ import annotations

from eventq.core.commits import AnyBody
from eventq.core.events import Cancelled, Completed, Expired, Failed, Refused
from eventq.core.task import Task
from eventq.core.values import LAPSED
from eventq.errors import EventqError
from eventq.host.interrupts import raise_interrupt
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.node.waiting_line import Committed
from eventq.replay.fold import task_of

# `eventq run` shows what is logged by this name, whatever else it keeps quiet about.
ATTEMPTS = "eventq.runner.attempts"

logger = SafeLogger(ATTEMPTS)

# The values stand in the text too: without logging set up, Python prints that alone.
FAILED_FOR_GOOD = "attempt %(attempt)s of task %(task)s failed for good (%(reason)s): %(error)s"
RETRIED = "attempt %(attempt)s of task %(task)s failed, to be retried: %(error)s"
CANCELLED = "attempt %(attempt)s of task %(task)s cancelled the task: %(error)s"
AGED = "task %(task)s expired (%(reason)s)"
CALLED_OFF = "task %(task)s cancelled: %(reason)s (%(cause)s)"
REFUSED = "an outcome of task %(task)s was refused (%(outcome)s): its lease was over"
RESULT_LOST = "the result of task %(task)s was not kept: %(error)s"


def report(node: Node, committed: Committed[None]) -> None:
    """Logs what a command's events mean for attempts and their tasks."""
    failure: Failed | None = None
    for (number, body), task in zip(committed.events, committed.tasks, strict=True):
        if isinstance(body, Failed):
            # What comes of it is the next event.
            failure = body
        elif failure is not None:
            _report_failure(failure, body, _named(number, task))
            failure = None
        elif isinstance(body, Expired):
            values = {**_named(number, task), "reason": body.reason}
            logger.warning(AGED, values, extra=values)
        elif isinstance(body, Cancelled):
            values = {**_named(number, task), "reason": body.reason, "cause": body.cause}
            logger.info(CALLED_OFF, values, extra=values)
        elif isinstance(body, Refused):
            _report_refusal(node, number, body)
        elif isinstance(body, Completed) and body.result_missing is not None:
            values = {**_named(number, task), "error": body.result_missing}
            logger.warning(RESULT_LOST, values, extra=values)


def _report_failure(failure: Failed, following: AnyBody, named: dict[str, object]) -> None:
    error = failure.error
    values = {**named, "error": f"{error.type}: {error.message}"}
    if isinstance(following, Expired):
        values["reason"] = following.reason
        logger.warning(FAILED_FOR_GOOD, values, extra=values)
    elif isinstance(following, Cancelled):
        # The worker itself said so.
        logger.info(CANCELLED, values, extra=values)
    # Hundreds may lapse at once; the runner reports them together.
    elif error.type != LAPSED:
        logger.info(RETRIED, values, extra=values)
    if error.traceback:
        logger.debug("traceback", extra={**named, "traceback": error.traceback})


def _report_refusal(node: Node, number: int, body: Refused) -> None:
    """The work may have been done twice: by then another node had the task, or it was final."""
    task = None
    # The projection has forgotten a final task; reading the log is costly, and refusals are rare.
    try:
        task = task_of(node.log, number)
    except EventqError as error:
        raise_interrupt(error)
    key = str(number) if task is None else task.key
    values = {"task": key, "fence": body.fence, "outcome": body.outcome}
    logger.warning(REFUSED, values, extra=values)


def _named(number: int, task: Task | None) -> dict[str, object]:
    if task is None:
        return {"task": str(number)}
    return {"task": task.key, "attempt": task.attempt}
