"""Questions to a log: what happened to its tasks, and why. Nothing here changes the log."""

from eventq.audit.bisect import Found, NotFound, bisect
from eventq.audit.diff import LogDifference, diff_logs, diff_points, ended_otherwise, passed_tasks
from eventq.audit.dispatch_rank import Rank, Rival
from eventq.audit.expression.parser import Expression, parse_expression
from eventq.audit.expression.view import View
from eventq.audit.finding import (
    Findings,
    Reach,
    find,
    find_attempts,
    find_groups,
    find_reach,
    group,
)
from eventq.audit.flow import FlowStep, FlowView, flow_at
from eventq.audit.history import Step, story
from eventq.audit.lookup import task_at
from eventq.audit.state import Held, QueueState, state_at
from eventq.audit.stepper.cursor import Cursor
from eventq.audit.timeline import Moment, Sought, timeline
from eventq.audit.why import Grant, Load, Why, why

__all__ = [
    "Cursor",
    "Expression",
    "Findings",
    "FlowStep",
    "FlowView",
    "Found",
    "Grant",
    "Held",
    "Load",
    "LogDifference",
    "Moment",
    "NotFound",
    "QueueState",
    "Rank",
    "Reach",
    "Rival",
    "Sought",
    "Step",
    "View",
    "Why",
    "bisect",
    "diff_logs",
    "diff_points",
    "ended_otherwise",
    "find",
    "find_attempts",
    "find_groups",
    "find_reach",
    "flow_at",
    "group",
    "parse_expression",
    "passed_tasks",
    "state_at",
    "story",
    "task_at",
    "timeline",
    "why",
]
