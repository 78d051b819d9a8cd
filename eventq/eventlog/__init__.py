"""Event logs: the contract, and one module a database."""

from eventq.eventlog.contract import EventLog, Head, Kept, Rows, StoredEvent, Watch
from eventq.eventlog.open import file_of, open_log

__all__ = ["EventLog", "Head", "Kept", "Rows", "StoredEvent", "Watch", "file_of", "open_log"]
