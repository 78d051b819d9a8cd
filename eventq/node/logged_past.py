"""What commands ask of the log itself; by index, never by a fold."""

from __future__ import annotations

from eventq.core.commits import Event
from eventq.core.task import Task
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import created_and_task, decode_events


class LoggedPast:
    """The tasks of a log: what `core.command.PastTasks` promises to commands."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See PastTasks.find_keys."""
        return self._log.find_keys(keys)

    def created_and_task(self, number: int) -> tuple[Event | None, Task | None]:
        """See PastTasks.created_and_task."""
        return created_and_task(self._log, number)

    def history(self, number: int) -> list[Event]:
        """See PastTasks.history."""
        return decode_events(self._log.history(number))

    def caused_by(self, number: int) -> list[int]:
        """See PastTasks.caused_by."""
        return self._log.caused_by(number)
