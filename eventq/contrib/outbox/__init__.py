"""Tasks made in the application's own transactions: a row there, and a relay that appends it."""

from eventq.contrib.outbox.outbox import Outbox
from eventq.contrib.outbox.row import OutboxTask

__all__ = ["Outbox", "OutboxTask"]
