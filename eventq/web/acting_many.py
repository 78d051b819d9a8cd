"""What people do to many tasks at the console, and taking things back: seen first, then made.

Each takes the right of what it does beside its own. Nothing here decides what fits a filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import UNSET

from eventq.catalog.bulks import find_event
from eventq.catalog.plan import Applied, Plan, Selection
from eventq.catalog.undo_rules import RulePlan
from eventq.core.commits import AnyBody, Unknown
from eventq.core.events import ByHand, Cancelled, Expired, Retried, Updated
from eventq.core.queue_events import (
    Bulk,
    Limited,
    Paused,
    Planned,
    Resumed,
    Shared,
    Ticked,
    Unplanned,
)
from eventq.core.values import NODE
from eventq.errors import ArgumentError
from eventq.replay.fold import task_of
from eventq.web.access import Right
from eventq.web.acting import Acting, ActRefusedError, Done, task_path
from eventq.web.filtering import filter_from, filter_text, given_of, options_of
from eventq.web.form import instant_of, number_of, optional
from eventq.web.plans import KeptPlan

# So long is the log gone through where no catalog finds what is meant.
PASS_EVENTS = 1_000_000
RIGHT_OF: dict[str, Right] = {
    "retry": Right.RETRY,
    "cancel": Right.CANCEL,
    "update": Right.EDIT,
    "undo": Right.UNDO,
}
RIGHT_OF_KIND: dict[type, Right] = {
    Retried: Right.RETRY,
    Cancelled: Right.CANCEL,
    Expired: Right.CANCEL,
    Paused: Right.PAUSE,
    Resumed: Right.PAUSE,
    Limited: Right.LIMIT,
    Shared: Right.LIMIT,
    Planned: Right.SCHEDULE,
    Unplanned: Right.SCHEDULE,
    Ticked: Right.SCHEDULE,
}
NO_FILTER = "Say which tasks are meant: a change to all there are is not made here."
TOO_LONG = (
    "Without a catalog, {:,} events would have to be gone through to find these tasks. "
    "Build one first: eventq catalog build"
)
NAMED = 5


def plan_many(acting: Acting) -> Done:
    """Finds what a change to all that fit a filter would be about; changes nothing."""
    action = acting.form.get("action", "")
    if action not in {"retry", "cancel", "update"}:
        raise ArgumentError("action", action, "retry, cancel or update")
    right = RIGHT_OF[action]
    acting.check_right(right)
    question = filter_from(acting.form.get("filter", ""))
    if not given_of(question):
        raise ActRefusedError(400, NO_FILTER)
    options = options_of(question, acting.veil, acting.queue.log)
    if action == "update" and (lane := optional(acting.form, "lane")) is not None:
        acting.check_lane(lane)
    if not acting.has_catalog():
        events = acting.queue.log.head().seq
        if events > PASS_EVENTS:
            raise ActRefusedError(409, TOO_LONG.format(events))
    plan = _plan(acting.queue.select(**options), action, acting.form)
    words = ", ".join(f"{name} {word}" for name, word in given_of(question).items())
    kept = KeptPlan(plan, acting.person, words, frozenset({Right.BULK, right}))
    # The page itself says what was found.
    return Done("", f"/plans/{acting.plans.put(kept)}")


def apply_plan(acting: Acting) -> Done:
    """Makes the change that a plan is of, to just the tasks that it showed."""
    kept = acting.plans.get(acting.path["key"], acting.person)
    if kept is None:
        words = "This plan is not known any more; nothing was done. Make it again."
        raise ActRefusedError(404, words)
    for right in sorted(kept.rights):
        acting.check_right(right)
    acting.plans.apply(kept, acting.form.get("reason", ""))
    state, path = kept.state, f"/plans/{kept.name}"
    if state.applied is None:
        return Done("The change is being made." if state.runs else "It broke off.", path)
    return Done(applied_words(state.applied), path, undo=state.applied.id)


def undo_change(acting: Acting) -> Done:
    """Takes back what one event did at once; what is about many tasks is seen first."""
    position = position_in(acting)
    _check_may_undo(acting, position)
    plan = acting.queue.undo(position)
    if isinstance(plan, Plan) and plan.count != 1:
        if not plan.count and plan.moved_on:
            why = "; ".join(f"task {e.number}: {e.why}" for e in plan.moved_on[:NAMED])
            raise ActRefusedError(409, f"Nothing is left to take back: {why}.")
        rights = frozenset({Right.UNDO, *_rights_of(acting, position)})
        kept = KeptPlan(plan, acting.person, f"what change {position} has changed", rights)
        return Done("", f"/plans/{acting.plans.put(kept)}")
    if isinstance(plan, RulePlan) and isinstance(plan.before, Planned):
        # It would make its tasks in the lane that it had before.
        acting.check_lane(plan.before.call.lane or "default")
    done = plan.apply(**acting.marks)
    if not done.changed:
        why = "; ".join(each.why for each in done.moved_on[:NAMED]) or "it has moved on"
        raise ActRefusedError(409, f"Nothing was taken back: {why}.")
    return Done(f"Change {position} is taken back.", _path_of(plan), undo=done.id)


def finish_change(acting: Acting) -> Done:
    """Makes what is left of a change to many that broke off."""
    position = position_in(acting)
    _, _, body = find_event(acting.queue.log, position)
    is_undo = isinstance(body, Bulk) and body.action == "undo"
    for right in [*_rights_of(acting, position), *([Right.UNDO] if is_undo else [])]:
        acting.check_right(right)
    acting.check_lane(None)
    done = acting.queue.finish_bulk(position)
    return Done(applied_words(done), f"/changes?bulk={position}", undo=done.id)


def save_filter(acting: Acting) -> Done:
    """Keeps a filter under a name, for this person alone."""
    question = filter_from(acting.form.get("filter", ""))
    # What may not be asked is not kept either.
    options_of(question, acting.veil, acting.queue.log)
    name = acting.form.get("name", "").strip()
    acting.saved.save(acting.person.name, name, filter_text(question))
    return Done(f"Filter {name} is saved.", _back(question))


def drop_filter(acting: Acting) -> Done:
    """Forgets a filter of this person."""
    name = acting.form.get("name", "")
    acting.saved.drop(acting.person.name, name)
    return Done(f"Filter {name} is forgotten.", "/tasks")


def applied_words(done: Applied) -> str:
    """What became of a change to many."""
    tasks = "task" if done.changed == 1 else "tasks"
    left = f"; {len(done.moved_on):,} had moved on and stay as they are" if done.moved_on else ""
    return f"Change {done.id}: {done.changed:,} {tasks} changed{left}."


def position_in(acting: Acting) -> int:
    """The position that the path names. Raises ArgumentError."""
    found = number_of({"position": acting.path["key"]}, "position")
    if found is None or not 0 < found < 2**63:
        raise ArgumentError("position", acting.path["key"], "the position of a change")
    return found


def _plan(selection: Selection, action: str, form: Mapping[str, str]) -> Plan:
    if action == "retry":
        return selection.retry(rate=optional(form, "rate"))
    if action == "cancel":
        return selection.cancel()
    at: datetime | None = instant_of(form, "at") if optional(form, "at") else None
    return selection.update(
        priority=number_of(form, "priority"),
        delay=optional(form, "delay"),
        scheduled_at=at,
        lane=optional(form, "lane"),
    )


def _back(question: Any) -> str:  # noqa: ANN401 - a filter
    text = filter_text(question)
    return f"/tasks?{text}" if text else "/tasks"


def _path_of(plan: Plan | RulePlan) -> str:
    """The page that shows what an undo has changed."""
    if isinstance(plan, RulePlan):
        is_schedule = isinstance(plan.undone, Planned | Unplanned)
        return "/schedules" if is_schedule else "/limits"
    [record] = plan.sample(1)
    # By its number: its key may not be shown to this person.
    return task_path(str(record.number))


def _check_may_undo(acting: Acting, position: int) -> None:
    for right in _rights_of(acting, position):
        acting.check_right(right)
    number, _, body = find_event(acting.queue.log, position)
    if number != NODE:
        task = task_of(acting.queue.log, number)
        acting.check_lane(None if task is None else task.lane)
        if isinstance(body, Updated) and body.lane is not None:
            # It would go back to the lane that it was in.
            before = task_of(acting.queue.log, number, until=position - 1)
            acting.check_lane(None if before is None else before.lane)
    elif isinstance(body, Paused | Resumed):
        acting.check_lane(body.scope.lane)
    elif isinstance(body, Planned):
        acting.check_lane(body.call.lane or "default")
    else:
        acting.check_lane(None)


def _rights_of(acting: Acting, position: int) -> list[Right]:
    """What what was done there takes; of an undo, what that which it took back takes."""
    _, at, body = find_event(acting.queue.log, position)
    is_of_many = isinstance(body, Bulk) and not (body.action == "undo" and body.count == 1)
    while isinstance(body, ByHand) and body.undoes is not None and body.undoes < position:
        # An earlier one each time, so that it ends.
        position = body.undoes
        _, at, body = find_event(acting.queue.log, position)
    return [*([Right.BULK] if is_of_many else []), _right_of(body, at)]


def _right_of(body: AnyBody | Unknown, at: int) -> Right:
    if isinstance(body, Bulk):
        return RIGHT_OF[body.action]
    if isinstance(body, Updated):
        # A retry of a task that waits is one, too: it has it run at once.
        is_edit = body.priority is not None or body.tags is not UNSET or body.lane is not None
        is_edit = is_edit or (body.scheduled_at is not None and body.scheduled_at > at)
        return Right.EDIT if is_edit else Right.RETRY
    return RIGHT_OF_KIND.get(type(body), Right.UNDO)
