"""The reason for each kind of event in words, from what the log itself says; nothing is guessed.

Where the log cannot say why, the words say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import replace

from eventq.audit.lookup import last_sign
from eventq.audit.phrases import (
    counted,
    exit_words,
    link_parts,
    ordinal,
    planned_words,
    progress_words,
    sign_words,
    start_parts,
    ticked_words,
    took,
    wait_words,
)
from eventq.core.commits import Event, Unknown
from eventq.core.durations import brief_duration, show_duration
from eventq.core.events import (
    Asked,
    ByHand,
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
    Restoring,
    Retried,
    Revived,
    Saved,
    Updated,
)
from eventq.core.policy import wait_us
from eventq.core.queue_events import (
    Bulk,
    BulkEnded,
    Followed,
    Joined,
    Left,
    Limited,
    Paused,
    Planned,
    Renewed,
    Resumed,
    Shared,
    Ticked,
    Unfollowed,
    Unplanned,
)
from eventq.core.settle import CANCEL, UNMADE
from eventq.core.task import Task, TaskState, show_instant
from eventq.core.values import LAPSED
from eventq.eventlog.contract import EventLog
from eventq.replay.rule_words import limit_words, scope_words, turn_words

# What other errors of eventq are called in a log.
RETRY = "eventq.Retry"
LATE = "eventq.DeadlineExceededError"
# Of what a worker logged, so many lines stand in the reason; all are in the event.
SHOWN_LINES = 3


class LeaseEnd(Struct, frozen=True):
    """How a lease ended: the event, and one word for it; and when it was granted."""

    seq: int
    at: int
    word: str
    leased_at: int


class EventContext(Struct, frozen=True):
    """One event of a task, and what its history has said until then."""

    log: EventLog
    event: Event
    before: Task | None
    after: Task
    opened_at: int
    """When the task was created, or last reopened."""
    ready_at: int
    """When it became ready, or will, as it stood before the event."""
    leased_at: int
    """When its last lease was granted."""
    endings: dict[int, LeaseEnd]
    """How each of its leases ended so far, by their fences."""
    rule: str | None = None
    """The retry rule that the failure right before it names."""

    @property
    def task(self) -> Task:
        """The task before the event; every kind but ``created`` has one."""
        assert self.before is not None, "a history begins with created"
        return self.before

    @property
    def ran(self) -> str:
        """How long the attempt that ends here took, and where."""
        length_us = self.event.decided_at - self.leased_at
        return f"ran {took(length_us)} on {self.task.worker}, counted from its lease"


def reason_of(context: EventContext) -> str:
    """Why the event happened, in words."""
    before, body = context.before, context.event.body
    if before is not None and before.newer is not None and type(body) is not Unknown:
        return f"after event {before.newer[0]}, of which only a newer eventq knows what it did"
    return _REASONS[type(context.event.body)](context, context.event.body)


def ending_of(event: Event, *, leased_at: int) -> LeaseEnd | None:
    """How a lease ended, for an event that ends one."""
    body = event.body
    if type(body) is Failed:
        word = {LAPSED: "lapsed", LATE: "past its deadline"}.get(body.error.type, "failed")
    elif type(body) in {Completed, Released, Cancelled}:
        word = event.kind
    else:
        return None
    return LeaseEnd(event.seq, event.decided_at, word, leased_at)


def _created(context: EventContext, body: Created) -> str:
    task, at = context.after, context.event.decided_at
    like = [] if body.repeats is None else [f"made like task {body.repeats}"]
    if body.made_by is not None:
        like = [f"made by task {body.made_by}"]
    parts = [*like, *start_parts(task, body, task.scheduled_at_us - at)]
    if body.schedule is not None and body.due is not None:
        parts.insert(0, f"made by schedule {body.schedule} for {show_instant(body.due)}")
    if task.name is not None:
        parts.append(f"for nodes that handle {task.name}")
    most = task.policy.max_retries
    if most is None:
        parts.append("retried without limit")
    else:
        times = {1: "once", 2: "twice"}.get(most, f"{most} times")
        parts.append("never retried" if most == 0 else f"retried {times} at most")
    if task.expires_at_us is not None:
        parts.append(f"expires after {brief_duration(task.expires_at_us - at)}")
    if task.unique is not None:
        parts.append(f"the only open one of {task.unique}")
    return ", ".join(parts)


def _leased(context: EventContext, body: Leased) -> str:
    waited_us = context.event.decided_at - context.ready_at
    waited = f"waited {brief_duration(waited_us)} after" if waited_us > 0 else "the moment"
    return f"attempt {body.attempt} on {body.worker}, {waited} it became ready"


def _completed(context: EventContext, body: Completed) -> str:
    if not body.made:
        return context.ran
    first = context.event.seq + 1
    last = context.event.seq + body.made
    numbers = str(first) if first == last else f"{first} to {last}"
    return f"{context.ran}; made {counted(body.made, 'task')}: {numbers}"


def _progressed(context: EventContext, body: Progressed) -> str:
    words = f"attempt {context.after.attempt} has done {progress_words(body.done, body.total)}"
    return f"{words}: {body.note}" if body.note else words


def _noted(body: Noted) -> str:
    words = f"the worker logged {counted(len(body.lines), 'line')}"
    first = " / ".join(line.text for line in body.lines[:SHOWN_LINES])
    more = " / ..." if len(body.lines) > SHOWN_LINES else ""
    return f"{words}: {first}{more}"


def _failed(context: EventContext, body: Failed) -> str:
    task, kind = context.task, body.error.type
    if kind == LAPSED:
        return _lapsed(context)
    ran = context.ran if body.exit is None else f"{context.ran}; {exit_words(body.exit)}"
    if kind == LATE and task.policy.deadline_us is not None:
        return f"past its deadline of {show_duration(task.policy.deadline_us)}: {ran}"
    asked = {RETRY: "the worker asked for a retry: ", CANCEL: "the worker called it off: "}
    return asked.get(kind, "") + ran


def _lapsed(context: EventContext) -> str:
    task, event = context.task, context.event
    assert task.worker is not None, "a leased task has a node"
    words = f"lapsed: node {task.worker} stopped renewing"
    sign = last_sign(context.log, task.worker, after=task.fence - 1, before=event.seq)
    if sign is None or not isinstance(sign.body, Leased | Renewed):
        return f"{words}; the log has no sign of life of it"
    silent, ttl = (
        brief_duration(event.decided_at - sign.decided_at),
        show_duration(sign.body.ttl_us),
    )
    about = sign_words(sign, task.number)
    return f"{words} (last sign of life {silent} before, {about}; lease {ttl})"


def _retried(context: EventContext, body: Retried) -> str:
    if body.reopens is not None:
        return _reopened(context, body)
    task, number = context.after, context.after.retry_count
    most = task.policy.max_retries
    words = ordinal(number) + (" retry" if most is None else f" of {_retries(most)}")
    return f"{words}: {_wait(context, body.scheduled_at - context.event.decided_at, number)}"


def _wait(context: EventContext, real_us: int, number: int) -> str:
    """Why the retry comes this long after the failure."""
    task = context.task
    kind = "" if task.last_error is None else task.last_error.type
    if context.rule is not None:
        return f"{brief_duration(real_us)} after the failure, by the rule for {context.rule}"
    if kind == LAPSED and (lapsed := _wait_after_lapse(task, real_us)) is not None:
        return lapsed
    policy = task.policy
    whole_us = wait_us(policy, retry=number, draw=0.0)
    words = f"{wait_words(policy, number)} after the failure"
    if real_us == whole_us:
        return words
    real = brief_duration(real_us)
    if whole_us - int(whole_us * policy.jitter) <= real_us < whole_us:
        share = f"{(whole_us - real_us) / whole_us:.2f}"
        taken = f"{words}, with {share} of jitter taken away: {real}"
        return f"{taken}, or the worker's own delay of that" if kind == RETRY else taken
    if kind == RETRY:
        return f"after the worker's own delay of {real}"
    return f"{real} after the failure; the log does not say why not {wait_words(policy, number)}"


def _wait_after_lapse(task: Task, real_us: int) -> str | None:
    """Why the retry of a task that has lapsed comes so late; None where that is not said here."""
    if real_us == 0:
        return "at once, since the lease had lapsed: its ttl was the wait"
    count = task.lapses - 1
    if count < 1 or real_us != wait_us(task.policy, retry=count, draw=0.0):
        return None
    return f"{wait_words(task.policy, count)} after the {ordinal(task.lapses)} lapse in a row"


def _reopened(context: EventContext, body: Retried) -> str:
    assert body.reopens is not None, "asked for reopenings only"
    if body.undoes is not None:
        return f"reopened as it was: event {body.undoes} undone{_asked(body)}"
    why = f" ({context.task.final_reason})" if context.task.final_reason else ""
    had = "had expired" if body.reopens.was == "expired" else "had been cancelled"
    words = f"reopened{_asked(body)}; it {had}{why}, retries count anew"
    if body.revived_by is not None:
        words = f"brought back with task {body.revived_by}, whose end had cancelled it"
    words = ", ".join([words, *link_parts(body.reopens)])
    if context.after.expires_at_us is None:
        return words
    left = brief_duration(context.after.expires_at_us - context.event.decided_at)
    return f"{words}, expires after {left}"


def _expired(context: EventContext, body: Expired) -> str:
    task, policy = context.task, context.task.policy
    if body.restores is not None:
        return _ended_again(body, body.restores)
    if body.reason == "fatal":
        return "failed for good: " + _why_fatal(context)
    if body.reason == "max_lapses":
        return f"{counted(task.lapses, 'lapse')} in a row, {policy.max_lapses} allowed"
    if body.reason == "max_retries":
        most = policy.max_retries
        return "no retries allowed" if not most else f"{task.retry_count} of {_retries(most)} used"
    return _aged(context)


def _why_fatal(context: EventContext) -> str:
    if context.rule is not None:
        return f"by the rule for {context.rule}"
    error = context.task.last_error
    if error is not None and error.type in UNMADE:
        return "a task that it was to make with its completion could not be made"
    return "the worker said so"


def _aged(context: EventContext) -> str:
    """Why its expiry ended the task."""
    task, policy = context.task, context.task.policy
    if task.expires_at_us is None:
        return "max_age, though the log gives the task no expiry"
    aged = policy.max_age_us is not None and (
        task.expires_at_us == context.opened_at + policy.max_age_us
    )
    limit = f"max_age of {show_duration(policy.max_age_us or 0)}" if aged else "expires_at"
    overdue_us = context.event.decided_at - task.expires_at_us
    if task.recorded_state is not TaskState.FAILED:
        seen = f", {brief_duration(overdue_us)} before a node saw it" if overdue_us > 0 else ""
        return f"{limit} passed while waiting{seen}"
    if overdue_us >= 0:
        return f"{limit} had passed when the attempt failed"
    number = task.retry_count + 1
    whole_us = wait_us(policy, retry=number, draw=0.0)
    rule = wait_words(policy, number)
    # A wait that would have been in time was not the one chosen; the log does not say which.
    wait = (
        f"{rule} after the failure" if whole_us >= -overdue_us else "after the worker's own delay"
    )
    return f"{limit} would have passed before the {ordinal(number)} retry, {wait}"


def _cancelled(context: EventContext, body: Cancelled) -> str:
    task = context.task
    if task.recorded_state is TaskState.FAILED:
        # The failure before it has given the lease back.
        on = "" if body.by is None else f" on {body.by}"
        words = f"the worker{on} called it off"
    elif body.restores is not None:
        return _ended_again(body, body.restores)
    elif body.cause is not None:
        words = f"cancelled by the end of task {body.cause}"
    else:
        words = f"called off{_by(body.by)}{_part(body)}"
    if task.recorded_state is TaskState.LEASED:
        held = brief_duration(context.event.decided_at - context.leased_at)
        words += f" while attempt {task.attempt} was leased to {task.worker}, for {held}"
    return f"{words}: {body.reason}" if body.reason else words


def _released(context: EventContext, body: Released) -> str:
    held = took(context.event.decided_at - context.leased_at)
    if body.scheduled_at is not None:
        later = brief_duration(body.scheduled_at - context.event.decided_at)
        words = f"put off for {later} by the worker on {context.task.worker}, after {held}"
        why = f": {body.reason}" if body.reason else ""
        return f"{words}{why}; the attempt does not count"
    why = body.reason or "the log does not say why"
    return f"given back by {context.task.worker} after {held}: {why}; the attempt does not count"


def _updated(context: EventContext, body: Updated) -> str:
    before, after, at = context.task, context.after, context.event.decided_at
    parts = []
    if body.priority is not None:
        parts.append(f"priority {before.priority} to {after.priority}")
    if body.lane is not None:
        parts.append(f"lane {before.lane} to {after.lane}")
    if body.scheduled_at is not None:
        parts.append(_moved(before.scheduled_at_us - at, after.scheduled_at_us - at))
    if body.tags is not UNSET:
        old, new = before.tags, after.tags
        names = sorted(n for n in {*old, *new} if n not in old or n not in new or old[n] != new[n])
        parts.append(f"tags changed: {' '.join(names) or 'only in their order'}")
    if body.waives:
        parts.append("failures of what came before it no longer hold it back")
    if body.undoes is not None:
        parts.insert(0, f"event {body.undoes} undone")
    return ", ".join(parts) + _asked(body)


def _ended_again(body: Expired | Cancelled, end: Restoring) -> str:
    had = f" ({body.reason})" if body.reason else ""
    why = f": {end.reason}" if end.reason else ""
    return f"ended again as it had{had}: event {body.undoes} undone{_by(body.by)}{_part(body)}{why}"


def _revived(_: EventContext, body: Revived) -> str:
    words = "all is back that its end had cancelled"
    if not body.skipped:
        return words
    return f"{words}, but {', '.join(map(str, body.skipped))}: the unique values are taken"


def _moved(old_us: int, new_us: int) -> str:
    """What a new schedule means; both are counted from the event."""
    if new_us <= 0:
        early = "" if old_us <= 0 else f", {brief_duration(old_us)} early"
        return f"ready at once{early}" if old_us > 0 else "ready as before, with another instant"
    was = "it was ready" if old_us <= 0 else f"instead of in {brief_duration(old_us)}"
    return f"to run in {brief_duration(new_us)}, {was}"


def _refused(context: EventContext, body: Refused) -> str:
    late = f"late outcome of an attempt that had lost its lease: {body.outcome} on {body.worker}"
    ending = context.endings.get(body.fence)
    if ending is None:
        return f"{late}; the log does not tell how that lease ({body.fence}) of this task ended"
    ran = took(context.event.decided_at - ending.leased_at)
    before = took(context.event.decided_at - ending.at)
    lost = f"its lease {body.fence} was lost at {ending.seq} ({ending.word}), {before} before"
    return f"{late}, after {ran}; {lost}"


def _by(by: str | None) -> str:
    return "" if by is None else f" by {by}"


def _retries(number: int) -> str:
    return f"{number} retry" if number == 1 else f"{number} retries"


def _why(body: Asked) -> str:
    undone = "" if body.undoes is None else f", as before event {body.undoes}"
    return undone + _by(body.by) + (f": {body.reason}" if body.reason else "")


def _asked(body: Asked) -> str:
    """Who asked for it, why, and what it is a part of."""
    return _by(body.by) + _part(body) + (f": {body.reason}" if body.reason else "")


def _part(body: ByHand) -> str:
    """The change to many tasks that the event is a part of, and the way by which it was asked."""
    part = "" if body.bulk is None else f" in bulk {body.bulk}"
    return part if body.via == "code" else f"{part} from the {_WAYS[body.via]}"


def _bulk(body: Bulk) -> str:
    what = "an undo" if body.action == "undo" else f"a bulk {body.action}"
    of = "" if body.undoes is None else f" of {body.undoes}"
    return f"{what}{of} of {counted(body.count, 'task')} begins{_why(replace(body, undoes=None))}"


def _bulk_ended(body: BulkEnded) -> str:
    words = f"bulk {body.bulk} is done: {counted(body.changed, 'task')} changed"
    return f"{words}, {body.moved_on} had moved on" if body.moved_on else words


_WAYS = {"cli": "command line", "console": "console", "login": "console, logged in"}


_REASONS: dict[type, Callable[[EventContext, Any], str]] = {
    Created: _created,
    Leased: _leased,
    Completed: _completed,
    Failed: _failed,
    Retried: _retried,
    Revived: _revived,
    Expired: _expired,
    Cancelled: _cancelled,
    Renewed: lambda _, body: f"node {body.worker} is alive",
    Released: _released,
    Updated: _updated,
    Refused: _refused,
    Joined: lambda _, body: f"node {body.worker} says what it can run",
    Left: lambda _, body: f"node {body.worker} runs nothing more",
    Followed: lambda _, body: f"follower {body.follower} has come to {body.seq}",
    Unfollowed: lambda _, body: f"follower {body.follower} is forgotten{_by(body.by)}",
    Planned: lambda _, body: f"schedule {body.schedule} {planned_words(body)}",
    Unplanned: lambda _, body: f"schedule {body.schedule} is forgotten{_by(body.by)}",
    Ticked: lambda _, body: f"schedule {body.schedule}: {ticked_words(body)}",
    Paused: lambda _, body: f"no task of {scope_words(body.scope)} is leased{_why(body)}",
    Resumed: lambda _, body: f"tasks of {scope_words(body.scope)} are leased again{_why(body)}",
    Limited: lambda _, body: f"{limit_words(body)}{_why(body)}",
    Shared: lambda _, body: f"{turn_words(body)}{_why(body)}",
    Bulk: lambda _, body: _bulk(body),
    BulkEnded: lambda _, body: _bulk_ended(body),
    Progressed: _progressed,
    Saved: lambda _, body: f"a value of {len(bytes(body.value)):,} bytes for the next attempt",
    Noted: lambda _, body: _noted(body),
    Unknown: lambda _, body: (
        "a kind this version does not know, on which nothing depends"
        if body.skip
        else "a kind this version does not know, shown as it is stored: only a newer one goes on"
    ),
}
