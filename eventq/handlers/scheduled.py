"""Schedules that code defines: of a handler, a rule, and what becomes of its dues."""

from __future__ import annotations

from typing import Any, TypedDict

from eventq.core.durations import Duration
from eventq.core.new_task import TaskSpec
from eventq.core.validation import check_count, check_name
from eventq.errors import ArgumentError
from eventq.handlers.handler import Handler
from eventq.schedules.plans import CodedSchedule, check_rules, check_spec
from eventq.schedules.rules import check_timing


class ScheduleOptions(TypedDict, total=False):
    """What `Handlers.cron` and `Handlers.every` take; see there."""

    schedule: str | None
    catch_up: str | int
    within: Duration | None
    overlap: str
    jitter: Duration | None
    version: int


def coded_schedule(
    what: Any,  # noqa: ANN401 - checked here
    args: tuple[Any, ...],
    options: ScheduleOptions,
    *,
    cron: str | None = None,
    zone: object = None,
    every: Duration | None = None,
) -> CodedSchedule:
    """The schedule of a handler called with these arguments, or of a TaskSpec.

    Raises ArgumentError, and TypeError for arguments that the handler does not take.
    """
    given: dict[str, Any] = dict(options)
    for option in given.keys() - ScheduleOptions.__annotations__.keys():
        raise ArgumentError(option, given[option], "an option of a schedule")
    spec = _spec_of(what, args)
    name = given.get("schedule")
    name = spec.options.get("name") if name is None else name
    timing = check_timing(cron=cron, zone=zone, every=every, jitter=given.get("jitter"))
    rules = check_rules(
        catch_up=given.get("catch_up", "last"),
        within=given.get("within"),
        overlap=given.get("overlap", "skip"),
    )
    version = check_count(given.get("version", 0), "version", least=0)
    return CodedSchedule(check_name(name, "schedule"), timing, rules, check_spec(spec), version)


def _spec_of(what: object, args: tuple[Any, ...]) -> TaskSpec:
    if isinstance(what, Handler):
        return check_spec(what.spec(*args))
    if isinstance(what, TaskSpec) and not args:
        return what
    raise ArgumentError("handler", what, "a handler with its arguments, or a TaskSpec alone")
