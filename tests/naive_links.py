"""What tasks of the naive model wait for, and flows, in plain lists; see `naive`.

After each step all blocked rows are looked at anew. Nothing is kept by index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.naive_rows import Row

Story = list[tuple[int, str]]


@dataclass
class NaiveFlow:
    """One flow: who counts as its member, and whether it has closed."""

    members: list[Row] = field(default_factory=list)
    finalisers: list[Row] = field(default_factory=list)
    is_closed: bool = False
    has_failed: bool = False
    is_over: bool = False
    """No finaliser waits any more; one that is reopened later waits for nobody."""


class NaiveLinks:
    """Waits and flows of the model's rows; ``row`` finds one by its number."""

    def __init__(self, rows: list[Row], row: Callable[[int], Row]) -> None:
        self.rows = rows
        self.row = row
        self.flows: dict[int, NaiveFlow] = {}
        self.reviving: list[int] = []

    def link(self, row: Row, after: list[int], if_failed: str, given: dict[str, int]) -> None:
        """A new or reopened row comes after others, as they stand now."""
        row.if_failed, row.given = (if_failed, given) if after else ("cancel", {})
        row.after = {number: self._stand(row, number) for number in after}
        if row.after and "after" not in row.needs:
            row.needs = (*row.needs, "after")
        if any(how != "met" for how in row.after.values()):
            row.state = "blocked"

    def join(self, row: Row, flow: int, role: str) -> None:
        """A new row is in a flow."""
        row.flow, row.role = flow, role
        known = self.flows.setdefault(flow, NaiveFlow())
        if role == "member":
            known.members.append(row)
            return
        known.finalisers.append(row)
        row.state, row.needs = "blocked", (*row.needs, "after")

    def takes_members(self, row: Row) -> bool:
        """Whether what the row makes joins its flow."""
        if row.flow is None or row.role != "member":
            return False
        flow = self.flows[row.flow]
        return not flow.is_closed and row in flow.members

    def settle(self) -> None:
        """Looks at each blocked row, and each flow, anew."""
        for row in self.rows:
            if row.state == "blocked" and row.role == "member":
                for number, how in row.after.items():
                    row.after[number] = "met" if how == "met" else self._stand(row, number)
                if all(how == "met" for how in row.after.values()):
                    row.state = "waiting"
        for flow in self.flows.values():
            if not flow.is_closed and not any(row.is_open for row in flow.members):
                self._close(flow)
            if flow.is_closed:
                self._run_finalisers(flow)

    def reopen(self, row: Row, *, waives: bool) -> None:
        """A final row is open again."""
        row.cause, row.unneeded = None, False
        self.link(row, list(row.after), row.if_failed, row.given)
        if waives:
            row.after = {n: "met" if how == "failed" else how for n, how in row.after.items()}
            if row.state == "blocked" and "open" not in row.after.values():
                row.state = "waiting"
        flow = None if row.flow is None else self.flows[row.flow]
        if flow is not None and flow.is_closed and row in flow.members:
            flow.members.remove(row)
        if flow is not None and row.role != "member":
            turn = not flow.is_closed or (row.role == "finally" and not flow.is_over)
            row.state = "blocked" if turn else "waiting"

    def is_stuck(self, row: Row) -> bool:
        """Whether a retry by hand would have it wait for less."""
        return row.unneeded or "failed" in row.after.values()

    def waive(self, row: Row) -> None:
        """Somebody has the row not mind what has failed."""
        row.after = {n: "met" if how == "failed" else how for n, how in row.after.items()}
        if row.unneeded:
            row.unneeded, row.state = False, "waiting"

    def doomed(self) -> list[Row]:
        """The blocked rows that will never run by themselves, by number."""
        blocked = [row for row in self.rows if row.state == "blocked"]
        found = [
            row
            for row in blocked
            if row.unneeded or (row.if_failed == "cancel" and "failed" in row.after.values())
        ]
        return sorted(found, key=lambda row: row.number)

    def choose_doomed(self, room: int, but: Sequence[Row] = ()) -> dict[int, int | None]:
        """What is doomed, and what that dooms, the lowest number first; each with its cause."""
        chosen: dict[int, int | None] = {}
        while len(chosen) < room:
            best: tuple[int, int | None] | None = None
            for row in self.rows:
                if row.state != "blocked" or row.number in chosen or row in but:
                    continue
                cause = self._cause(row, chosen)
                if (row.unneeded or cause is not None) and (best is None or row.number < best[0]):
                    best = row.number, cause
            if best is None:
                break
            chosen[best[0]] = best[1]
        return chosen

    def cancel(self, chosen: dict[int, int | None], now: int) -> Story:
        """Cancels these, each for its cause."""
        for number, cause in chosen.items():
            row = self.row(number)
            row.state, row.ended_at, row.cause = "cancelled", now, cause
            row.reason = "a task that it comes after ended without success"
            if row.unneeded:
                row.reason = "no member of its flow failed"
        return [(number, "cancelled") for number in chosen]

    def flows_in_progress(self) -> set[int]:
        """The flows that go on, or whose last finalisers wait for others."""
        return {number for number, flow in self.flows.items() if not flow.is_over}

    def caused_by(self, number: int) -> list[Row]:
        """The rows that the end of another one has cancelled, and that are so still."""
        return [row for row in self.rows if row.cause == number and row.state == "cancelled"]

    def comes_after_newer(self, row: Row) -> bool:
        """Whether only a newer eventq knows how something stands that it comes after."""
        return any(self.row(number).newer is not None for number in row.after)

    def _cause(self, row: Row, chosen: dict[int, int | None]) -> int | None:
        if row.if_failed != "cancel":
            return None
        failed = [number for number, how in row.after.items() if how == "failed"]
        return min(failed or [n for n, how in row.after.items() if n in chosen], default=None)

    def _stand(self, row: Row, number: int) -> str:
        other = self.row(number)
        if other.is_open:
            return "open"
        return "met" if other.state == "completed" or row.if_failed == "run" else "failed"

    def _close(self, flow: NaiveFlow) -> None:
        flow.is_closed = True
        flow.has_failed = any(row.state != "completed" for row in flow.members)
        for row in flow.finalisers:
            if row.role == "on_failure" and row.state == "blocked":
                row.unneeded = not flow.has_failed

    def _run_finalisers(self, flow: NaiveFlow) -> None:
        for row in flow.finalisers:
            if row.state == "blocked" and row.role == "on_failure" and not row.unneeded:
                row.state = "waiting"
        flow.is_over = flow.is_over or not self._fails_on(flow)
        for row in flow.finalisers:
            if row.state == "blocked" and row.role == "finally" and flow.is_over:
                row.state = "waiting"

    def _fails_on(self, flow: NaiveFlow) -> bool:
        """Whether a finaliser for a failure has still to end."""
        return flow.has_failed and any(
            row.is_open for row in flow.finalisers if row.role == "on_failure"
        )
