"""A queue as one plain list, for comparison: no index, no events, every query sorts or searches.

It is written from the design's words, and must never borrow from the code it is compared with;
it shares only the commands' input types.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from eventq.core.create import NewTask
from eventq.core.settle import Outcome
from eventq.core.values import Policy
from eventq.errors import (
    ArgumentError,
    DuplicateTaskError,
    KeyConflictError,
    LogTooNewError,
    NotAllowedError,
)
from tests.naive_followers import NaiveFollowers
from tests.naive_links import NaiveLinks
from tests.naive_rows import Node, Row, WrongError, edit_row, new_row, same_wish
from tests.naive_rules import Bound, NaiveRules
from tests.naive_schedules import NaiveSchedules
from tests.naive_times import pause, wished_start

# Of the tasks that schedules make.
DUE_POLICY = Policy("linear", 3, max_age_us=20)

Story = list[tuple[int, str]]
# A story whose new tasks have no number yet.
Steps = list[tuple[Row, str]]


class Naive:
    """The whole queue. Commands change it and give the (task, kind) pairs they should record."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.seq = 0
        # Where the commit begins that is being decided.
        self.begun = 0
        self.signs: dict[str, tuple[int, int, int]] = {}
        self.nodes: dict[str, Node] = {}
        self.followers = NaiveFollowers(lambda kind: self._tell([(0, kind)]))
        self.schedules = NaiveSchedules(
            self._tell, self._make_due, self.row, lambda row, now: row in self.overdue(now)
        )
        self.kinds: Counter[str] = Counter()
        self.links = NaiveLinks(self.rows, self.row)
        self.rules = NaiveRules()

    def row(self, number: int) -> Row:
        """The task with this number."""
        return next(row for row in self.rows if row.number == number)

    def waiting(self) -> list[Row]:
        """Open tasks that nobody holds, but for those of which nobody knows."""
        return [row for row in self.rows if row.state == "waiting"]

    def leased(self, worker: str | None = None) -> list[Row]:
        """Tasks that a node holds, by number; all nodes' for None."""
        held = [row for row in self.rows if row.state == "leased"]
        return [row for row in held if worker in {None, row.worker}]

    def ready(self, now: int) -> list[int]:
        """Numbers of the tasks whose instant has come, in dispatch order."""
        come = [row for row in self.waiting() if row.scheduled_at <= now]
        come.sort(key=lambda row: row.number)
        come.sort(key=lambda row: row.scheduled_at)
        come.sort(key=lambda row: row.priority, reverse=True)
        return [row.number for row in come]

    def overdue(self, now: int) -> list[Row]:
        """Waiting tasks past their expiry, the longest overdue first."""
        open_rows = [row for row in self.rows if row.state in {"waiting", "blocked"}]
        late = [r for r in open_rows if r.expires_at is not None and r.expires_at <= now]
        return sorted(late, key=lambda row: (row.expires_at, row.number))

    def next_instant(self, now: int) -> int | None:
        """The next instant at which a waiting task becomes ready or expires."""
        instants = [row.scheduled_at for row in self.waiting() if row.scheduled_at > now]
        open_rows = [row for row in self.rows if row.state in {"waiting", "blocked"}]
        instants += [row.expires_at for row in open_rows if row.expires_at is not None]
        return min(instants) if instants else None

    def create(self, orders: list[NewTask], now: int) -> tuple[Story, list[int]]:
        """New tasks; one that is there by its key or unique value is given, changed or an error."""
        self.begun = self.seq
        for order in orders:
            self._check_tags(order)
        with self._all_or_none():
            beside, made, places = self._plan(orders, now)
        story = self._tell(self._numbered([*beside, *made]))
        return story, [row.number for row in places]

    @contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """Rows are as they were where an error is expected."""
        rows = self.rows
        before = [replace(row) for row in rows]
        try:
            yield
        except WrongError:
            for row, was in zip(rows, before, strict=False):
                vars(row).update(vars(was))
            del rows[len(before) :]
            raise

    def _plan(self, orders: Any, now: int) -> tuple[Steps, Steps, list[Row]]:  # noqa: ANN401
        """What orders do to old tasks, the new ones, and the task of each; these lack a number."""
        beside: Steps = []
        made: Steps = []
        places = []
        self._free(orders, beside, now)
        for order in orders:
            twin = next((row for row in self.rows if order.key and row.key == order.key), None)
            if twin is not None:
                if not same_wish(order, twin):
                    raise WrongError(KeyConflictError)
                places.append(twin)
                continue
            open_rows = [row for row in self.rows if row.is_open and row.unique is not None]
            holder = next((row for row in open_rows if row.unique == order.unique), None)
            is_made = holder is not None and (not holder.number or holder.number > self.begun)
            if holder is not None:
                if order.on_duplicate == "raise":
                    raise WrongError(DuplicateTaskError)
                replaces = order.on_duplicate == "replace"
                changes = replaces and self._supersede(holder, order, now, is_made=is_made)
                if changes and not is_made:
                    beside.append((holder, "updated"))
                places.append(holder)
                continue
            self._check_tags(order)
            row = new_row(order, 0, now)
            self.rules.place(row, row.first_buckets)
            row.first_buckets = [
                known if value is None and self.rules.bounds.get(limit) else (limit, value)
                for limit, value in row.first_buckets
                for known in [next(b for b in row.buckets if b[0] == limit)]
            ]
            self.rows.append(row)
            if order.link is not None:
                after = list(order.link.after)
                self.links.link(row, after, order.link.if_failed, dict(order.link.given))
            made.append((row, "created"))
            places.append(row)
        return beside, made, places

    def _free(self, orders: Any, beside: Steps, now: int) -> None:  # noqa: ANN401 - see above
        """Who holds the value of an order and is past its time ends before anything is made."""
        keys = {row.key for row in self.rows if row.key}
        for value in [order.unique for order in orders if order.key not in keys and order.unique]:
            for row in self.overdue(now):
                is_made = not row.number or row.number > self.begun
                if row.unique == value and not is_made:
                    row.state, row.reason, row.ended_at = "expired", "max_age", now
                    beside.append((row, "expired"))

    def _numbered(self, steps: Steps) -> Story:
        """The steps as a story; a new task's number is its place."""
        for seq, (row, _) in enumerate(steps, self.seq + 1):
            row.number = row.number or seq
        return [(row.number, kind) for row, kind in steps]

    def _supersede(self, holder: Row, order: NewTask, now: int, *, is_made: bool) -> bool:
        """Gives a waiting task other tags and another instant; says whether that changed it."""
        if holder.state not in {"waiting", "blocked"}:
            return False
        before = replace(holder)
        holder.tags = order.tags_json
        self.rules.place(holder, holder.buckets)
        start = wished_start(order, now)
        at = now if start is None else start
        stays = holder.scheduled_at <= now and at <= now and not is_made
        if not stays and (holder.expires_at is None or at < holder.expires_at):
            holder.scheduled_at = at
        if is_made:
            _, _, _, until, age = holder.first_wish
            holder.first_wish = (holder.priority, json.loads(holder.tags), start, until, age)
        return holder != before

    def lease(self, worker: str, count: int, room: int, ttl: int, now: int) -> Story:
        """Expires what is overdue, then leases what ranks first among what the node can run.

        A node that has joined with lanes takes at most so many of each as it said.
        """
        node = self.nodes.get(worker, Node())
        left = dict(node.lanes) if node.lanes else {None: count}
        return self._lease_early(worker, left, room, ttl, now)

    def _lease_early(
        self, worker: str, left: dict[Any, int], room: int, ttl: int, now: int
    ) -> Story:
        """Where what expires lets something else run, nothing is leased."""
        before = set(self.ready(now))
        story = self.expire(room, now)
        if set(self.ready(now)) - before:
            return story
        return story + self._take(worker, left, room - len(story), ttl, now)

    def settle_and_lease(
        self, worker: str, outcomes: list[Outcome], count: int, ttl: int, now: int
    ) -> Story:
        """Leases, then ends attempts, then leases what has room since attempts have ended.

        Of the last none before which a task might come that is ready since then.
        """
        node = self.nodes.get(worker, Node())
        left = dict(node.lanes) if node.lanes else {None: count}
        before, late = set(self.ready(now)), self.overdue(now)
        doomed = self.links.choose_doomed(1_000, but=late)
        story = self._lease_early(worker, left, 1_000, ttl, now)
        held = {row.number: row.fence for row in self.leased() if row.buckets}
        if doomed or late:
            story += self._tell(self.links.cancel(doomed, now))
        else:
            story += self.bring_back(1_000, now)
        story += self.settle(outcomes, now)
        if all(self.row(number).fence == fence for number, fence in held.items()):
            return story
        ready = [self.row(number) for number in set(self.ready(now)) - before]
        return story + self._take(worker, left, 1_000, ttl, now, since=ready)

    def _take(  # noqa: PLR0917 - all of a lease
        self,
        worker: str,
        left: dict[Any, int],
        room: int,
        ttl: int,
        now: int,
        since: list[Row] | None = None,
    ) -> Story:
        """Leases what comes next, one after the other; ``left`` is how many, in all or by lane."""
        story: Story = []
        node, since = self.nodes.get(worker, Node()), since or []
        late, rules = self.overdue(now), self.rules
        while len(story) < room:
            wanted = [
                row
                for row in map(self.row, self.ready(now))
                if node.runs(row) and (left[None] if None in left else left.get(row.lane, 0)) > 0
            ]
            fit = [
                row
                for row in wanted
                if row not in late and row not in since and not rules.is_paused(row, now)
            ]
            fit = rules.ranked([row for row in fit if rules.has_room(row, self.rows, now)])
            if not fit or any(rules.might_precede(o, fit[0]) for o in since if o in wanted):
                break
            row = fit[0]
            left[None if None in left else row.lane] -= 1
            story += self._tell([(row.number, "leased")])
            row.state, row.worker, row.fence, row.started_at = "leased", worker, self.seq, now
            row.attempt += 1
            row.progress = None
            rules.lease(row, now)
            self.signs[worker] = (self.seq, now, ttl)
        return story

    def limit(self, name: str, bound: Bound, now: int) -> Story:
        """Somebody sets a limit."""
        rows = [row for row in self.rows if row.is_open]
        known = self.rules.bounds.get(name)
        if known is not None and known.per != bound.per:  # noqa: SIM102 - one rule
            if any(name == limit for row in rows for limit, _ in row.buckets):
                raise WrongError(ArgumentError)
        self.rules.limit(name, bound, rows, now)
        return self._tell([(0, "limited")])

    def pause(self, scope: Any, until: int | None, now: int) -> Story:  # noqa: ANN401
        """Somebody pauses something."""
        if until is not None and until <= now:
            raise WrongError(ArgumentError)
        self.rules.pauses[scope] = until
        return self._tell([(0, "paused")])

    def resume(self, scope: Any, now: int) -> Story:  # noqa: ANN401
        """Somebody resumes something."""
        if scope not in self.rules.pauses:
            raise WrongError(ArgumentError)
        until = self.rules.pauses.pop(scope)
        if until is not None and until <= now:
            raise WrongError(ArgumentError)
        return self._tell([(0, "resumed")])

    def share(self, per: str | None, weights: dict[str, int], *, lifted: bool) -> Story:
        """Somebody has shares take turns, or no more."""
        rows = [row for row in self.rows if row.is_open]
        if lifted:
            self.rules.no_turns(rows)
        else:
            self.rules.turns(per, weights, rows)
        return self._tell([(0, "shared")])

    def _check_tags(self, order: NewTask) -> None:
        buckets = [(bucket.limit, bucket.value) for bucket in order.route.buckets]
        if self.rules.lacks(order.tags_json, buckets):
            raise WrongError(ArgumentError)

    def join(
        self,
        worker: str,
        names: tuple[str, ...],
        lanes: dict[str, int] | None,
        now: int,
        *,
        unnamed: bool,
    ) -> Story:
        """A node says what it can run; who has been silent for five minutes is forgotten."""
        story = self._tell([(0, "joined")])
        self.nodes[worker] = Node(names, unnamed, lanes, (self.seq, now))
        for name, node in list(self.nodes.items()):
            if node.said[1] < now - 300_000_000:
                del self.nodes[name]
        return story

    def leave(self, worker: str) -> Story:
        """A node runs nothing more."""
        self.nodes.pop(worker, None)
        return self._tell([(0, "left")])

    def drop_follower(self, name: str) -> Story:
        """A follower is forgotten."""
        if name not in self.followers.readers:
            raise WrongError(ArgumentError)
        return self.followers.drop(name)

    def meet_newer(self, number: int, kind: str) -> Story:
        """An event that only a newer eventq knows: the task is not to be touched any more."""
        row = self.row(number)
        self.seq += 1
        if row.newer is None:
            row.newer = (self.seq, kind)
            row.fence, row.worker = 0, None
            if row.ended_at is None:
                row.state = "unknown"
        return []

    def expire(self, room: int, now: int) -> Story:
        """Gives up what is overdue."""
        story: Story = []
        for row in self.overdue(now)[:room]:
            row.state, row.reason, row.ended_at = "expired", "max_age", now
            story += self._tell([(row.number, "expired")])
        return story

    def settle(self, outcomes: list[Outcome], now: int) -> Story:
        """Ends attempts; a fence that is not live changes nothing, and is refused once."""
        story: Story = []
        refused: set[int] = set()
        self.begun = self.seq
        for outcome in outcomes:
            row = next((row for row in self.leased() if row.number == outcome.task), None)
            if row is None or row.fence != outcome.fence:
                if outcome.kind != "released" and outcome.fence not in refused:
                    refused.add(outcome.fence)
                    story += self._tell([(outcome.task, "refused")])
                continue
            for body in outcome.told:
                story += self.tell(row.number, row.fence, body, now)
            row.fence, row.worker = 0, None
            if outcome.kind == "completed":
                story += self._complete(row, outcome, now)
            elif outcome.kind == "released":
                row.state = "waiting"
                row.attempt -= 1
                row.lapses = 0
                if outcome.delay_us is not None:
                    row.scheduled_at = now + outcome.delay_us
                    row.snoozes += 1
                story += self._tell([(row.number, "released")])
            elif outcome.kind == "cancelled":
                row.state, row.reason, row.error = "cancelled", outcome.reason, "eventq.Cancel"
                row.lapses, row.ended_at = 0, now
                story += self._tell([(row.number, "failed"), (row.number, "cancelled")])
            else:
                row.error = outcome.error.type if outcome.error else None
                row.lapses = 0
                wait = pause(row.policy, row.retries + 1, outcome.draw)
                if outcome.delay_us is not None:
                    wait = outcome.delay_us
                story += self._fail(row, now, wait, fatal=outcome.fatal)
        return story

    def tell(self, number: int, fence: int, body: Any, now: int) -> Story:  # noqa: ANN401
        """An attempt tells something; nobody hears one whose lease is over."""
        row = self.row(number)
        if row.state != "leased" or row.fence != fence:
            return []
        if body.kind == "progressed":
            row.progress = (body.done, body.total, body.note, now)
        elif body.kind == "saved":
            row.saved = bytes(body.value)
        return self._tell([(number, body.kind)])

    def _complete(self, row: Row, outcome: Outcome, now: int) -> Story:
        """An attempt did its work; if a task that it makes cannot be made, it failed for good."""
        try:
            with self._all_or_none():
                row.state, row.result, row.ended_at = "completed", outcome.result_json, now
                row.progress = row.saved = None
                flow = row.flow if self.links.takes_members(row) else None
                for order in outcome.children:
                    self._check_tags(order)
                beside, made, _ = self._plan(outcome.children, now)
        except WrongError as wrong:
            row.error, row.lapses = f"eventq.{wrong.error.__name__}", 0
            return self._fail(row, now, 0, fatal=True)
        # Not before all are made: where one cannot be, none has been in the flow.
        if flow is not None:
            for child, _ in made:
                self.links.join(child, flow, "member")
        return self._tell(self._numbered([*beside, (row, "completed"), *made]))

    def lapse(self, worker: str, seen_seq: int, room: int, now: int) -> Story:
        """Fails the attempts of a node not heard of since; the first in a row may run at once."""
        story: Story = []
        if self.signs.get(worker, (0, 0, 0))[0] != seen_seq:
            return story
        for row in sorted(self.leased(worker), key=lambda row: row.number)[: room // 2]:
            row.fence, row.worker, row.error = 0, None, "LeaseLapsed"
            row.lapses += 1
            wait = pause(row.policy, row.lapses - 1, 0.0) if row.lapses > 1 else 0
            story += self._fail(row, now, wait)
        return story

    def renew(self, worker: str, ttl: int, now: int) -> Story:
        """Keeps a node's leases; says nothing when it has none."""
        if not self.leased(worker):
            return []
        story = self._tell([(0, "renewed")])
        self.signs[worker] = (self.seq, now, ttl)
        return story

    def cancel(self, number: int, reason: str, now: int) -> Story:
        """Calls off an open task; twice is once."""
        row = self.row(number)
        if row.state == "cancelled":
            return []
        if row.state in {"completed", "expired"}:
            raise WrongError(NotAllowedError)
        row.state, row.reason, row.fence, row.worker = "cancelled", reason, 0, None
        row.ended_at = now
        return self._tell([(number, "cancelled")])

    def retry(self, number: int, now: int, room: int = 1_000) -> Story:
        """Lets a waiting task run at once, or brings an expired or cancelled one back."""
        row = self.row(number)
        if row.state in {"leased", "completed"}:
            raise WrongError(NotAllowedError)
        if row.state in {"waiting", "blocked"}:
            waives = row.state == "blocked" and self.links.is_stuck(row)
            if row.scheduled_at <= now and not waives:
                return []
            row.scheduled_at = min(row.scheduled_at, now)
            if waives:
                self.links.waive(row)
            return self._tell([(number, "updated")])
        if self._is_taken(row.unique):
            raise WrongError(NotAllowedError)
        if self.links.comes_after_newer(row):
            raise WrongError(LogTooNewError)
        self._reopen(row, now, waives=True)
        return self._tell([(number, "retried"), *self._bring_back([number], room - 1, now)])

    def bring_back(self, room: int, now: int) -> Story:
        """A node goes on with what is to come back."""
        story: Story = []
        for number in sorted(self.links.reviving):
            if len(story) < room - 1:
                story += self._bring_back([number], room - len(story), now)
        return self._tell(story)

    def _bring_back(self, numbers: list[int], room: int, now: int) -> Story:
        """Reopens what the ends of tasks had cancelled, and what that had cancelled."""
        story: Story = []
        while numbers:
            number = numbers.pop(0)
            skipped, is_done = False, True
            for row in self.links.caused_by(number):
                if self._is_taken(row.unique) or self.links.comes_after_newer(row):
                    skipped = True
                elif len(story) >= room - 1:
                    is_done = False
                    break
                else:
                    self._reopen(row, now, waives=False)
                    story.append((row.number, "retried"))
                    numbers.append(row.number)
            was_reviving = number in self.links.reviving
            if is_done and (skipped or was_reviving):
                story.append((number, "revived"))
            if is_done and was_reviving:
                self.links.reviving.remove(number)
            elif not is_done and not was_reviving:
                self.links.reviving.append(number)
        return story

    def _reopen(self, row: Row, now: int, *, waives: bool) -> None:
        row.state, row.reason, row.retries, row.scheduled_at = "waiting", None, 0, now
        row.lapses, row.started_at, row.ended_at, row.progress = 0, None, None, None
        age = row.policy.max_age_us
        row.expires_at = None if age is None else now + age
        self.links.reopen(row, waives=waives)
        self.rules.place(row, row.first_buckets)

    def _is_taken(self, unique: str | None) -> bool:
        return bool(unique) and any(o.is_open and o.unique == unique for o in self.rows)

    def create_flow(self, orders: list[NewTask], picks: list[list[int]], now: int) -> Story:
        """New tasks of one flow, each after those before it with these places."""
        first = self.seq + 1
        for index, (order, places) in enumerate(zip(orders, picks, strict=True)):
            row = new_row(order, first + index, now)
            self.rows.append(row)
            self.rules.place(row, row.first_buckets)
            assert order.link is not None
            after = [first + place for place in dict.fromkeys(places)]
            self.links.link(row, after, order.link.if_failed, {})
            self.links.join(row, first, order.link.role)
        return self._tell([(first + index, "created") for index in range(len(orders))])

    def cancel_doomed(self, room: int, now: int) -> Story:
        """A node cancels what is doomed."""
        return self._tell(self.links.cancel(self.links.choose_doomed(room), now))

    def update(self, number: int, **changes: Any) -> Story:  # noqa: ANN401 - those of `edit_row`
        """Edits a waiting task; an edit that changes nothing says nothing."""
        row = self.row(number)
        is_edited = edit_row(row, **changes)
        if changes.get("tags_json") is not None:
            self.rules.place(row, row.buckets)
        return self._tell([(number, "updated")]) if is_edited else []

    def _fail(self, row: Row, now: int, wait: int, *, fatal: bool = False) -> Story:
        policy = row.policy
        if fatal:
            row.state, row.reason = "expired", "fatal"
        elif policy.max_lapses is not None and row.lapses > policy.max_lapses:
            row.state, row.reason = "expired", "max_lapses"
        elif policy.max_retries is not None and row.retries == policy.max_retries:
            row.state, row.reason = "expired", "max_retries"
        elif row.expires_at is not None and now + wait >= row.expires_at:
            row.state, row.reason = "expired", "max_age"
        else:
            row.state, row.scheduled_at = "waiting", now + wait
            row.retries += 1
        if row.state == "expired":
            row.ended_at = now
        follows = "retried" if row.state == "waiting" else "expired"
        return self._tell([(row.number, "failed"), (row.number, follows)])

    def _make_due(self, schedule: str, due: int, now: int) -> Row:
        row = new_row(NewTask(b"{}", DUE_POLICY), self.seq + 1, now)
        row.schedule, row.due = schedule, due
        self.rows.append(row)
        self._tell([(row.number, "created")])
        return row

    def _tell(self, story: Story) -> Story:
        self.seq += len(story)
        self.kinds.update(kind for _, kind in story)
        for number, kind in story:
            if kind in {"cancelled", "expired"} and number in self.links.reviving:
                self.links.reviving.remove(number)
        self.links.settle()
        return story
