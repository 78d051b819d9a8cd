"""Changes to many tasks, and what is taken back: invariant 20."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from tools.history.facts import Body
from tools.history.world import BrokenError, Task, World

# What an event by hand may change, as it was before.
FIELDS = (
    "priority",
    "tags",
    "lane",
    "scheduled_at",
    "expires_at",
    "retries",
    "lapses",
    "state",
    "cause",
)
KINDS = {
    "retry": {"retried", "updated"},
    "cancel": {"cancelled"},
    "update": {"updated"},
    "undo": {"retried", "cancelled", "expired", "updated"},
}


@dataclass(slots=True, eq=False)
class Bulk:
    """A change as far as it has come."""

    body: Body
    pairs: dict[int, int] = field(default_factory=dict)
    is_over: bool = False


class Bulks:
    """All changes to many tasks."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_seq: dict[int, Bulk] = {}

    def begin(self, seq: int, body: Body) -> None:
        """A change begins here, which is its number."""
        if body.get("skip") is not True or body["position"] >= seq:
            raise BrokenError(20, "a change of what is to come, or one that changes the queue")
        self._by_seq[seq] = Bulk(body)

    def end(self, _seq: int, body: Body) -> None:
        """A change is done; two nodes may say so."""
        bulk = self._by_seq.get(body["bulk"])
        if bulk is None:
            raise BrokenError(20, f"no change begins at {body['bulk']}")
        if bulk.is_over:
            return
        bulk.is_over = True
        count, moved_on = bulk.body["count"], body.get("moved_on", 0)
        if (body["changed"], body["changed"] + moved_on) != (len(bulk.pairs), count):
            raise BrokenError(20, f"{len(bulk.pairs)} changed of {count}, but it says otherwise")
        pairs = [*bulk.pairs.items(), *map(tuple, body.get("left", []))]
        text = "".join(f"{number}:{last}\n" for number, last in sorted(pairs))
        digest = blake2b(text.encode(), digest_size=16).hexdigest()
        if len(pairs) == count and digest != bulk.body["digest"]:
            raise BrokenError(20, "other tasks are changed than the digest is of")

    def judge(self, seq: int, task: Task, body: Body) -> None:
        """An event that may be a part of a change, or take one back; the task is as before it."""
        bulk, undoes = body.get("bulk"), body.get("undoes")
        if bulk is not None:
            self._judge_part(bulk, task, body)
        if undoes is not None:
            _judge_undo(undoes, task, body)
        task.was = seq, {name: getattr(task, name) for name in FIELDS}, body
        if body["kind"] in {"cancelled", "expired"}:
            again = body.get("restores")
            ended_at = self._world.now if again is None else again["ended_at"]
            task.end = body.get("reason", ""), body.get("cause"), ended_at
        task.last_seq = seq

    def _judge_part(self, number: int, task: Task, body: Body) -> None:
        bulk = self._by_seq.get(number)
        if bulk is None or bulk.is_over:
            raise BrokenError(20, f"a part of change {number}, which does not go on")
        said = bulk.body
        if body["kind"] not in KINDS[said["action"]]:
            raise BrokenError(20, f"{body['kind']} is no part of a bulk {said['action']}")
        if task.number in bulk.pairs or task.last_seq > said["position"]:
            raise BrokenError(20, f"task {task.number} is changed twice, or had moved on")
        bulk.pairs[task.number] = task.last_seq


def _judge_undo(undoes: int, task: Task, body: Body) -> None:
    """What an event makes of a task is what it was before the event that it takes back."""
    if task.was is None or task.was[0] != undoes or task.last_seq != undoes:
        raise BrokenError(20, f"event {undoes} is not the last one of task {task.number}")
    _, before, undone = task.was
    kind = body["kind"]
    wanted: dict[str, Any]
    if kind == "updated":
        names = {"priority", "tags", "lane", "scheduled_at"} & undone.keys()
        wanted = {name: before[name] for name in names}
        found = {name: body.get(name) for name in names}
    elif kind == "retried":
        content = body["reopens"]
        wanted = {n: before[n] for n in ("scheduled_at", "expires_at", "retries", "lapses")}
        found = {
            "scheduled_at": body["scheduled_at"],
            "expires_at": content.get("expires_at"),
            "retries": content.get("retries", 0),
            "lapses": content.get("lapses", 0),
        }
    else:
        again = body["restores"]
        wanted = {
            **{n: before[n] for n in ("scheduled_at", "expires_at", "retries", "lapses", "state")},
            "end": task.end,
        }
        found = {
            "scheduled_at": again["scheduled_at"],
            "expires_at": again.get("expires_at"),
            "retries": again.get("retries", 0),
            "lapses": again.get("lapses", 0),
            "state": kind,
            "end": (body.get("reason", ""), body.get("cause"), again["ended_at"]),
        }
    if wanted != found:
        raise BrokenError(20, f"task {task.number} comes back as {found}, but it was {wanted}")
