"""eventq: an auditable task queue on an append-only event log."""

from eventq.core.events import Event
from eventq.core.new_task import TaskSpec
from eventq.core.policy import Backoff
from eventq.core.task import Task, TaskState
from eventq.errors import (
    AlreadyRunningError,
    ArgumentError,
    AttemptCancelledError,
    AttemptStoppedError,
    Cancel,
    DeadlineExceededError,
    EventqError,
    KeyConflictError,
    LogArchivedError,
    LogConflictError,
    LogCorruptError,
    LogError,
    LogForeignError,
    LogOutcomeUnknownError,
    LogTooNewError,
    LogUnavailableError,
    NotAllowedError,
    QueueClosedError,
    Retry,
    SnapshotError,
    TaskNotFoundError,
)
from eventq.queue import Queue
from eventq.replay.query import Stats

__all__ = [
    "AlreadyRunningError",
    "ArgumentError",
    "AttemptCancelledError",
    "AttemptStoppedError",
    "Backoff",
    "Cancel",
    "DeadlineExceededError",
    "Event",
    "EventqError",
    "KeyConflictError",
    "LogArchivedError",
    "LogConflictError",
    "LogCorruptError",
    "LogError",
    "LogForeignError",
    "LogOutcomeUnknownError",
    "LogTooNewError",
    "LogUnavailableError",
    "NotAllowedError",
    "Queue",
    "QueueClosedError",
    "Retry",
    "SnapshotError",
    "Stats",
    "Task",
    "TaskNotFoundError",
    "TaskSpec",
    "TaskState",
]
