"""What commands ask of the log itself; by index, never by a fold."""

from __future__ import annotations

from collections.abc import Mapping

from eventq.core.command import BulkSince
from eventq.core.commits import Event
from eventq.core.task import Task
from eventq.eventlog.contract import EventLog
from eventq.replay.bulks import bulk_since
from eventq.replay.fold import created_and_task, decode_events, decode_histories


class LoggedPast:
    """The tasks of a log: what `core.command.PastTasks` promises to commands.

    ``read`` are histories that have been read already, each with the tasks that its task's end has
    cancelled; they are for one decision only, since the log goes on.
    """

    def __init__(
        self, log: EventLog, read: Mapping[int, tuple[list[Event], list[int]]] | None = None
    ) -> None:
        self._log = log
        self._read = {} if read is None else read
        # Of which change, behind which position, and what the log said last: who decides again
        # because others have appended reads only what they have.
        self._since: tuple[int, int, BulkSince] | None = None

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See PastTasks.find_keys."""
        return self._log.find_keys(keys)

    def created_and_task(self, number: int) -> tuple[Event | None, Task | None]:
        """See PastTasks.created_and_task."""
        return created_and_task(self._log, number)

    def history(self, number: int) -> list[Event]:
        """See PastTasks.history."""
        read = self._read.get(number)
        return decode_events(self._log.history(number)) if read is None else read[0]

    def caused_by(self, number: int) -> list[int]:
        """See PastTasks.caused_by."""
        read = self._read.get(number)
        return self._log.caused_by([number]).get(number, []) if read is None else read[1]

    def bulk_since(self, bulk: int, after: int, until: int) -> BulkSince:
        """See PastTasks.bulk_since."""
        known = None
        if self._since is not None and self._since[:2] == (bulk, after):
            known = self._since[2] if self._since[2].seq < until else None
        found = bulk_since(self._log, bulk, after=after, until=until, known=known)
        self._since = (bulk, after, found)
        return found

    def ahead(self, numbers: list[int]) -> LoggedPast:
        """See PastTasks.ahead."""
        histories = decode_histories(self._log.histories(numbers))
        caused = self._log.caused_by(numbers)
        read = {number: (histories.get(number, []), caused.get(number, [])) for number in numbers}
        return LoggedPast(self._log, read)
