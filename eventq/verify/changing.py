"""Changes to many tasks, and what is taken back, judged again with nothing of core's.

Rule 20 of the design: a change can be told from its events, which are about no other tasks than it
says, each once; and what an undo makes of a task is what it was.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from msgspec import UNSET, Struct

from eventq.core.commits import KIND_OF
from eventq.core.events import Cancelled, Expired, Retried, Updated
from eventq.core.queue_events import Bulk, BulkEnded
from eventq.verify.seen import Seen
from eventq.verify.terms import BrokenError, Last, Past

RULE, UNDO = "bulk", "undo"
Changing = Retried | Expired | Cancelled | Updated


class JudgedBulk(Struct):
    """A change that has begun, and the tasks that it has changed, by number."""

    said: Bulk
    changed: dict[int, int] = {}
    """The last event that each had before."""
    ended: bool = False


class BulkRules:
    """The changes to many tasks that go on, and the rule for what is taken back."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._begun: dict[int, JudgedBulk] = {}

    def begin(self, seq: int, body: Bulk) -> None:
        """A change begins. Raises BrokenError."""
        if not 0 <= body.position < seq or body.count < 0:
            raise BrokenError(RULE, f"about tasks as of position {body.position}")
        if (body.action == "undo") != (body.undoes is not None):
            raise BrokenError(RULE, f"a bulk {body.action} that says what it undoes, or does not")
        if (body.action == "undo") != (body.selector is UNSET):
            raise BrokenError(RULE, f"a bulk {body.action} and its selector do not fit")
        self._begun[seq] = JudgedBulk(body)

    def end(self, seq: int, body: BulkEnded) -> None:
        """A change is done. Raises BrokenError where its events say otherwise."""
        begun = None if body.bulk is None else self._find(seq, body.bulk)
        if begun is None:
            return
        if begun.ended:
            # Two nodes may have finished it.
            return
        said = begun.said
        if body.changed != len(begun.changed) or body.changed + body.moved_on != said.count:
            problem = f"{body.changed} changed and {body.moved_on} moved on"
            of = f"{len(begun.changed)} of {said.count} by its events"
            raise BrokenError(RULE, f"{problem}, but it is {of}")
        pairs = sorted([*begun.changed.items(), *body.left])
        if len(pairs) == said.count and _digest(pairs) != said.digest:
            raise BrokenError(RULE, "it has changed other tasks than it says")
        begun.ended, begun.changed = True, {}

    def take(self, seq: int, number: int, body: Changing, task: Seen) -> None:
        """Judges what happens to a task as a part of a change, or takes something back.

        ``task`` is as it was before. Raises BrokenError.
        """
        last = self._past.last(number, seq)
        begun = None if body.bulk is None else self._find(seq, body.bulk)
        if begun is not None:
            _check_kind(begun.said, body)
            _take_part(begun, number, body, last_seq=0 if last is None else last.seq)
        if body.undoes is not None and last is not None:
            self._take_back(number, body, task, last, begun)

    def _find(self, seq: int, bulk: int) -> JudgedBulk | None:
        """The change with this number; None where nothing can be said of it."""
        found = self._begun.get(bulk)
        if found is None and not (bulk < seq and self._past.is_trusted(bulk)):
            raise BrokenError(RULE, f"no bulk change begins at {bulk}")
        return found

    def _take_back(
        self, number: int, body: Changing, task: Seen, last: Last, begun: JudgedBulk | None
    ) -> None:
        """What it takes back is the task's last event, and the task is what it was before that."""
        if last.seq != body.undoes:
            raise BrokenError(UNDO, f"takes back event {body.undoes}; the last is {last.seq}")
        if begun is not None and begun.said.undoes not in {last.seq, last.bulk}:
            raise BrokenError(UNDO, f"bulk {body.bulk} takes back {begun.said.undoes}")
        before = self._past.task(number, last.seq)
        if before is None:
            return
        wanted, found = _compared(before, body, last, task)
        for name, value in wanted.items():
            if found[name] != value:
                raise BrokenError(UNDO, f"task {number} comes back with another {name}")
        if isinstance(body, (Expired, Cancelled)):
            end = self._past.last(number, last.seq)
            if end is not None:
                _check_end(number, body, end)


def _take_part(begun: JudgedBulk, number: int, body: Changing, *, last_seq: int) -> None:
    """One more task is changed, which had not moved on; 0 where its last event is not known."""
    if begun.ended or number in begun.changed:
        raise BrokenError(RULE, f"bulk {body.bulk} has done with task {number} already")
    if last_seq > begun.said.position:
        raise BrokenError(RULE, f"task {number} had moved on at {last_seq}")
    begun.changed[number] = last_seq
    if len(begun.changed) > begun.said.count:
        raise BrokenError(RULE, f"bulk {body.bulk} changes more tasks than it is about")


def _compared(
    before: Seen, body: Changing, last: Last, task: Seen
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the task was, and what it becomes, as far as the event says."""
    if isinstance(body, Updated):
        undone = last.body
        if not isinstance(undone, Updated):
            raise BrokenError(UNDO, f"an edit takes back what is {last.body.kind}")
        wanted = {
            "priority": before.priority if undone.priority is not None else task.priority,
            "tags": before.tags if undone.tags is not UNSET else task.tags,
            "scheduled_at": (
                before.scheduled_at if undone.scheduled_at is not None else task.scheduled_at
            ),
            "lane": before.lane if undone.lane is not None else task.lane,
        }
        found = {
            "priority": task.priority if body.priority is None else body.priority,
            "tags": task.tags if body.tags is UNSET else bytes(body.tags),
            "scheduled_at": (task.scheduled_at if body.scheduled_at is None else body.scheduled_at),
            "lane": task.lane if body.lane is None else body.lane,
        }
        return wanted, found
    names = ("retries", "lapses", "expires_at", "scheduled_at")
    wanted = {name: getattr(before, name) for name in names}
    if isinstance(body, Retried):
        if body.reopens is None or not isinstance(last.body, (Cancelled, Expired)):
            raise BrokenError(UNDO, f"brings back what is {last.body.kind}")
        content = body.reopens
        found = {name: getattr(content, name) for name in names[:3]}
        return wanted, {**found, "scheduled_at": body.scheduled_at}
    if body.restores is None or not isinstance(last.body, Retried):
        raise BrokenError(UNDO, f"ends again what is {last.body.kind}")
    wanted["state"] = before.state
    found = {name: getattr(body.restores, name) for name in names}
    return wanted, {**found, "state": body.kind}


def _check_end(number: int, body: Expired | Cancelled, end: Last) -> None:
    """The end that a task has again is the one that it had."""
    had = end.body
    if not isinstance(had, (Expired, Cancelled)) or body.restores is None:
        raise BrokenError(UNDO, f"task {number} had not ended")
    ended_at = end.at if had.restores is None else had.restores.ended_at
    cause = had.cause if isinstance(had, Cancelled) else None
    again = body.cause if isinstance(body, Cancelled) else None
    if (body.reason, again, body.restores.ended_at) != (had.reason, cause, ended_at):
        raise BrokenError(UNDO, f"task {number} ends otherwise than it had")


def _check_kind(said: Bulk, body: Changing) -> None:
    """Raises BrokenError for an event that is none of what the change does."""
    is_undo = body.undoes is not None
    fits = {
        "retry": isinstance(body, (Retried, Updated)) and not is_undo,
        "cancel": isinstance(body, Cancelled) and body.cause is None and not is_undo,
        "update": isinstance(body, Updated) and not is_undo,
        "undo": is_undo,
    }[said.action]
    if not fits:
        raise BrokenError(RULE, f"{KIND_OF[type(body)]} is no part of a bulk {said.action}")


def _digest(pairs: list[tuple[int, int]]) -> str:
    text = b"".join(b"%d:%d\n" % pair for pair in pairs)
    return blake2b(text, digest_size=16).hexdigest()
