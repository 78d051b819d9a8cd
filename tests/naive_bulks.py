"""Changes to many tasks, and what is taken back, in the naive model; see `naive`.

Each task is changed by itself, and what it was before is a copy of its row.
"""

from __future__ import annotations

from copy import deepcopy

from eventq.core.queue_events import Bulk
from eventq.errors import EventqError
from tests.naive import Naive, Story
from tests.naive_rows import Row, WrongError

# What leaves a task where it is.
BESIDE = {"refused", "revived", "progressed", "saved", "noted"}


class NaiveBulks:
    """What every event by hand did: by its position, the task as it was before, and the kind."""

    def __init__(self, model: Naive) -> None:
        self.model = model
        self.last: dict[int, int] = {}
        """The last event that changed each task, by number."""
        self.before: dict[int, tuple[Row, str]] = {}
        self.bulks: list[list[tuple[int, int]]] = []
        """Each change that was made: the tasks, with the events about them."""

    def note(self, first: int, story: Story) -> None:
        """A story was told from a position on."""
        for seq, (number, kind) in enumerate(story, first):
            if number and kind not in BESIDE:
                self.last[number] = seq

    def begin(self) -> Story:
        """A change begins."""
        return self.model._tell([(0, "bulk")])

    def change(self, pairs: list[tuple[int, int]], now: int, first: int, said: Bulk) -> Story:
        """Each task is changed that nothing has happened to since."""
        story: Story = []
        own: list[tuple[int, int]] = []
        for number, last_seq in pairs:
            row = self.model.row(number)
            is_here = any(number == each and kind not in BESIDE for each, kind in story)
            if row.newer is not None or self.last[number] != last_seq or is_here:
                continue
            before = deepcopy(row)
            seq = first + len(story)
            try:
                told = self._changed(row, last_seq, now, said)
            except WrongError:
                continue
            if told:
                self.before[seq] = before, told[0][1]
                own.append((number, seq))
            story += told
        self.bulks.append(own)
        return story

    def _changed(self, row: Row, last_seq: int, now: int, said: Bulk) -> Story:
        model, action = self.model, said.action
        if action == "undo":
            return self._undone(row, *self.before[last_seq], now)
        if action == "cancel":
            return model.cancel(row.number, "why not", now)
        if action == "update":
            return model.update(row.number, priority=said.priority, lane=said.lane)
        if row.state == "blocked":
            return []
        return model.retry(row.number, now)

    def _undone(self, row: Row, before: Row, kind: str, now: int) -> Story:
        """The row is what it was before its last event."""
        if kind == "updated":
            if row.state not in {"waiting", "blocked"}:
                raise WrongError(EventqError)
            row.priority, row.tags, row.lane = before.priority, before.tags, before.lane
            row.scheduled_at = before.scheduled_at
            self.model.rules.place(row, row.buckets)
            return self._tell([(row.number, "updated")])
        names = ["retries", "lapses", "scheduled_at", "expires_at", "started_at"]
        if kind == "retried":
            for name in [*names, "state", "reason", "ended_at", "cause", "unneeded"]:
                setattr(row, name, getattr(before, name))
            return self._tell([(row.number, row.state)])
        model, links = self.model, self.model.links
        if model._is_taken(row.unique) or links.comes_after_newer(row):
            raise WrongError(EventqError)
        for name in names:
            setattr(row, name, getattr(before, name))
        row.state, row.reason, row.ended_at, row.progress = "waiting", None, None, None
        links.reopen(row, waives=False)
        for number, how in row.after.items():
            if how == "failed" and before.after[number] == "met":
                row.after[number] = "met"
        if row.state == "blocked" and row.role == "member" and {*row.after.values()} == {"met"}:
            row.state = "waiting"
        model.rules.place(row, row.first_buckets)
        back = model._bring_back([row.number], 1_000, now)
        return self._tell([(row.number, "retried"), *back])

    def _tell(self, story: Story) -> Story:
        return self.model._tell(story)
