"""What a log without cuts says about its beginning."""

from __future__ import annotations

from typing import NoReturn

from eventq.core.seal import genesis
from eventq.errors import ArgumentError
from eventq.eventlog.contract import Head, Kept


class Uncut:
    """The part of an EventLog that begins, keeps and cuts, for one that holds all its events."""

    namespace: str
    url: str

    def start(self) -> Head:
        """See EventLog.start."""
        return Head(0, 0, genesis(self.namespace))

    def find_stray(self) -> int | None:
        """See EventLog.find_stray: there is no place for any."""
        return None

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:  # noqa: ARG002 - nothing is kept
        """See EventLog.find_kept."""
        return {}

    def keep(self, rows: list[Kept]) -> None:  # noqa: ARG002 - refused
        """See EventLog.keep; raises ArgumentError."""
        self._refuse()

    def cut(self, until: Head) -> None:  # noqa: ARG002 - refused
        """See EventLog.cut; raises ArgumentError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        expected = "a log in SQLite or MongoDB: one in a file is never cut, only kept or deleted"
        raise ArgumentError("url", self.url, expected)
