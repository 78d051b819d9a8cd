"""Event logs: the contract, and one module a database."""

from eventq.eventlog.contract import EventLog, Head, Kept, Rows, StoredEvent, Watch
from eventq.eventlog.open import open_log

__all__ = ["EventLog", "Head", "Kept", "Rows", "StoredEvent", "Watch", "open_log"]
