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
    ReentrantCallError,
    Retry,
    SnapshotError,
    TaskNotFoundError,
    WorkersStuckError,
)
from eventq.queue import AsyncQueue, Queue
from eventq.replay.query import Stats

__version__ = "0.1.0"

__all__ = [
    "AlreadyRunningError",
    "ArgumentError",
    "AsyncQueue",
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
    "ReentrantCallError",
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
