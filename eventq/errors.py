"""Every error eventq raises lives here; nothing here does any work.

The tree::

    EventqError
    |-- ArgumentError (also a ValueError)   an argument is wrong in type, range or form
    |-- KeyConflictError                    the key is taken by a task with other content
    |-- FlowExistsError                     a flow with this key was made before
    |-- DuplicateTaskError                  an open task has this unique value
    |-- TaskNotFoundError (also LookupError)
    |-- NotAllowedError                     the task's state does not permit the command
    |-- NotUndoableError                    what an event did cannot be taken back
    |-- QueueClosedError
    |-- AlreadyRunningError                 `run` was called while it runs
    |-- UnguardedError                      a program ran while it was imported for its handlers
    |-- EventLoopError                      a call would hold up the event loop that it needs
    |-- WorkersStuckError                   all workers ignored their cancellation for too long
    |-- LoopEndedError                      the event loop of `AsyncQueue.run` ended
    |-- ReentrantCallError                  a signal handler called the queue it has interrupted
    |-- TransactionError                    it is over, or was rolled back, or is used elsewhere
    |   `-- TransactionTimeoutError (also TimeoutError)  it held the log up for too long
    |-- OutboxError                         its table is missing or of another version
    |-- StatementError                      a statement breaks a constraint of the user's tables
    |-- SnapshotError                       a snapshot is damaged or does not fit
    |-- AnchorError                         an anchor could not be kept, or not be stamped
    |-- CatalogError                        a catalog cannot be read or written
    |   `-- CatalogTooNewError              it was made by a newer eventq
    |-- LogError                            the log underneath
    |   |-- LogUnavailableError             cannot be reached, read or written now
    |   |   `-- LogOutcomeUnknownError      and an append may have been made
    |   |-- LogConflictError                append at a position somebody else has filled
    |   |-- LogCorruptError                 what is stored contradicts its seal or order
    |   |-- LogLostError                    the log's file was deleted or replaced while open
    |   |-- LogForeignError                 the target holds something that is not ours
    |   |-- LogArchivedError                the events asked for are in an archive now
    |   `-- LogTooNewError                  written by a newer eventq
    |-- AttemptStoppedError                 raised by ctx.check() inside a worker
    |   |-- AttemptCancelledError
    |   `-- DeadlineExceededError
    |-- ProcessDiedError                    the process of an isolated attempt ended under it
    |-- NotBoundError                       a handler was asked for a task, but has no queue
    |-- NoAttemptError                      no attempt runs here, or this one has ended
    |-- TaskFailedError                     the result was asked for of a task that has none
    |-- WaitTimeoutError (also TimeoutError)  the task waited for has not ended in time
    |-- Retry                               raised by a worker: failed, try again later
    |-- Fail                                raised by a worker: failed for good
    |-- Snooze                              raised by a worker: not now, and no attempt counted
    `-- Cancel                              raised by a worker: the task is pointless
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


class EventqError(Exception):
    """Base of all errors of eventq."""

    def __reduce__(self) -> tuple[object, ...]:
        """For pickle: without it the message would be taken for the arguments of `__init__`."""
        return _restored, (type(self), self.args), self.__dict__


class ArgumentError(EventqError, ValueError):
    """An argument was wrong; nothing was changed. Correct the argument named and call again."""

    def __init__(self, argument: str, value: object, expected: str) -> None:
        self.argument = argument
        self.value = value
        self.expected = expected
        super().__init__(f"{argument}: expected {expected}, got {shown(value)}")


class KeyConflictError(EventqError):
    """A task with this key and other content exists; use another key, or the same content.

    ``task`` is its number, 0 for another task of the same call or commit, which has none yet.
    """

    def __init__(self, key: str, task: int, differs: str) -> None:
        self.key = key
        self.task = task
        self.differs = differs
        owner = f"task {task}" if task else "another task of the same call"
        super().__init__(f"key {shown(key)} belongs to {owner}, which differs in {differs}")


class FlowExistsError(EventqError):
    """A flow with this key was made before; nothing was created. Use another key, or look at it.

    ``flow`` is its number, by which `eventq flow` shows it, as by its key.
    """

    def __init__(self, key: str, flow: int) -> None:
        self.key = key
        self.flow = flow
        super().__init__(f"there is a flow with the key {shown(key)}: it began at {flow}")


class DuplicateTaskError(EventqError):
    """An open task has this ``unique`` value, and ``on_duplicate="raise"`` was asked for.

    Nothing was created. ``key`` is that task's, ``task`` its number (0 for another task of the same
    call or commit, which has none yet). Its end frees the value.
    """

    def __init__(self, unique: str, *, key: str | None, task: int) -> None:
        self.unique = unique
        self.key = key
        self.task = task
        owner = f"task {shown(key)}" if key is not None else "another task of the same call"
        super().__init__(f"{owner} is open and has the unique value {shown(unique)}")


class TaskNotFoundError(EventqError, LookupError):
    """No task has this key in this namespace, or had it at the point asked about.

    ``known_as`` is the key of its own that the task with this number goes by, if there is one.
    ``created_seq`` and ``created_at`` tell where and when it was created later on, if it was.
    """

    def __init__(
        self,
        key: str,
        *,
        known_as: str | None = None,
        created_seq: int | None = None,
        created_at: str | None = None,
    ) -> None:
        self.key = key
        self.known_as = known_as
        self.created_seq = created_seq
        self.created_at = created_at
        name = shown(key)
        if created_seq is not None:
            problem = f"no task had, at that point, the key {name}"
            super().__init__(f"{problem}: it was created at {created_seq}, {created_at}")
        elif known_as is not None:
            own = f"the task with that number has the key {shown(known_as)}"
            super().__init__(f"no task has the key {name}: {own}")
        else:
            super().__init__(f"no task has the key {name}")


class NotAllowedError(EventqError):
    """The task's state does not permit the command; look at its history for the reason.

    ``holder`` is the key of the open task that has the task's ``unique`` value, where that is why.
    """

    def __init__(self, command: str, key: str, state: str, *, holder: str | None = None) -> None:
        self.command = command
        self.key = key
        self.state = state
        self.holder = holder
        why = "" if holder is None else f", and task {shown(holder)} has its unique value"
        super().__init__(f"cannot {command} task {shown(key)}: it is {state}{why}")


class NotUndoableError(EventqError):
    """The event at this position cannot be taken back; ``why`` says what can be done instead."""

    def __init__(self, position: int, why: str) -> None:
        self.position = position
        self.why = why
        super().__init__(f"event {position} cannot be undone: {why}")


class QueueClosedError(EventqError):
    """The queue was closed; open a new one."""


class AlreadyRunningError(EventqError):
    """This queue is running a worker; open a second queue, or wait for the run to end.

    A worker that wants its own queue closed calls ``stop``: ``close`` would wait for the worker.
    """

    def __init__(self, problem: str = "this queue is already running a worker") -> None:
        self.problem = problem
        super().__init__(problem)


class UnguardedError(EventqError):
    """A program makes tasks, or runs them, while a process imports it for its isolated handlers.

    Put what it does behind ``if __name__ == "__main__":``, so that importing it does nothing.
    """

    def __init__(self, call: str) -> None:
        self.call = call
        super().__init__(
            f"{call} was called while this module is imported for its isolated handlers: "
            'put it behind `if __name__ == "__main__":`'
        )


class EventLoopError(EventqError):
    """A call that waits was made in an event loop; use the form for asyncio that the error names.

    It would hold up the loop, perhaps for ever: what it waits for may need the loop to go on.
    """

    def __init__(self, call: str, instead: str) -> None:
        self.call = call
        self.instead = instead
        super().__init__(f"{call} would hold up the event loop that runs here; use {instead}")


class WorkersStuckError(EventqError):
    """The run ended because all its workers ignored for ``max_stuck`` that they should end.

    Their leases are over, so other nodes run the tasks. Only the end of the process frees their
    threads: end it, and have its supervisor start another.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        super().__init__(f"all workers are stuck ({workers}): they ignore that they should end")


class LoopEndedError(EventqError):
    """The event loop that workers run in has ended, and the run with it; run again.

    What ran in the loop has failed with what ended it; what else was leased was given back.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the run has ended: {problem}")


class ReentrantCallError(EventqError):
    """A signal handler or a logging handler called the queue whose call it has interrupted.

    It would wait for itself. Set a flag in the handler, and call the queue later.
    """

    def __init__(self) -> None:
        super().__init__(
            "this thread is in a call of this queue, which a signal handler or a logging handler "
            "has interrupted: set a flag there, and call the queue later"
        )


class TransactionError(EventqError):
    """A transaction is over, was rolled back, or is used where it cannot be; begin a new one.

    Nothing of it is stored, neither rows nor tasks, unless it had ended well before.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the transaction cannot be used: {problem}")


class TransactionTimeoutError(TransactionError, TimeoutError):
    """A transaction was rolled back: its block went on for longer than its ``timeout``.

    It holds up all who append to the file. Do what takes long before it, or give it more time.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(f"it was rolled back, since it went on for longer than {timeout_s:g} s")


class StatementError(EventqError):
    """A statement breaks a constraint of the tables that it writes to, and has changed nothing.

    The transaction goes on, unless the error leaves its block. ``code`` is SQLite's name for it,
    such as "SQLITE_CONSTRAINT_UNIQUE".
    """

    def __init__(self, problem: str, code: str) -> None:
        self.problem = problem
        self.code = code
        super().__init__(problem)


class OutboxError(EventqError):
    """The outbox's table is missing in the application's database, or of another version.

    Make it with the command that the error names; nothing was written or relayed.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class SnapshotError(EventqError):
    """A snapshot is damaged, of another version or not of this log; the log can do without it.

    Delete it and take a new one. Whatever folds a log discards it by itself, and folds more events.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the snapshot cannot be used: {problem}")


class AnchorError(EventqError):
    """An anchor could not be kept, stamped or read; the log is as it was.

    ``problem`` says what went wrong, and where. It is tried ``again``, unless that cannot help.
    """

    def __init__(self, problem: str, *, again: bool = True) -> None:
        self.problem = problem
        self.again = again
        super().__init__(problem)


class CatalogError(EventqError):
    """A catalog, the file at ``path``, cannot be read or written; the log is not concerned.

    Make room, name another place for it (--catalog), or drop it: the log can do without it.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        words = f"the catalog {path}: {problem}"
        super().__init__(words if words.isprintable() else ascii(words)[1:-1])


class CatalogTooNewError(CatalogError):
    """The catalog was made by a newer eventq; upgrade this one, or drop the catalog."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "it was made by a newer eventq: upgrade this one, or drop it")


class LogError(EventqError):
    """Base of the errors of the event log. A path in a message is shown escaped."""

    def __init__(self, *args: str) -> None:
        super().__init__(*(t if t.isprintable() else ascii(t)[1:-1] for t in args))


class LogUnavailableError(LogError):
    """The log cannot be reached, read or written now; nothing was appended. Call again later."""


class LogOutcomeUnknownError(LogUnavailableError):
    """The log went away in the middle of an append, which may have been made.

    Read the log to find out, or call again: with a key, a task is not created twice.
    """


class LogConflictError(LogError):
    """Somebody appended first: read on from the expected position and decide again."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        super().__init__(f"position {expected} is taken; read on and decide again")


class LogCorruptError(LogError):
    """What is stored contradicts its seal or its order; restore a copy or look at the position."""

    def __init__(self, position: int, problem: str) -> None:
        self.position = position
        self.problem = problem
        super().__init__(f"the log is damaged at position {position}: {problem}")


class LogLostError(LogError):
    """The log's file was deleted, moved, replaced or given a second name while it was open.

    Nothing was appended, and calling again cannot help: close the queue and open it anew.
    """


class LogForeignError(LogError):
    """The target is not an eventq log; point the URL somewhere else."""


class LogArchivedError(LogError):
    """The events asked for were moved to an archive; name its folder, and they are read there."""

    def __init__(self, position: int, start: int) -> None:
        self.position = position
        self.start = start
        super().__init__(
            f"the events up to position {start} have been archived, and position {position} is "
            "among them; name the archive's folder (--archive, EVENTQ_ARCHIVE, archive=)"
        )


class LogTooNewError(LogError):
    """The log was written by a newer eventq; upgrade this process."""


class AttemptStoppedError(EventqError):
    """Base of what ``ctx.check()`` raises; let it pass through the worker."""


class AttemptCancelledError(AttemptStoppedError):
    """The task was cancelled or its lease was lost or given back; stop working on it."""


class DeadlineExceededError(AttemptStoppedError):
    """The attempt ran past its deadline; it has been recorded as failed."""


class ProcessDiedError(EventqError):
    """The process of an isolated attempt ended before the attempt did; it has failed.

    It was killed by ``signal`` ("SIGSEGV"), or ended with the exit code ``code``. A SIGKILL that
    eventq did not send comes from the system when memory runs out, or from a person.
    """

    def __init__(self, problem: str, *, code: int | None = None, signal: str | None = None) -> None:
        self.problem = problem
        self.code = code
        self.signal = signal
        super().__init__(problem)


class NotBoundError(EventqError):
    """A handler makes tasks through the one open queue that it is bound to; this one has not one.

    Bind it with ``Queue(handlers=[...])``, or name the queue: ``queue.new(handler, ...)``.
    """

    def __init__(self, name: str, queues: int) -> None:
        self.name = name
        self.queues = queues
        bound = f"{queues} open queues" if queues else "no open queue"
        super().__init__(
            f"handler {shown(name)} is bound to {bound}: say queue.new(handler, ...) on one"
        )


class NoAttemptError(EventqError):
    """`current()` was called where no attempt runs, or `new` or `save` once theirs had ended.

    They are for code that a worker calls before it returns.
    """


class TaskFailedError(EventqError):
    """The task ended without success, or has not ended: there is no result.

    ``reason`` says why it expired or was cancelled, ``error`` what its last failed attempt met.
    """

    def __init__(self, key: str, state: str, *, reason: str | None, error: str | None) -> None:
        self.key = key
        self.state = state
        self.reason = reason
        self.error = error
        how = f"is {state}" + (f" ({reason})" if reason else "")
        met = "" if error is None else f"; its last error: {error}"
        super().__init__(f"task {shown(key)} {how}{met}")


class WaitTimeoutError(EventqError, TimeoutError):
    """The task has not ended within the timeout; wait again, or ask `why` it has not.

    ``state`` is where the task stood then.
    """

    def __init__(self, key: str, state: str) -> None:
        self.key = key
        self.state = state
        super().__init__(f"task {shown(key)} has not ended in time: it is {state}")


class Retry(EventqError):  # noqa: N818 - an outcome a worker raises, not an error it meets
    """Raised by a worker: this attempt failed, try again after ``delay``.

    ``delay`` is a duration (see durations.py); None takes the task's own backoff. It counts as
    a failure: when no retries are left, the task expires. Raised ``from`` another error, that
    one's type, message and traceback are kept.
    """

    def __init__(self, reason: str = "", *, delay: str | float | timedelta | None = None) -> None:
        self.reason = reason
        self.delay = delay
        super().__init__(reason or "the worker asked for a retry")


class Fail(EventqError):  # noqa: N818 - an outcome a worker raises, not an error it meets
    """Raised by a worker: this attempt failed, and so will all others. The task expires at once.

    Raised ``from`` another error, that one's type, message and traceback are kept.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "the worker failed the task for good")


class Snooze(EventqError):  # noqa: N818 - an outcome a worker raises, not an error it meets
    """Raised by a worker: not now; the task is tried again after ``delay``, a duration.

    It counts as no attempt and no failure, however often it comes; ``max_age`` bounds it.
    """

    def __init__(self, delay: str | float | timedelta, reason: str = "") -> None:
        self.delay = delay
        self.reason = reason
        super().__init__(reason or "the worker put the task off")


class Cancel(EventqError):  # noqa: N818 - an outcome a worker raises, not an error it meets
    """Raised by a worker: the task is pointless, cancel it for good."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "the worker cancelled the task")


def _restored(kind: type[EventqError], args: tuple[object, ...]) -> EventqError:
    """An error with its message; pickle gives it its attributes."""
    return kind.__new__(kind, *args)


def shown(value: object, *, limit: int = 80) -> str:
    """A short, printable form of any value for a message, even of one whose repr fails."""
    try:
        text = ascii(value) if isinstance(value, str) else repr(value)
    except Exception as error:  # noqa: BLE001 - a broken repr must not hide the real message
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    if not (text.isascii() and text.isprintable()):
        text = ascii(text)[1:-1]
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


for _found in list(globals().values()):
    if isinstance(_found, type) and issubclass(_found, EventqError):
        # Histories keep an error's full name: the public one, which no later move of code changes.
        _found.__module__ = "eventq"
