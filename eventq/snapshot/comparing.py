"""What differs between two projections; nothing here reads a log or changes either of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from eventq.core.governing import Governing
from eventq.core.holders import Holder
from eventq.core.members import Follower, Member
from eventq.core.projection import Projection
from eventq.core.schedules import Schedule
from eventq.core.secret_tags import shown_tags
from eventq.core.task import PARTS, Task, TaskState, state_as_of
from eventq.replay.query import state_counts
from eventq.replay.rule_words import scope_words

T = TypeVar("T")
Fields = dict[str, tuple[Any, Any]]

# Told in another form: the state as of the instant looked at, the tags as values, and what a part
# holds by the names that Task has for it.
_TOLD_OTHERWISE = {"recorded_state", "tags_json", *PARTS}
# The instant of the task's last event: it changes with each, and says nothing by itself.
_UNTOLD = {"seen_at_us"}
# Told last: they differ wherever an attempt lies between the two.
_INSTANTS = ("started_at_us", "finished_at_us")
_TASK_FIELDS = [
    *(n for n in Task.__struct_fields__ if n not in {*_TOLD_OTHERWISE, *_UNTOLD, *_INSTANTS}),
    *(name for names in PARTS.values() for name in names if name not in _INSTANTS),
    *_INSTANTS,
]
# Of what is said of a rule: who asked for it and why, which is no part of it, and its name.
_BESIDE_A_RULE = {"by", "reason", "via", "decided_at", "code", "limit", "scope"}


class TaskDifference(Struct, frozen=True):
    """One task that is open in at least one of the two, and not the same in both.

    ``fields`` has the old and the new value of each field of Task that differs, the state first.
    Of a task that is open in one of them only, it has just the state, with None for the other:
    the task was yet to be created there, or was final already, which the log can tell.
    """

    number: int
    key: str
    fields: Fields

    @property
    def appeared(self) -> bool:
        """Whether it is open in the second alone."""
        return "state" in self.fields and self.fields["state"][0] is None

    @property
    def vanished(self) -> bool:
        """Whether it is open in the first alone."""
        return "state" in self.fields and self.fields["state"][1] is None


class HolderDifference(Struct, frozen=True):
    """A node whose leases or whose last sign of life differ; None where it holds no leases.

    The fields are ``leases`` (how many), ``seen_seq``, ``seen_at`` and ``ttl_us``.
    """

    worker: str
    fields: Fields


class MemberDifference(Struct, frozen=True):
    """A node that has joined differently; None where it has not, or is forgotten.

    The fields are those of `Joined`, and ``seq``: the position at which it last joined.
    """

    worker: str
    fields: Fields


class FollowerDifference(Struct, frozen=True):
    """A follower that has come to another position, or is kept otherwise; None where there is none.

    The fields are those of `Followed` but its name; ``position`` is how far it has come, and
    ``seq`` where that was last said.
    """

    follower: str
    fields: Fields


class ScheduleDifference(Struct, frozen=True):
    """A schedule that stands differently; None where there is none.

    The fields are those of `Planned` but its name, the ``call`` as JSON; ``ticked``, the last due
    that has come; and ``seq``, the position of the last event about it.
    """

    schedule: str
    fields: Fields


class RuleDifference(Struct, frozen=True):
    """A limit, a pause or the turns, said differently; None where nothing is said.

    ``rule`` names it: "limit smtp", "pause of lane mail", "turns".
    """

    rule: str
    fields: Fields


class Difference(Struct, frozen=True):
    """What differs between two projections, each pair being the first's and the second's."""

    counts: dict[str, tuple[int, int]]
    """All states, also those with equal numbers."""
    events: dict[str, tuple[int, int]]
    """How often each kind of event has happened, also equal ones."""
    tasks: list[TaskDifference]
    """By number."""
    holders: list[HolderDifference]
    """By name."""
    members: list[MemberDifference]
    """By name."""
    followers: list[FollowerDifference]
    """By name."""
    schedules: list[ScheduleDifference]
    """By name."""
    rules: list[RuleDifference]
    """Limits by name, then pauses, then turns."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        pairs = [*self.counts.values(), *self.events.values()]
        things = [
            *self.tasks,
            *self.holders,
            *self.members,
            *self.followers,
            *self.schedules,
            *self.rules,
        ]
        return not things and all(old == new for old, new in pairs)


def compare(before: Projection, after: Projection, *, by_key: bool = False) -> Difference:
    """What differs between two projections, each as of the latest time it was asked about.

    Their positions, instants and seals are not compared. Tasks are the same if their numbers are
    or, ``by_key``, if their keys are: then those of the second alone come last. O(open tasks).
    """
    old_counts = state_counts(before, now=before.advanced_to)
    new_counts = state_counts(after, now=after.advanced_to)
    kinds = sorted(before.counts.keys() | after.counts.keys())
    tasks = list(_task_differences(before, after, by_key=by_key))
    return Difference(
        counts={state: (old_counts[state], new_counts[state]) for state in old_counts},
        events={kind: (before.counts.get(kind, 0), after.counts.get(kind, 0)) for kind in kinds},
        tasks=tasks if by_key else sorted(tasks, key=attrgetter("number")),
        holders=[
            HolderDifference(*found)
            for found in _differing(before.holders, after.holders, _holder_fields)
        ],
        members=[
            MemberDifference(*found)
            for found in _differing(before.members.by_name, after.members.by_name, _member_fields)
        ],
        followers=[
            FollowerDifference(*found)
            for found in _differing(before.followers, after.followers, _follower_fields)
        ],
        schedules=[
            ScheduleDifference(*found)
            for found in _differing(
                before.schedules.by_name, after.schedules.by_name, _schedule_fields
            )
        ],
        rules=[
            RuleDifference(*found)
            for found in _differing(_rules(before.governing), _rules(after.governing), _rule_fields)
        ],
    )


def task_difference(
    old: Task | None, new: Task | None, instants: tuple[int, int]
) -> TaskDifference | None:
    """What differs between two tasks, or one and none, each as of its instant."""
    task = old or new
    assert task is not None, "one of the two is a task"
    states = (_state(old, instants[0]), _state(new, instants[1]))
    fields: Fields = {} if states[0] == states[1] else {"state": states}
    if old is not None and new is not None and old != new:
        fields |= task_fields(old, new)
    return TaskDifference(task.number, task.key, fields) if fields else None


def task_fields(old: Task, new: Task) -> Fields:
    """The fields of Task that differ, without the state; tags as values."""
    fields = {
        name: (getattr(old, name), getattr(new, name))
        for name in _TASK_FIELDS
        if getattr(old, name) != getattr(new, name)
    }
    if old.tags_json != new.tags_json:
        fields["tags"] = (shown_tags(old.tags, old.secret), shown_tags(new.tags, new.secret))
    return fields


def _task_differences(
    before: Projection, after: Projection, *, by_key: bool
) -> Iterator[TaskDifference]:
    mark = attrgetter("key" if by_key else "number")
    olds, news = (
        {mark(task): task for task in sorted(projection.tasks.values(), key=attrgetter("number"))}
        for projection in (before, after)
    )
    for name in olds | news:
        instants = before.advanced_to, after.advanced_to
        found = task_difference(olds.get(name), news.get(name), instants)
        if found is not None:
            yield found


def _state(task: Task | None, at: int) -> TaskState | None:
    return None if task is None else state_as_of(task, at)


def _differing(
    before: Mapping[str, T], after: Mapping[str, T], fields_of: Callable[[T | None], dict[str, Any]]
) -> Iterator[tuple[str, Fields]]:
    """The names of what differs, in order, with the fields that do; of none, all are None."""
    for name in sorted(before.keys() | after.keys()):
        old, new = fields_of(before.get(name)), fields_of(after.get(name))
        pairs = {field: (old.get(field), new.get(field)) for field in old | new}
        fields = {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}
        if fields:
            yield name, fields


def _holder_fields(holder: Holder | None) -> dict[str, int | None]:
    if holder is None:
        return dict.fromkeys(("leases", "seen_seq", "seen_at", "ttl_us"))
    return {
        "leases": len(holder.tasks),
        "seen_seq": holder.seen_seq,
        "seen_at": holder.seen_at,
        "ttl_us": holder.ttl_us,
    }


def _member_fields(member: Member | None) -> dict[str, Any]:
    names = ("names", "unnamed", "lanes", "slots", "version", "signatures", "ttl_us")
    said = None if member is None else member.joined
    return {
        "seq": None if member is None else member.seq,
        **{name: None if said is None else getattr(said, name) for name in names},
    }


def _follower_fields(follower: Follower | None) -> dict[str, Any]:
    names = ("worker", "ttl_us", "kinds", "names", "code", "error", "failures")
    said = None if follower is None else follower.said
    return {
        "seq": None if follower is None else follower.seq,
        "position": None if said is None else said.seq,
        **{name: None if said is None else getattr(said, name) for name in names},
    }


def _schedule_fields(schedule: Schedule | None) -> dict[str, Any]:
    names = ("timing", "rules", "shift_us", "paused", "code")
    planned = None if schedule is None else schedule.planned
    return {
        "seq": None if schedule is None else schedule.seq,
        "next_at": None if schedule is None else schedule.next_at,
        # As JSON, which its tags are.
        "call": None if planned is None else msgspec.json.encode(planned.call),
        "ticked": None if schedule is None or schedule.ticked is None else schedule.ticked.due,
        **{name: None if planned is None else getattr(planned, name) for name in names},
    }


def _rules(governing: Governing) -> dict[str, Any]:
    """What is said of each rule, by its name."""
    limits = sorted(governing.limits.by_name.items())
    found: dict[str, Any] = {f"limit {name}": limit.said for name, limit in limits}
    for scope, pause in governing.pauses.by_scope.items():
        found[f"pause of {scope_words(scope)}"] = pause.said
    return found | {"turns": governing.turns.shared}


def _rule_fields(said: Any) -> dict[str, Any]:  # noqa: ANN401
    if said is None:
        return {}
    names = (name for name in said.__struct_fields__ if name not in _BESIDE_A_RULE)
    # Its kind, since a pause without an end has no other field that would tell of it.
    return {said.kind: True, **{name: getattr(said, name) for name in names}}
