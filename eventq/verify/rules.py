"""What may happen to a task, written down again without the code that makes it happen.

It shares nothing with the projection, the moves of tasks or the decisions: only how events are
decoded. So what it finds holds, whoever wrote the log. Rules are numbered as in the design.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from eventq.core.commits import KIND_OF, AnyBody, Unknown
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Noted,
    Progressed,
    Refused,
    Released,
    Reopening,
    Retried,
    Revived,
    Saved,
    Told,
    Updated,
)
from eventq.errors import shown
from eventq.verify.allowance import check_given_up, check_retry
from eventq.verify.beside import RulesBeside
from eventq.verify.editing import take_edit
from eventq.verify.exits import LAPSE, check_exit
from eventq.verify.links import FLOW_MARK, Links, check_leased
from eventq.verify.nodes import PLAIN, JoinedNodes, check_route
from eventq.verify.order import Order
from eventq.verify.seen import (
    NO_LANE,
    BucketKey,
    Seen,
    are_foreign,
    brought_back,
    given_of,
    is_due,
    keys_of,
)
from eventq.verify.telling import MadeTasks, check_was_lease, take_told
from eventq.verify.terms import (
    BrokenError,
    Past,
    Report,
    Unreadable,
    check_created,
    decided_at,
)
from eventq.verify.uniques import Uniques

# Hashes kept of final tasks that may be reopened (about 100 bytes each); others are looked up.
HASHES_KEPT = 200_000


class Rules:
    """One pass over the events of a namespace; it keeps the open tasks and forgets final ones.

    ``report`` takes each finding: position, rule and problem. After one about a task, the task is
    not judged any further. ``on_final`` is told of each task that has come to its end.
    """

    def __init__(
        self,
        past: Past,
        report: Report,
        *,
        on_final: Callable[[Seen], None] | None = None,
        judges_order: bool = True,
    ) -> None:
        self.tasks: dict[int, Seen] = {}
        # The stamp of the last commit; 0 where there was none yet.
        self._stamp = 0
        self.keyed: list[tuple[str, int]] = []
        """Keys and positions of what was created; whoever reads them empties the list."""
        self.unknown: dict[str, int] = {}
        """How many events of each kind that is not known."""
        self._past = past
        self._report = report
        self._on_final = on_final
        self.nodes = JoinedNodes(self.tasks)
        self._order = Order(self.tasks)
        self._beside = RulesBeside(self.nodes, self._order, self.tasks, report, past)
        self._changes = self._beside.changes
        self.bounds = self._beside.bounds
        self.followers = self._beside.followers
        self.schedules = self._beside.schedules
        self._uniques = Uniques()
        self._judges_order = judges_order
        # One task's history alone does not tell.
        self._judges_links = judges_order
        self.links = Links(self.tasks, past, self._start)
        # The instant, and the last position, of the commit that is looked at.
        self._now = self._end = 0
        self._failed: set[int] = set()
        self._made = MadeTasks(report)
        self._reopenable: dict[int, tuple[int, int | None]] = {}
        self._rules: dict[type, Callable[[int, int, int, Any], None]] = {
            Created: self._take_created,
            Leased: self._take_leased,
            Completed: self._take_completed,
            Failed: self._take_failed,
            Retried: self._take_retried,
            Revived: self._take_revived,
            Expired: self._take_expired,
            Cancelled: self._take_cancelled,
            Released: self._take_released,
            Updated: self._take_updated,
            Refused: self._take_refused,
            Progressed: self._take_told,
            Saved: self._take_told,
            Noted: self._take_told,
            Unknown: self._take_unknown,
            Unreadable: self._take_unreadable,
            **self._beside.by_kind,
        }

    def add(self, task: Seen, now: int) -> None:
        """Takes over an open task from elsewhere."""
        self.tasks[task.number] = task
        self._uniques.take(task)
        self._place(task, task.buckets, now)
        if task.state == "leased":
            self.bounds.count(task)
        if task.state == "pending":
            self._order.add(task, now)
        elif task.state == "waiting":
            self.links.add(task)

    def take(
        self, first: int, at: int, numbers: list[int], bodies: list[AnyBody | Unknown | Unreadable]
    ) -> None:
        """Judges the events of one commit, or of a part of it."""
        seq = first - 1
        rules = self._rules
        at, self._stamp = decided_at(first, at, self._stamp, bodies, self._report), at
        self._now, self._end = at, first + len(bodies) - 1
        if self.bounds.pauses:
            self._order.open(self.bounds.pass_by(at))
        for number, body in zip(numbers, bodies, strict=True):
            seq += 1
            if self._made.owed:
                self._made.take(seq, body)
            elif type(body) is Created and body.made_by is not None:
                self._report(seq, "made", f"made by task {body.made_by}, which has not said so")
            if self.schedules.owed is not None:
                self.schedules.take_next(seq, body)
            elif type(body) is Created and body.schedule is not None:
                self._report(seq, "due", "a task of a schedule that has not ticked")
            try:
                rules[type(body)](seq, at, number, body)
            except BrokenError as broken:
                self._report(seq, broken.rule, broken.problem)
                self._drop(number)
        self._made.finish(seq)
        self.schedules.finish(seq)
        if self._failed:
            # Rule 4: a failure is always followed in its commit.
            self._report(seq, "move", f"nothing follows the failure of {sorted(self._failed)}")
            for number in list(self._failed):
                self._drop(number)

    def judge(self, seq: int, at: int, number: int, body: AnyBody | Unknown) -> None:
        """Judges one event by itself. Raises BrokenError."""
        self._rules[type(body)](seq, at, number, body)

    def tidy(self) -> None:
        """Gives memory back; to be called now and then."""
        self._order.tidy()

    def _drop(self, number: int) -> None:
        task = self.tasks.pop(number, None)
        if task is not None:
            self._uniques.free(task)
            self.links.drop(task)
            if task.state == "leased":
                self._let_go(task)
        self._reopenable.pop(number, None)
        self._failed.discard(number)

    def _find(self, seq: int, number: int, kind: type) -> Seen | None:
        """A task that is not open, as its history tells; None where nothing can be said of it."""
        if number <= 0:
            raise BrokenError("move", f"{KIND_OF[kind]} names no task")
        if number >= seq:
            raise BrokenError("move", f"{KIND_OF[kind]} of task {number} before created")
        return self._past.task(number, seq)

    def _in_state(self, seq: int, number: int, kind: type, *states: str) -> Seen | None:
        """The task, which must be in one of the states; None where nothing can be said of it."""
        task = self.tasks.get(number) or self._find(seq, number, kind)
        if task is not None and task.state not in states:
            raise BrokenError("move", f"{KIND_OF[kind]} of task {number}: {task.state}")
        return task

    def _take_created(self, seq: int, at: int, number: int, body: Created) -> None:
        if body.key is not None:
            self.keyed.append((body.key, seq))
        elif body.flow_key is not None:
            self.keyed.append((FLOW_MARK + body.flow_key, seq))
        if number != seq:
            raise BrokenError("position", f"a task's number is not its position: {number}")
        scheduled_at = at if body.scheduled_at is None else body.scheduled_at
        expires_at = body.expires_at
        check_created(body, seq, at)
        check_route(body.name, body.lane, body.needs)
        for word in [word for word in body.needs if are_foreign((word,))]:
            self._tell_unknown(seq, f"need {word}", f"need {shown(word)}")
        task = self.tasks[seq] = Seen(
            seq,
            at,
            body.key,
            body.priority,
            # bytes() copies: a Raw would keep the whole decoded text alive.
            bytes(body.tags),
            body.policy,
            scheduled_at,
            expires_at,
            None if body.name is None else sys.intern(body.name),
            NO_LANE if body.lane is None else sys.intern(body.lane),
            body.needs,
            unique=body.unique,
            schedule=body.schedule,
            due=body.due,
            if_failed=body.if_failed,
            given=given_of(body.given),
            flow=body.flow,
            role=body.role,
            own_share=body.share,
            trace=body.trace,
            secret=body.secret,
        )
        task.first_buckets = keys_of(body.limits)
        if body.limits or self.bounds.is_used:
            self._place(task, task.first_buckets, at)
        self._uniques.take(task)
        if self._judges_links and self.links.create(task, body, self._end):
            task.state = "waiting"
        else:
            self._order.add(task, at)

    def _start(self, task: Seen) -> None:
        """The wait of a task is over."""
        self.links.leave(task)
        task.state = "pending"
        self._order.add(task, self._now)

    def _take_leased(self, seq: int, at: int, number: int, body: Leased) -> None:
        task = self.tasks.get(number)
        if task is None or task.state != "pending":
            check_leased(task)
            # Rule 5: at most one live lease.
            task = self._in_state(seq, number, Leased, "pending")
            if task is None:
                return
        if not is_due(task, at):
            raise BrokenError("schedule", f"task {number} leased too early")
        if task.expires_at is not None and at >= task.expires_at:
            raise BrokenError("expiry", f"task {number} leased past its expiry")
        if body.attempt != task.attempt + 1:
            raise BrokenError("lease", f"attempt {body.attempt} skips, it follows {task.attempt}")
        if body.ttl_us <= 0:
            raise BrokenError("lease", "leased for no time")
        if self._judges_order:
            self._judge_choice(seq, at, task, body.worker)
        if self.bounds.is_used:
            self._judge_bounds(seq, at, task)
        if self.nodes.joined:
            self.nodes.hold(body.worker, task.lane)
        task.state = "leased"
        task.worker = body.worker
        task.attempt = body.attempt
        task.fence = seq
        task.edition = 0

    def _judge_choice(self, seq: int, at: int, task: Seen, worker: str) -> None:
        """Rule 7: the node can run the task, and none that it can run ranked higher."""
        choices = PLAIN
        try:
            if task.name is not None or are_foreign(task.needs) or self.nodes.joined:
                choices = self.nodes.choices(worker, task)
        except BrokenError as broken:
            self._report(seq, broken.rule, f"task {task.number}: {broken.problem}")
            return
        if choices:
            first = self._order.first(at, choices)
            if first != task.number:
                ranks = f"task {first} ranks before {task.number}" if first else "it has no rank"
                self._report(seq, "order", ranks)

    def _judge_bounds(self, seq: int, at: int, task: Seen) -> None:
        """Rule 16: every bucket has room; and nothing is leased that is paused."""
        try:
            self.bounds.lease(task, at)
        except BrokenError as broken:
            self._report(seq, broken.rule, f"task {task.number}: {broken.problem}")

    def _take_completed(self, seq: int, _at: int, number: int, body: Completed) -> None:
        # The commonest end by far, so it makes no further call when all is well.
        if body.made:
            self._made.expect(number, body.made)
        task = self.tasks.get(number)
        if task is None or task.state != "leased" or task.fence != body.fence:
            task = self._end_lease(seq, number, body.fence, Completed)
            if task is None:
                return
        elif self.nodes.joined or task.buckets:
            self._let_go(task)
        task.state = "completed"
        task.fence = 0
        task.saved = None
        # After a finding it may be known from its history alone.
        self.tasks.pop(number, None)
        if task.unique is not None:
            self._uniques.free(task)
        if self._judges_links:
            self.links.end(task, completed=True, made=body.made)
        if self._on_final is not None:
            self._on_final(task)

    def _take_failed(self, seq: int, _at: int, number: int, body: Failed) -> None:
        task = self._end_lease(seq, number, body.fence, Failed)
        check_exit(body.exit)
        if task is not None:
            task.state = "failed"
            task.last_error = body.error
            task.lapses = task.lapses + 1 if body.error.type == LAPSE else 0
            self._failed.add(number)

    def _end_lease(self, seq: int, number: int, fence: int, kind: type) -> Seen | None:
        task = self._in_state(seq, number, kind, "leased")
        if task is None:
            return None
        if fence != task.fence:
            # Rule 6.
            raise BrokenError("fence", f"fence {fence}, but the live one is {task.fence}")
        task.fence = 0
        self._let_go(task)
        return task

    def _finish(self, task: Seen, state: str) -> None:
        self.links.leave(task)
        task.state = state
        task.fence = task.edition = 0
        self.tasks.pop(task.number, None)
        if self._judges_links:
            self.links.end(task, completed=False)
        self._uniques.free(task)
        self._failed.discard(task.number)
        kept = self._reopenable
        kept[task.number] = _hash_of(state, task), task.cause
        if len(kept) > HASHES_KEPT:
            del kept[next(iter(kept))]
        if self._on_final is not None:
            self._on_final(task)

    def _take_retried(self, seq: int, at: int, number: int, body: Retried) -> None:
        waits = False
        task = self._remembered(number, body.reopens)
        if task is None:
            task = self._in_state(seq, number, Retried, "failed", "expired", "cancelled")
        if task is None:
            return
        self._take_changing(seq, number, body, task)
        if task.state == "failed":
            if body.reopens is not None:
                raise BrokenError("move", "a failed task has nothing to reopen")
            task.retries += 1
            check_retry(task, at, body.scheduled_at)
        else:
            self._reopen(task, at, body.reopens, is_exact=body.undoes is not None)
            self.tasks[number] = task
            waits = self._judges_links and self.links.reopen(seq, task, body)
        if body.scheduled_at < at and body.undoes is None:
            raise BrokenError("schedule", "retried into the past")
        self._failed.discard(number)
        task.scheduled_at = body.scheduled_at
        task.state = "waiting" if waits else "pending"
        self.tasks[number] = task
        self._uniques.take(task)
        if body.reopens is not None:
            self._place(task, task.first_buckets, at)
        if not waits:
            self._order.add(task, at)

    def _take_revived(self, seq: int, _at: int, number: int, _body: Revived) -> None:
        if number not in self.tasks and not 0 < number < seq:
            raise BrokenError("move", f"revived of task {number} before created")

    def _place(self, task: Seen, buckets: tuple[BucketKey, ...], at: int) -> None:
        """Gives a task its buckets and its share."""
        self.bounds.place(task, buckets)
        if self.bounds.is_used and not self._order.is_governed:
            self._order.govern(self.bounds, at)

    def _let_go(self, task: Seen) -> None:
        """The task is leased no more."""
        self.nodes.let_go(task)
        if task.buckets:
            self.bounds.let_go(task)
            self._order.open(task.buckets)

    def _remembered(self, number: int, content: Reopening | None) -> Seen | None:
        """The final task, when it is known to be just what the event brings back."""
        kept, cause = self._reopenable.pop(number, (None, None))
        if kept is None or content is None or kept != _hash_of(content.was, content):
            return None
        known = brought_back(content)
        return Seen(
            number, scheduled_at=0, expires_at=None, state=content.was, cause=cause, **known
        )

    def _take_changing(
        self, seq: int, number: int, body: Retried | Expired | Cancelled | Updated, task: Seen
    ) -> None:
        """Judges what is a part of a change to many tasks, or takes something back."""
        is_marked = body.bulk is not None or body.undoes is not None
        if is_marked and self._judges_links:
            self._changes.take(seq, number, body, task)

    def _reopen(self, task: Seen, at: int, content: Reopening | None, *, is_exact: bool) -> None:
        if content is None:
            raise BrokenError("move", "nothing says what reopens")
        if content.was != task.state:
            raise BrokenError("move", f"reopens what was {task.state}")
        brought = brought_back(content)
        for name, value in brought_back(task).items():
            if brought[name] != value:
                raise BrokenError("move", f"brings back another {name} than the task had")
        age_us = task.policy.max_age_us
        if not is_exact:
            if content.expires_at != (None if age_us is None else at + age_us):
                raise BrokenError("expiry", "reopened with another expiry than its max_age makes")
            if content.retries or content.lapses:
                raise BrokenError("move", "reopened with retries that do not begin anew")
        task.expires_at = content.expires_at
        task.retries, task.lapses = content.retries, content.lapses

    def _take_expired(self, seq: int, at: int, number: int, body: Expired) -> None:
        task = self._in_state(seq, number, Expired, "waiting", "pending", "failed")
        if task is None:
            return
        self._take_changing(seq, number, body, task)
        if body.restores is None:
            check_given_up(task, at, body.reason)
        else:
            _restore(task, body)
        self._finish(task, "expired")

    def _take_cancelled(self, seq: int, _at: int, number: int, body: Cancelled) -> None:
        task = self._in_state(seq, number, Cancelled, "waiting", "pending", "leased", "failed")
        if task is not None:
            self._take_changing(seq, number, body, task)
            if body.restores is not None:
                _restore(task, body)
            elif self._judges_links:
                self.links.check_cancelled(task, body)
            task.cause = body.cause
            if task.state == "leased":
                self._let_go(task)
            self._finish(task, "cancelled")

    def _take_told(self, seq: int, _at: int, number: int, body: Told) -> None:
        if task := self._in_state(seq, number, type(body), "leased"):
            take_told(task, body)

    def _take_released(self, seq: int, at: int, number: int, body: Released) -> None:
        task = self._end_lease(seq, number, body.fence, Released)
        if task is not None:
            task.state = "pending"
            task.attempt -= 1
            task.lapses = 0
            if body.scheduled_at is not None:
                if body.scheduled_at < at:
                    raise BrokenError("schedule", "put off into the past")
                task.scheduled_at = body.scheduled_at
                task.snoozes += 1
            self._order.add(task, at)

    def _take_updated(self, seq: int, at: int, number: int, body: Updated) -> None:
        task = self._in_state(seq, number, Updated, "waiting", "pending")
        if task is None:
            return
        self._take_changing(seq, number, body, task)
        take_edit(task, at, body)
        if body.tags is not UNSET and self.bounds.is_used:
            self.bounds.place(task, task.buckets)
        if body.waives and self._judges_links and self.links.waive(task):
            self._start(task)
        elif task.state == "pending":
            self._order.add(task, at)

    def _take_refused(self, seq: int, _at: int, number: int, body: Refused) -> None:
        # Rule 15: evidence that the work ran twice.
        past, fence = self._past, body.fence
        task = self.tasks.get(number)
        if task is None:
            if not 0 < number < seq:
                self._find(seq, number, Refused)
            found = past.event(number)
            if found is None and past.is_trusted(number):
                return
            if found is None or type(found[1]) not in {Created, Unknown}:
                raise BrokenError("move", f"refused of task {number} before created")
        elif task.state == "leased" and task.fence == fence:
            raise BrokenError("fence", "the outcome of a live lease was refused")
        check_was_lease(past, seq, number, fence)

    def _take_unknown(self, seq: int, _at: int, number: int, body: Unknown) -> None:
        if body.skip:
            # Nothing depends on it, so there is nothing to judge.
            self.unknown[body.kind] = self.unknown.get(body.kind, 0) + 1
            return
        self._tell_unknown(seq, body.kind, f"kind {shown(body.kind)}")
        if number == 0:
            # Whatever it says about all tasks may change which of them comes first.
            self._judges_order = False
        self._drop(number)

    def _tell_unknown(self, seq: int, word: str, what: str) -> None:
        count = self.unknown[word] = self.unknown.get(word, 0) + 1
        if count == 1:
            self._report(seq, "unknown", f"{what} is unknown: written by a newer eventq")

    def _take_unreadable(self, _seq: int, _at: int, _number: int, body: Unreadable) -> None:
        raise BrokenError("unreadable", f"the body cannot be understood: {body.problem}")


def _restore(task: Seen, body: Expired | Cancelled) -> None:
    """A task ends again as it had."""
    if body.undoes is None or body.restores is None:
        raise BrokenError("move", "ends again, though nothing is taken back")
    if task.state not in {"waiting", "pending"}:
        raise BrokenError("move", f"ends again while it is {task.state}")
    end = body.restores
    task.retries, task.lapses = end.retries, end.lapses
    task.scheduled_at, task.expires_at = end.scheduled_at, end.expires_at


def _hash_of(state: str, content: Seen | Reopening) -> int:
    return hash((state, *brought_back(content).values()))
