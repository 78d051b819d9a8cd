"""In which orders tasks are found, as words and as SQL, and by what they are counted."""

from __future__ import annotations

from typing import Literal

Order = Literal["number", "-number", "-last"]
"""By number, the newest first, or by the last event, the latest first."""

GroupBy = Literal["error", "node", "name", "hour"]
"""By the last error's type, each node that has leased it, name, or the hour of the last event."""

ORDERS: dict[Order, str] = {
    "number": "number",
    "-number": "number DESC",
    "-last": "coalesce(last_seq, since) DESC",
}
BEHIND: dict[Order, str] = {
    "number": "number > :after",
    "-number": "number < :after",
    "-last": "coalesce(last_seq, since) < :after",
}
