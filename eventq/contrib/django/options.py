"""What a task of Django's may say beyond Django's own options, and what eventq makes of it.

It is said by arguments of `@task`, by `options` below it, or by `using`. Nothing here makes tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, tzinfo
from typing import Any, Literal, TypedDict, TypeVar, Unpack, cast

from django.conf import settings
from django.utils import timezone
from msgspec import UNSET, UnsetType

from eventq.contrib.django.calls import TaskCall
from eventq.contrib.django.framework import Task
from eventq.core.buckets import LimitsOption
from eventq.core.durations import Duration
from eventq.core.new_task import TaskSpec, check_options
from eventq.core.options import TaskOptions
from eventq.core.policy import Backoff
from eventq.core.reference import After
from eventq.core.sizes import Size
from eventq.core.timing import Overlap
from eventq.core.unique import OnDuplicate, value_of
from eventq.core.validation import check_tags
from eventq.core.values import IfFailed
from eventq.errors import ArgumentError, Fail
from eventq.handlers.handler import HandlerOptions
from eventq.handlers.isolation import take_isolation
from eventq.handlers.rules import RetryRules, RuleOptions
from eventq.handlers.scheduled import coded_schedule

F = TypeVar("F", bound=Callable[..., Any])

# Under which a function keeps what `options` was given.
MARK = "eventq_options"
# For one task alone: a schedule's, or another call's, would be the same task again.
OF_ONE = ("key", "delay", "expires_at", "after", "if_failed")
OF_TASKS = (
    *("max_age", "max_retries", "max_lapses", "backoff", "deadline"),
    *("unique", "on_duplicate", "limits", "exclusive", "share", "secret"),
)
OF_HANDLERS = ("retry", "keep_logs")
OF_ISOLATION = ("isolate", "memory", "kill_after", "recycle")
OF_SCHEDULES = ("tz", "schedule", "catch_up", "within", "overlap", "jitter", "version")
# Each says that attempts are to be repeated, and how. Without any, an error ends a task.
REPEATING = ("max_retries", "backoff", "retry")


class DjangoOptions(TypedDict, total=False):
    """What `options`, `@task` and `using` take; as `Handlers.task`, `cron` and `Queue.new` do."""

    max_age: Duration | None
    max_retries: int | None
    max_lapses: int | None
    backoff: Backoff | Duration
    deadline: Duration | None
    unique: bool | str | None
    on_duplicate: OnDuplicate
    limits: LimitsOption | None
    exclusive: Iterable[str] | None
    share: str | None
    secret: Iterable[str] | None
    retry: RuleOptions | None
    keep_logs: str | None
    isolate: bool
    memory: Size | None
    kill_after: Duration
    recycle: int | None
    cron: str
    every: Duration
    tz: str | tzinfo
    schedule: str
    catch_up: Literal["none", "last", "all"] | int
    within: Duration | None
    overlap: Overlap
    jitter: Duration | None
    version: int
    key: str | None
    delay: Duration | None
    expires_at: datetime | None
    after: After
    if_failed: IfFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class EventqTask(Task):  # type: ignore[type-arg]
    """A task whose `@task` was given options of eventq's."""

    max_age: Duration | UnsetType | None = UNSET
    max_retries: int | UnsetType | None = UNSET
    max_lapses: int | UnsetType | None = UNSET
    backoff: Backoff | Duration | UnsetType = UNSET
    deadline: Duration | UnsetType | None = UNSET
    unique: bool | str | UnsetType | None = UNSET
    on_duplicate: OnDuplicate | UnsetType = UNSET
    limits: LimitsOption | UnsetType | None = field(default=UNSET, hash=False)
    exclusive: Iterable[str] | UnsetType | None = field(default=UNSET, hash=False)
    share: str | UnsetType | None = UNSET
    secret: Iterable[str] | UnsetType | None = field(default=UNSET, hash=False)
    retry: RuleOptions | UnsetType | None = field(default=UNSET, hash=False)
    keep_logs: str | UnsetType | None = UNSET
    isolate: bool | UnsetType = UNSET
    memory: Size | UnsetType | None = UNSET
    kill_after: Duration | UnsetType = UNSET
    recycle: int | UnsetType | None = UNSET
    cron: str | UnsetType = UNSET
    every: Duration | UnsetType = UNSET
    tz: str | tzinfo | UnsetType = UNSET
    schedule: str | UnsetType = UNSET
    catch_up: Literal["none", "last", "all"] | int | UnsetType = UNSET
    within: Duration | UnsetType | None = UNSET
    overlap: Overlap | UnsetType = UNSET
    jitter: Duration | UnsetType | None = UNSET
    version: int | UnsetType = UNSET
    key: str | UnsetType | None = UNSET
    delay: Duration | UnsetType | None = UNSET
    expires_at: datetime | UnsetType | None = UNSET
    after: After | UnsetType = field(default=UNSET, hash=False)
    if_failed: IfFailed | UnsetType = UNSET

    def __repr__(self) -> str:
        """Its function, and what is said of it."""
        names = [each.name for each in fields(Task) if each.name not in {"func", "backend"}]
        said = {name: getattr(self, name) for name in names} | options_of(self)
        return f"<Task {self.module_path} {said}>"

    def using(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | None = None,
        backend: str | None = None,
        **options: Unpack[DjangoOptions],
    ) -> EventqTask:
        """The same task with other options: Django's, and eventq's. Raises InvalidTaskError."""
        own = {
            "priority": priority,
            "queue_name": queue_name,
            "run_after": run_after,
            "backend": backend,
        }
        given: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
        return replace(self, **given, **options)


def options(**given: Unpack[DjangoOptions]) -> Callable[[F], F]:
    """Says options of eventq's below ``@task``, which takes none in Django 6.0."""
    for name, value in given.items():
        if name not in DjangoOptions.__annotations__ or name in OF_ONE:
            raise ArgumentError(name, value, "an option of all tasks of a function")

    def mark(function: F) -> F:
        setattr(function, MARK, given)
        return function

    return mark


def options_of(task: Task[..., Any]) -> dict[str, Any]:
    """All that a task was given of eventq's options."""
    found = dict(getattr(task.func, MARK, {}))
    if isinstance(task, EventqTask):
        own = ((each.name, getattr(task, each.name)) for each in fields(EventqTask))
        found |= {
            name: value
            for name, value in own
            if name in DjangoOptions.__annotations__ and value is not UNSET
        }
    return found


def check_task(task: Task[..., Any]) -> None:
    """Raises ArgumentError for options that cannot be kept, or contradict each other."""
    given = options_of(task)
    order = _order_options(task, given)
    unique = order.get("unique")
    check_options({**order, "unique": "checked" if unique else None})
    RetryRules(given.get("retry"))
    take_isolation(_of_isolation(given), task.func)
    for name in OF_ONE:
        if name in given and is_scheduled(given):
            raise ArgumentError(name, given[name], "no option of one task beside a schedule")
    if "cron" in given and "every" in given:
        raise ArgumentError("every", given["every"], "either cron or every, not both")
    for name in OF_SCHEDULES:
        if name in given and not is_scheduled(given):
            raise ArgumentError(name, given[name], "cron or every beside it")
    if isinstance(unique, str) and unique not in TaskCall.names_of(task):
        raise ArgumentError("unique", unique, "True, or the name of an argument")
    if is_scheduled(given):
        _check_schedule(task, given)


def _check_schedule(task: Task[..., Any], given: Mapping[str, Any]) -> None:
    try:
        TaskCall.of(task, (), {})
    except TypeError as error:
        raise ArgumentError("task", task.module_path, f"no arguments ({error})") from error
    rules = schedule_options(given)
    zone = rules.pop("tz", None)
    timing = {"cron": given.get("cron"), "zone": zone, "every": given.get("every")}
    coded_schedule(TaskSpec(name=task.module_path), (), cast("Any", rules), **timing)


def is_scheduled(given: Mapping[str, Any]) -> bool:
    """Whether options say when tasks are made."""
    return "cron" in given or "every" in given


def spec_of(task: Task[..., Any], call: TaskCall) -> TaskSpec:
    """One task of eventq's. Raises ArgumentError for arguments that cannot be kept."""
    chosen = _order_options(task, options_of(task))
    unique = chosen.pop("unique", None)
    text = check_tags(call.tags)
    value = None
    if unique:
        names = sorted(call.arguments) if unique is True else [str(unique)]
        value = value_of(task.module_path, text, names)
    return TaskSpec.encoded(text, cast("TaskOptions", chosen), value)


def handler_options(task: Task[..., Any], of_queue: Mapping[str, Any]) -> HandlerOptions:
    """The options of the handler that runs a task; ``of_queue`` are those of its backend.

    Where nobody has said how attempts are repeated, an error ends the task, as Django's reference
    has it. A process that dies ends nothing.
    """
    given = options_of(task)
    chosen = {n: v for n, v in _order_options(task, given).items() if n not in {*OF_ONE, "name"}}
    unique = chosen.pop("unique", None)
    chosen.pop("on_duplicate", None)
    chosen.pop("scheduled_at", None)
    if unique is True and is_scheduled(given):
        chosen["unique"] = True
    repeats = any(name in given or name in of_queue for name in REPEATING)
    chosen["retry"] = given.get("retry") if repeats else {Exception: Fail}
    chosen["keep_logs"] = given.get("keep_logs")
    chosen |= _of_isolation(given)
    # A result that is not kept would be another value than the task returned.
    chosen["result"] = "strict"
    return cast("HandlerOptions", chosen)


def schedule_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a schedule takes beside its expression or interval."""
    found = {name: given[name] for name in OF_SCHEDULES if name in given}
    return found if "cron" not in given or "tz" in found else {**found, "tz": settings.TIME_ZONE}


def _of_isolation(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in OF_ISOLATION if name in given}


def _order_options(task: Task[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `Queue.new` for a task, unchecked."""
    found: dict[str, Any] = {"name": task.module_path}
    if task.queue_name != "default":
        found["lane"] = task.queue_name
    if task.priority:
        found["priority"] = task.priority
    if task.run_after is not None:
        at = task.run_after
        found["scheduled_at"] = at if timezone.is_aware(at) else timezone.make_aware(at)
    return found | {name: given[name] for name in (*OF_TASKS, *OF_ONE) if name in given}
