"""eventq: an auditable task queue on an append-only event log."""

from eventq.errors import (
    AlreadyRunningError,
    ArgumentError,
    AttemptCancelledError,
    AttemptStoppedError,
    Cancel,
    DeadlineExceededError,
    EventLoopError,
    EventqError,
    KeyConflictError,
    LogArchivedError,
    LogConflictError,
    LogCorruptError,
    LogError,
    LogForeignError,
    LogLostError,
    LogOutcomeUnknownError,
    LogTooNewError,
    LogUnavailableError,
    LoopEndedError,
    NotAllowedError,
    QueueClosedError,
    Retry,
    SnapshotError,
    TaskNotFoundError,
    WorkersStuckError,
)
from eventq.events import Event
from eventq.options import TaskSpec
from eventq.policy import Backoff
from eventq.query import Stats
from eventq.queue import Queue
from eventq.task import Task, TaskState

__version__ = "0.1.0"

__all__ = [
    "AlreadyRunningError",
    "ArgumentError",
    "AttemptCancelledError",
    "AttemptStoppedError",
    "Backoff",
    "Cancel",
    "DeadlineExceededError",
    "Event",
    "EventLoopError",
    "EventqError",
    "KeyConflictError",
    "LogArchivedError",
    "LogConflictError",
    "LogCorruptError",
    "LogError",
    "LogForeignError",
    "LogLostError",
    "LogOutcomeUnknownError",
    "LogTooNewError",
    "LogUnavailableError",
    "LoopEndedError",
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
    "WorkersStuckError",
    "__version__",
]
