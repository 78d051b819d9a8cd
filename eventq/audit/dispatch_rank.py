"""A task's place among the ready ones at an instant, and the field that decides each comparison.

The order is the design's: highest priority, then whose turn it is where turns are taken, then
earliest scheduled_at, then lowest number. What a limit or a pause keeps back is not among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from eventq.audit.phrases import counted
from eventq.core.projection import Projection
from eventq.core.task import Route, Task

Field = Literal["priority", "turn", "scheduled_at", "number"]

# Whether tasks of a route are among those that are compared.
Choice = Callable[[Route], bool]

AHEAD: dict[Field, str] = {
    "priority": "higher priority",
    "turn": "their share's turn",
    "scheduled_at": "earlier scheduled_at",
    "number": "lower number",
}


class Rival(Struct, frozen=True):
    """Another ready task, and the first field in which the two differ."""

    task: Task
    field: Field


class Rank(Struct, frozen=True):
    """Where a task stood among the ready ones; those past their expiry do not count.

    ``ahead`` and ``behind`` are the nearest to dispatch of each; the dicts count all by the field
    that decides.
    """

    seq: int
    at: int
    ahead: list[Rival]
    ahead_by: dict[Field, int]
    behind: list[Rival]
    behind_by: dict[Field, int]
    overdue: int
    """Ready tasks past their expiry, which nobody leases."""
    held_back: int = 0
    """Ready tasks that a limit or a pause keeps back."""

    @property
    def ahead_count(self) -> int:
        """Tasks that would be leased first."""
        return sum(self.ahead_by.values())

    @property
    def behind_count(self) -> int:
        """Tasks that would be leased later."""
        return sum(self.behind_by.values())

    @property
    def place(self) -> int:
        """1 for the task that is next."""
        return self.ahead_count + 1


def rank_of(
    projection: Projection, task: Task, now: int, *, limit: int, choice: Choice | None = None
) -> Rank:
    """The task's rank among those the projection has as ready; O(ready tasks).

    The task itself need not be among them: then it is where it would stand. With a ``choice``, only
    the ready tasks of these routes count.
    """
    ahead: list[Rival] = []
    behind: list[Rival] = []
    ahead_by: dict[Field, int] = dict.fromkeys(AHEAD, 0)
    behind_by = dict(ahead_by)
    overdue = held_back = 0
    governing = projection.governing
    turns = governing.turns
    # A history alone does not say whose turn it is.
    task = projection.tasks.get(task.number, task)
    its_turn = turns.ahead_of(task.priority, task.share)
    for other in projection.ready(now):
        if other.number == task.number or (choice is not None and not choice(other.route)):
            continue
        if other.expires_at_us is not None and other.expires_at_us <= now:
            overdue += 1
            continue
        if governing.is_on and governing.held_by(other, now) is not None:
            held_back += 1
            continue
        turn = turns.ahead_of(other.priority, other.share), its_turn
        field, is_ahead = compare(other, task, turn)
        found, by = (ahead, ahead_by) if is_ahead else (behind, behind_by)
        by[field] += 1
        if len(found) < limit:
            found.append(Rival(other.as_of(now), field))
    return Rank(projection.seq, now, ahead, ahead_by, behind, behind_by, overdue, held_back)


def numbers_ahead(
    projection: Projection, task: Task, now: int, *, choice: Choice | None = None
) -> frozenset[int]:
    """The numbers of all that `rank_of` counts as ahead; O(ready tasks)."""
    turns, governing = projection.governing.turns, projection.governing
    its_turn = turns.ahead_of(task.priority, task.share)
    return frozenset(
        other.number
        for other in projection.ready(now)
        if other.number != task.number
        and (choice is None or choice(other.route))
        and (other.expires_at_us is None or other.expires_at_us > now)
        and not (governing.is_on and governing.held_by(other, now) is not None)
        and compare(other, task, (turns.ahead_of(other.priority, other.share), its_turn))[1]
    )


def overtaken_words(found: list[Rival], count: int) -> str:
    """Who went past a task that waits, and why the first of them could."""
    first = found[0]
    words = f"{counted(count, 'task')} overtook it since it became ready"
    why = {
        "priority": f"higher priority, {first.task.priority}",
        "turn": "its share's turn",
        "scheduled_at": "earlier scheduled_at",
        "number": "lower number",
    }
    names = ", ".join(rival.task.key for rival in found)
    more = ", ..." if count > len(found) else ""
    return f"{words}: {names}{more}; {first.task.key} by {why[first.field]}"


def compare(one: Task, other: Task, turn: tuple[int, int]) -> tuple[Field, bool]:
    """The field that decides between two ready tasks, and whether ``one`` is leased first.

    ``turn`` is how far the shares of the two are ahead.
    """
    if one.priority != other.priority:
        return "priority", one.priority > other.priority
    if turn[0] != turn[1]:
        return "turn", turn[0] < turn[1]
    if one.scheduled_at_us != other.scheduled_at_us:
        return "scheduled_at", one.scheduled_at_us < other.scheduled_at_us
    return "number", one.number < other.number


def ahead_words(rank: Rank, *, past: bool = False) -> str:
    """How many stand ahead, or stood there, by what decides."""
    if not rank.ahead_count:
        return f"no task {'was' if past else 'is'} ahead"
    parts = [f"{n:,} by {AHEAD[field]}" for field, n in rank.ahead_by.items() if n]
    one = rank.ahead_count == 1
    verb = ("was" if one else "were") if past else ("is" if one else "are")
    return f"{counted(rank.ahead_count, 'task')} {verb} ahead: {', '.join(parts)}"


def beaten_words(rank: Rank) -> str:
    """How many tasks were ready too and had to wait, by what decided."""
    if not rank.behind_count:
        return "no other task was ready"
    parts = [f"{n:,} by {AHEAD[field]}" for field, n in rank.behind_by.items() if n]
    return f"it beat {counted(rank.behind_count, 'task')}: {', '.join(parts)}"
