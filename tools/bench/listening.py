"""Counts what the MongoDB driver sends to servers: journeys, and commits by their documents."""

from __future__ import annotations

from pymongo import monitoring

# Questions about the connection, not about the log.
_OWN_BUSINESS = {"endSessions", "hello", "isMaster", "ping"}


class Listening(monitoring.CommandListener):
    """Counts for all clients that are opened after it was made."""

    def __init__(self) -> None:
        self.journeys = 0
        self.commits = 0
        self.conflicts = 0
        self.events = 0
        self._sent: dict[int, int] = {}
        monitoring.register(self)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """A command leaves."""
        if event.command_name in _OWN_BUSINESS:
            return
        self.journeys += 1
        if event.command.get("insert") == "commits":
            documents = event.command["documents"]
            self._sent[event.request_id] = sum(document["n"] for document in documents)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """An answer comes; a position that is taken is an error in it."""
        events = self._sent.pop(event.request_id, None)
        if events is None:
            return
        if "writeErrors" in event.reply:
            self.conflicts += 1
        else:
            self.commits += 1
            self.events += events

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """No answer, or an error for one."""
        self._sent.pop(event.request_id, None)
