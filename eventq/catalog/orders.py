"""In which orders tasks are found, as words and as SQL."""

from __future__ import annotations

from typing import Literal

Order = Literal["number", "-number", "-last"]
"""By number, the newest first, or by the last event, the latest first."""

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
