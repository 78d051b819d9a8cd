"""What people do at the console: each act runs the command that the API has, and says what it did.

The name comes from the login, never from the form. Rights are checked before, by `routes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, TypedDict
from urllib.parse import quote

from msgspec import Struct

from eventq.core.asking import Asking, check_asking
from eventq.core.commits import KIND_OF, decode_at
from eventq.core.events import ByHand, Cancelled, Retried, Updated
from eventq.core.manage import (
    CancelTask,
    ManageTask,
    RepeatTask,
    RetryTask,
    UpdateTask,
    make_update,
)
from eventq.core.queue_events import Limited, Paused, Resumed
from eventq.core.rule_options import ScopeOptions
from eventq.core.task import Task
from eventq.core.values import NODE, Scope, Via
from eventq.errors import ArgumentError, KeyConflictError
from eventq.handlers.tracing import repeated
from eventq.node.managing import manage_task
from eventq.node.node import Node
from eventq.queue import Queue
from eventq.replay.fold import commits_of, stored_kind, task_of
from eventq.replay.points import Point
from eventq.replay.rule_words import scope_words
from eventq.web.access import Person, Right
from eventq.web.checking import Checking
from eventq.web.form import instant_of, json_of, number_of, optional
from eventq.web.kept_catalog import CatalogLackingError, KeptCatalog
from eventq.web.naming import by_number, find_history, key_in, veil_of, veils_of
from eventq.web.pages.task import last_change
from eventq.web.plans import PlanShelf
from eventq.web.rule_veil import NO_SECRETS, RuleVeil
from eventq.web.saved import SavedFilters
from eventq.web.showing import Veil

UNSEEN = "You may not see {0}, so you may not act by them: the answer would tell what they are."
TAG_HIDDEN = "Tag {} is secret: to act by it here would tell what it holds."
NO_LIMIT = "There is no limit {}; nothing was done."
LIFTED = "Limit {} has no bounds already; nothing was done."
KEY_TAKEN = "A task has the key {} already; nothing was done."


class Done(Struct, frozen=True):
    """What was done, in words, and the page that shows it."""

    words: str
    path: str
    undo: int | None = None
    """The position of what can be taken back; None where nothing can."""


class ActRefusedError(Exception):
    """Nothing was done, and ``words`` say why."""

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        self.words = words
        super().__init__(words)


class Marks(TypedDict):
    """What each act has the log say of whoever did it."""

    by: str
    reason: str
    via: Via


class Acting(Struct, frozen=True):
    """Who acts, on what, with which form."""

    queue: Queue
    node: Node
    """The queue's."""
    checking: Checking
    person: Person
    path: Mapping[str, str]
    form: Mapping[str, str]
    plans: PlanShelf
    saved: SavedFilters
    catalog: KeptCatalog
    veil: Veil
    rules: Callable[[], RuleVeil]
    """What is hidden of limits and pauses now; O(open tasks)."""
    began: int
    """Where the log ended before."""

    @property
    def by(self) -> str:
        """Who does it, for the log."""
        return self.person.name

    @property
    def marks(self) -> Marks:
        """Who acts, why and by what way, for the log."""
        reason = self.form.get("reason", "")
        return {"by": self.by, "reason": reason, "via": self.person.via}

    @property
    def asking(self) -> Asking:
        """The same, checked. Raises ArgumentError."""
        return check_asking(**self.marks)

    def manage(self, task: Task, edit: CancelTask | RetryTask | UpdateTask) -> Task:
        """Does this to the task, unless it has been moved to a lane of others meanwhile."""
        return manage_task(self.node, ManageTask(task.key, edit, self.person.lanes))

    def task(self) -> tuple[Task, str]:
        """The task that the form is about, unless it has moved on; and what it is called here.

        Raises TaskNotFoundError, ActRefusedError.
        """
        history = find_history(self.queue.log, self.path["key"], self.veil)
        task = self.queue.get(key_in(history))
        assert task is not None, "it has a history"
        self.check_lane(task.lane)
        name = veil_of(history, self.veil).key(task.key, task.number)
        seen = optional(self.form, "seen")
        if seen is not None and seen != str(last_change(history)):
            raise ActRefusedError(
                409,
                f"Task {name} has changed since you opened the page: it is {task.state} now. "
                "Nothing was done; look at it again.",
            )
        return task, name

    def name_of(self, task: Task) -> str:
        """What a task that was just made is called here."""
        return veils_of(self.queue.log, by_number([task]), self.veil)(task.number).key(
            task.key, task.number
        )

    def done_at(self, *kinds: type[ByHand], number: int = NODE) -> int | None:
        """The position of what this person has just done; None where nothing was to be done."""
        names = {KIND_OF[kind] for kind in kinds}
        for commit in commits_of(self.queue.log, after=self.began):
            for seq, (task, text) in enumerate(
                zip(commit.tasks, commit.bodies, strict=True), commit.first
            ):
                if seq > self.began and task == number and stored_kind(text) in names:
                    [body] = decode_at(seq, [text])
                    if isinstance(body, kinds) and (body.by, body.via) == self._signature:
                        return seq
        return None

    @property
    def _signature(self) -> tuple[str, Via]:
        return self.by, self.person.via

    def has_catalog(self) -> bool:
        """Whether a catalog reaches to where the log ends now."""
        try:
            self.catalog.ask(Point(self.began, 0), lambda _catalog, _point: None)
        except CatalogLackingError:
            return False
        return True

    def check_right(self, right: Right) -> None:
        """Raises ActRefusedError unless this person has a right, beside that of the route."""
        if not self.person.may(right):
            raise ActRefusedError(403, f"You may not do that: it takes the right to {right}.")

    def check_lane(self, lane: str | None) -> None:
        """Raises ActRefusedError unless this person may act in the lane; None: in all of them."""
        if not self.person.may_in(lane):
            where = "all lanes" if lane is None else f"lane {lane}"
            raise ActRefusedError(403, f"You may not act on tasks of {where}.")

    def tags(self, secret: AbstractSet[str] = frozenset()) -> Any:  # noqa: ANN401 - JSON; the library checks it
        """The tags that the form says, to be compared with those in the log; None for none.

        Whether they were equal is told, so they may hold nothing that is hidden from this person,
        and no tag that is ``secret``. Raises ActRefusedError, ArgumentError.
        """
        text = optional(self.form, "tags")
        if text is None:
            return None
        if self.veil.hides_values:
            raise ActRefusedError(403, UNSEEN.format("tags"))
        found = json_of(text, "tags")
        if hidden := self.veil.secrets_in(found, secret):
            raise ActRefusedError(403, TAG_HIDDEN.format(", ".join(sorted(hidden))))
        return found

    def tags_for(self, task: Task) -> Any:  # noqa: ANN401 - see tags
        """New tags of a task: those of the form, and what is secret as it is; None for none.

        Raises as `tags`; a secret tag may stand in the form as it is shown.
        """
        own = {name: task.tags[name] for name in task.secret if name in task.tags}
        found = self.tags(frozenset(own))
        return {**found, **own} if isinstance(found, dict) else found


def task_path(key: str) -> str:
    """The page of a task."""
    return f"/tasks/{quote(key, safe='')}"


def retry_task(acting: Acting) -> Done:
    """Makes a task ready now, or reopens it."""
    found, name = acting.task()
    task = acting.manage(found, RetryTask(acting.asking))
    undo = acting.done_at(Retried, Updated, number=task.number)
    return Done(f"Task {name} is {task.state} again.", task_path(name), undo)


def cancel_task(acting: Acting) -> Done:
    """Calls a task off."""
    found, name = acting.task()
    task = acting.manage(found, CancelTask(acting.asking))
    undo = acting.done_at(Cancelled, number=task.number)
    return Done(f"Task {name} is {task.state}.", task_path(name), undo)


def update_task(acting: Acting) -> Done:
    """Changes a task's priority, tags, schedule or lane."""
    form = acting.form
    task, name = acting.task()
    lane = optional(form, "lane")
    if lane is not None:
        acting.check_lane(lane)
    edit = make_update(
        acting.asking,
        priority=number_of(form, "priority"),
        tags=acting.tags_for(task),
        delay=optional(form, "delay"),
        scheduled_at=_scheduled_at(form),
        lane=lane,
    )
    acting.manage(task, edit)
    undo = acting.done_at(Updated, number=task.number)
    words = f"Task {name} is {'changed' if undo else 'as it was: nothing was to change'}."
    return Done(words, task_path(name), undo)


def repeat_task(acting: Acting) -> Done:
    """Makes a new task like a final one; no event of it says who did that, or why."""
    old, name = acting.task()
    repeat = RepeatTask(old.key, lanes=acting.person.lanes)
    task = repeated(repeat, acting.node.execute, acting.queue.tracing, acting.queue.get)
    made = acting.name_of(task)
    return Done(f"Task {made} is made like task {name}.", task_path(made))


def new_task(acting: Acting) -> Done:
    """Makes a task of the form's arguments; no event of it says who did that, or why."""
    form = acting.form
    lane = optional(form, "lane")
    acting.check_lane(lane or "default")
    options: dict[str, Any] = {
        "name": optional(form, "name"),
        "lane": lane,
        "key": optional(form, "key"),
        "delay": optional(form, "delay"),
        "scheduled_at": _scheduled_at(form),
        "priority": number_of(form, "priority"),
        "secret": [word.strip() for word in form.get("secret", "").split(",") if word.strip()],
    }
    given = {name: value for name, value in options.items() if value is not None}
    try:
        task = acting.queue.new(_arguments(form), **given)
    except KeyConflictError as error:
        there = task_of(acting.queue.log, error.task)
        if acting.veil.hides_some or there is None or there.secret:
            # Neither in what it differs, nor whether it does.
            raise ActRefusedError(409, KEY_TAKEN.format(error.key)) from None
        raise
    if (acting.veil.hides_some or task.secret) and task.number <= acting.began:
        raise ActRefusedError(409, KEY_TAKEN.format(given["key"]))
    made = acting.name_of(task)
    return Done(f"Task {made} is {task.state}.", task_path(made))


def pause(acting: Acting) -> Done:
    """Has no task of a scope leased."""
    scope = _scope(acting)
    acting.check_lane(scope.get("lane"))
    cancels = "cancel_running" in acting.form
    if cancels:
        acting.check_right(Right.CANCEL)
    acting.queue.pause(
        until=optional(acting.form, "until"),
        cancel_running=cancels,
        **acting.marks,
        **scope,
    )
    return Done(f"Paused: {_scope_words(scope)}.", "/limits", acting.done_at(Paused))


def resume(acting: Acting) -> Done:
    """Ends a pause."""
    scope = _scope(acting)
    acting.check_lane(scope.get("lane"))
    try:
        acting.queue.resume(**acting.marks, **scope)
    except ArgumentError as error:
        if error.argument != "scope":
            raise
        words = f"No pause is of just that: {_scope_words(scope)}. Nothing was done."
        raise ActRefusedError(400, words) from None
    return Done(f"Resumed: {_scope_words(scope)}.", "/limits", acting.done_at(Resumed))


def set_limit(acting: Acting) -> Done:
    """Bounds how many run, or begin."""
    acting.check_lane(None)
    form = acting.form
    running, rate = number_of(form, "running"), optional(form, "rate")
    if running is None and rate is None:
        raise ArgumentError("running", running, "a number or a rate; to lift a limit is an own act")
    name = form.get("limit", "")
    per = optional(form, "per")
    acting.queue.set_limit(name, running=running, rate=rate, per=per, **acting.marks)
    return Done(f"Limit {name} is set.", "/limits", acting.done_at(Limited))


def lift_limit(acting: Acting) -> Done:
    """Leaves a limit without bounds, also one that nobody has defined and tasks wait for."""
    acting.check_lane(None)
    name = acting.form.get("limit", "")
    buckets = [each for each in acting.queue.limits() if each.limit == name]
    if not buckets:
        raise ActRefusedError(404, NO_LIMIT.format(name))
    if all(each.is_defined and each.bound is each.rate is None for each in buckets):
        raise ActRefusedError(409, LIFTED.format(name))
    per = optional(acting.form, "per")
    acting.queue.set_limit(name, per=per, **acting.marks)
    return Done(f"Limit {name} is lifted.", "/limits", acting.done_at(Limited))


def verify_log(acting: Acting) -> Done:
    """Begins to verify the log."""
    begun = acting.checking.start(acting.by)
    words = "Verifying has begun." if begun else "A verification runs already."
    return Done(words, "/integrity")


def _scheduled_at(form: Mapping[str, str]) -> datetime | None:
    return instant_of(form, "scheduled_at") if optional(form, "scheduled_at") else None


def _arguments(form: Mapping[str, str]) -> dict[str, Any]:
    """The tags that the form says: as JSON, and argument by argument."""
    tags = json_of(optional(form, "tags") or "{}", "tags")
    if not isinstance(tags, dict):
        raise ArgumentError("tags", tags, "a JSON object")
    for field, text in form.items():
        kind, _, name = field.partition(":")
        if kind == "text" and (text or f"given:{name}" in form):
            tags[name] = text
        elif kind == "json" and text:
            tags[name] = json_of(text, name)
    return tags


def _scope(acting: Acting) -> ScopeOptions:
    """What a pause is about, by a form's fields. Raises ActRefusedError, ArgumentError."""
    form = acting.form
    found: ScopeOptions = {}
    has_values = optional(form, "value") is not None or optional(form, "tags") is not None
    rules = acting.rules() if has_values else RuleVeil(acting.veil, NO_SECRETS)
    if (lane := optional(form, "lane")) is not None:
        found["lane"] = lane
    if (name := optional(form, "name")) is not None:
        found["name"] = name
    if (limit := optional(form, "limit")) is not None:
        found["limit"] = limit
    if (value := optional(form, "value")) is not None:
        if rules.bucket(limit, value) != value:
            raise ActRefusedError(403, UNSEEN.format("values of limits"))
        found["value"] = value
    if (tags := acting.tags(rules.names)) is not None:
        found["tags"] = tags
    if not found and "everything" not in form:
        raise ArgumentError("scope", "", "a lane, a name or a limit, or everything, ticked")
    return found


def _scope_words(scope: ScopeOptions) -> str:
    tags = scope.get("tags") or {}
    found = Scope(scope.get("lane"), scope.get("name"), scope.get("limit"), scope.get("value"))
    words = scope_words(found)
    return f"{words} with tags {', '.join(sorted(tags))}" if tags else words
