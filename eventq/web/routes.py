"""The one table of routes: each page, act and service with its path and the right that it takes.

There is no other way into the console: `app` serves what stands here, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from eventq.web import acting, acting_many, acting_schedules
from eventq.web.access import Right
from eventq.web.acting import Acting, Done
from eventq.web.pages import (
    changes,
    charts,
    compare,
    errors,
    flows,
    integrity,
    limits,
    new_task,
    now,
    schedules,
    task,
    tasks,
    what_if,
)
from eventq.web.showing import Veil
from eventq.web.sight import Sight

Model = Callable[[Sight, Any, Veil], Any]


class ConsolePage(Struct, frozen=True):
    """A page, and the same as JSON below ``/api``."""

    name: str
    path: str
    title: str
    right: Right
    question: type[Struct]
    """What its path and its query may say."""
    model: Model
    template: str
    answer: type[Struct]
    """What ``model`` returns."""
    key: str = ""
    """The second key of its short cut, ``g`` and this; pages in the menu have one."""
    folds: bool = False
    """Whether it may fold the log even of the present: then it takes its turn with the past."""
    is_live: bool = True
    """Whether the page follows what happens."""
    keeps: bool = True
    """Whether what it says of a past moment is said for good: a catalog may come later."""


class Act(Struct, frozen=True):
    """Something that a POST does."""

    path: str
    right: Right
    do: Callable[[Acting], Done]
    asks_reason: bool = True
    """Whether it may take a reason: not where the log has no place for one."""


class Service(Struct, frozen=True):
    """What is neither: its ``right`` is None where nobody has come in yet."""

    path: str
    method: str
    right: Right | None
    name: str
    """Of the method of `Console` that answers."""
    is_page: bool = True
    """Whether a person reads it, who is led to the door; a program is told with a status."""


PAGES = (
    ConsolePage(
        "now", "/", "Now", Right.VIEW, now.NowQuestion, now.now_model, "now.html", now.NowModel, "n"
    ),
    ConsolePage(
        "charts",
        "/charts",
        "Charts",
        Right.VIEW,
        charts.ChartsQuestion,
        charts.charts_model,
        "charts.html",
        charts.ChartsModel,
        "r",
        folds=True,
        is_live=False,
        keeps=False,
    ),
    ConsolePage(
        "what-if",
        "/what-if",
        "What if",
        Right.VIEW,
        what_if.WhatIfQuestion,
        what_if.what_if_model,
        "what_if.html",
        what_if.WhatIfModel,
        folds=True,
        is_live=False,
    ),
    ConsolePage(
        "tasks",
        "/tasks",
        "Tasks",
        Right.VIEW,
        tasks.TasksQuestion,
        tasks.tasks_model,
        "tasks.html",
        tasks.TasksModel,
        "t",
        keeps=False,
    ),
    ConsolePage(
        "errors",
        "/errors",
        "Errors",
        Right.VIEW,
        errors.ErrorsQuestion,
        errors.errors_model,
        "errors.html",
        errors.ErrorsModel,
        "e",
        keeps=False,
    ),
    ConsolePage(
        "task",
        "/tasks/{key}",
        "Task",
        Right.VIEW,
        task.TaskQuestion,
        task.task_model,
        "task.html",
        task.TaskModel,
    ),
    ConsolePage(
        "why",
        "/tasks/{key}/why",
        "Why",
        Right.VIEW,
        task.TaskQuestion,
        task.why_model,
        "why.html",
        task.WhyModel,
        folds=True,
        is_live=False,
    ),
    ConsolePage(
        "flows",
        "/flows",
        "Flows",
        Right.VIEW,
        flows.FlowsQuestion,
        flows.flows_model,
        "flows.html",
        flows.FlowsModel,
        "f",
    ),
    ConsolePage(
        "flow",
        "/flows/{key}",
        "Flow",
        Right.VIEW,
        flows.FlowQuestion,
        flows.flow_model,
        "flow.html",
        flows.FlowModel,
    ),
    ConsolePage(
        "schedules",
        "/schedules",
        "Schedules",
        Right.VIEW,
        schedules.SchedulesQuestion,
        schedules.schedules_model,
        "schedules.html",
        schedules.SchedulesModel,
        "s",
    ),
    ConsolePage(
        "limits",
        "/limits",
        "Limits and pauses",
        Right.VIEW,
        limits.LimitsQuestion,
        limits.limits_model,
        "limits.html",
        limits.LimitsModel,
        "l",
    ),
    ConsolePage(
        "changes",
        "/changes",
        "Changes",
        Right.VIEW,
        changes.ChangesQuestion,
        changes.changes_model,
        "changes.html",
        changes.ChangesModel,
        "h",
        keeps=False,
    ),
    ConsolePage(
        "compare",
        "/compare",
        "Compare",
        Right.VIEW,
        compare.CompareQuestion,
        compare.compare_model,
        "compare.html",
        compare.CompareModel,
        "c",
        folds=True,
        is_live=False,
    ),
    ConsolePage(
        "integrity",
        "/integrity",
        "Integrity",
        Right.VIEW,
        integrity.IntegrityQuestion,
        integrity.integrity_model,
        "integrity.html",
        integrity.IntegrityModel,
        "i",
    ),
    ConsolePage(
        "new",
        "/new",
        "New task",
        Right.CREATE,
        new_task.NewTaskQuestion,
        new_task.new_task_model,
        "new.html",
        new_task.NewTaskModel,
        "a",
        is_live=False,
    ),
)

ACTS = (
    Act("/tasks/{key}/retry", Right.RETRY, acting.retry_task),
    Act("/tasks/{key}/cancel", Right.CANCEL, acting.cancel_task),
    Act("/tasks/{key}/update", Right.EDIT, acting.update_task),
    Act("/tasks/{key}/repeat", Right.CREATE, acting.repeat_task, asks_reason=False),
    Act("/new", Right.CREATE, acting.new_task, asks_reason=False),
    Act("/limits/pause", Right.PAUSE, acting.pause),
    Act("/limits/resume", Right.PAUSE, acting.resume),
    Act("/limits/set", Right.LIMIT, acting.set_limit),
    Act("/limits/lift", Right.LIMIT, acting.lift_limit),
    Act("/schedules/{name}/pause", Right.SCHEDULE, acting_schedules.pause_schedule),
    Act("/schedules/{name}/resume", Right.SCHEDULE, acting_schedules.resume_schedule),
    Act("/schedules/{name}/trigger", Right.SCHEDULE, acting_schedules.trigger_schedule),
    Act(
        "/schedules/{name}/preview",
        Right.SCHEDULE,
        acting_schedules.preview_backfill,
        asks_reason=False,
    ),
    Act("/schedules/{name}/backfill", Right.SCHEDULE, acting_schedules.backfill_schedule),
    Act("/integrity/verify", Right.VERIFY, acting.verify_log, asks_reason=False),
    Act("/plans", Right.BULK, acting_many.plan_many, asks_reason=False),
    Act("/plans/{key}/apply", Right.BULK, acting_many.apply_plan),
    Act("/changes/{key}/undo", Right.UNDO, acting_many.undo_change),
    Act("/changes/{key}/finish", Right.BULK, acting_many.finish_change, asks_reason=False),
    Act("/filters/save", Right.VIEW, acting_many.save_filter, asks_reason=False),
    Act("/filters/drop", Right.VIEW, acting_many.drop_filter, asks_reason=False),
)

SERVICES = (
    Service("/start", "GET", None, "start"),
    Service("/start", "POST", None, "come_in"),
    Service("/log-out", "POST", Right.VIEW, "log_out"),
    Service("/go", "GET", Right.VIEW, "go"),
    Service("/find", "GET", Right.VIEW, "find"),
    Service("/events", "GET", Right.VIEW, "events", is_page=False),
    Service("/plans/{key}", "GET", Right.VIEW, "plan"),
    Service("/export/{file}", "GET", Right.VIEW, "export", is_page=False),
    Service("/help", "GET", Right.VIEW, "help"),
    Service("/metrics", "GET", Right.VIEW, "metrics", is_page=False),
    Service("/api/openapi.json", "GET", Right.VIEW, "openapi"),
    # Without a trace of the queue.
    Service("/static/{file}", "GET", None, "static"),
)
