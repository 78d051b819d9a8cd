"""The catalog's own fold: from events to rows, faster than a projection, since it checks nothing.

It keeps no index and refuses no move: the log has been checked by who appended, and by `verify`.
That it comes to the same as the full fold is a property test's word. It writes nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import replace

from eventq.catalog.by_hand import was_asked_for
from eventq.catalog.life import Life, Row
from eventq.catalog.links import TaskLinks
from eventq.catalog.minutes import MINUTE_US, MinuteCounts, step_of
from eventq.catalog.schema import (
    CANCELLED,
    CODES,
    COMPLETED,
    EXPIRED,
    FAILED,
    FINAL,
    LEASED,
    SCHEDULED,
    UNKNOWN,
    WAITING,
)
from eventq.catalog.tag_words import indexed_text
from eventq.catalog.words import Words
from eventq.core.commits import AnyBody, Commit, Unknown, time_of
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Refused,
    Released,
    Restoring,
    Retried,
    Updated,
)
from eventq.core.moves import DOUBTED, create, first_state, reopen
from eventq.core.secret_tags import open_tags
from eventq.core.task import DEFAULT_LANE, Task
from eventq.core.values import LAPSED, NODE

NO_TAGS = Raw(b"{}")

Load = Callable[[int], Life | None]
AnyKnown = AnyBody | Unknown
Names = tuple[str, ...]


class Fold:
    """What the events so far lead to: lives that are at hand, and rows that are to be written.

    ``load`` finds a task that is not at hand; ``base`` is the instant of the first event.
    """

    def __init__(self, namespace: str, words: Words, load: Load, base: int) -> None:
        self.lives: dict[int, Life] = {}
        self.links = TaskLinks()
        self.base = base
        self.is_odd = False
        """Events have been decided by other instants than those they were stamped with."""
        self.dirty: list[Life] = []
        self.past: list[Row] = []
        self.tags: list[tuple[int, bytes]] = []
        self.tag_words: list[tuple[int, str]] = []
        self.tag_edits: list[tuple[int, int]] = []
        self.changes: list[Row] = []
        self.minutes: dict[tuple[int, int], MinuteCounts] = {}
        self.moments: dict[int, int] = {}
        self._namespace = namespace
        self._words = words
        self._load = load
        self._moves: dict[type, Callable[..., None]] = {
            Leased: self._leased,
            Completed: self._completed,
            Failed: self._failed,
            Retried: self._retried,
            Expired: self._expired,
            Cancelled: self._cancelled,
            Released: self._released,
            Updated: self._updated,
            Refused: self._refused,
            Unknown: self._unknown,
        }
        self._names: dict[str, int] = {}
        self._nodes: dict[str, int] = {}

    def apply(self, commit: Commit, bodies: list[AnyKnown]) -> None:
        """Folds one commit."""
        at = time_of(commit.at, bodies[0]) if bodies else commit.at
        if at != commit.at:
            self.is_odd = True
        lives, load, moves = self.lives, self._load, self._moves
        minute = at // MINUTE_US
        self.moments[minute] = commit.last
        for seq, (number, body) in enumerate(zip(commit.tasks, bodies, strict=True), commit.first):
            kind = type(body)
            if kind is Created:
                self._created(seq, at, body)  # type: ignore[arg-type]
                continue
            if number == NODE:
                if was_asked_for(body):
                    self._note_change(seq, at, number, body, getattr(body, "reason", ""))
                continue
            life = lives.get(number)
            if life is None:
                life = load(number)
                if life is None:
                    continue
                lives[number] = life
            move = moves.get(kind)
            if move is None:
                continue
            if life.newer is not None and kind in DOUBTED:
                self._doubt(life, seq, at, getattr(body, "by", None))
            else:
                move(life, seq, at, minute, body)

    def take_over(self, seq: int, task: Task) -> None:
        """A task of which the log holds no beginning, as it stood behind a position."""
        created_at, error = task.created_at_us - self.base, task.last_error
        life = self._made(task.number, created_at, task.caller_key, task.name, task.route.lane)
        self._set_tags(life, task.number, task.tags_json, task.secret)
        life.flow = task.flow
        life.schedule = self._id("schedule", task.schedule)
        life.first_to, life.since = task.number, seq
        life.state = CODES[task.recorded_state]
        life.priority, life.attempts = task.priority, task.attempt
        life.scheduled_at = task.scheduled_at_us - self.base
        life.last_seq, life.last_at = task.fence or task.number, task.seen_at_us - self.base
        life.error = None if error is None else self._words.error_id(error, life.secret)
        if task.worker is not None:
            life.nodes = self._words.with_one_more("nodes", None, task.worker)
            life.node = self._node(task.worker)
        life.fence = task.fence
        life.newer = None if task.newer is None else task.newer[0]

    def forget(self, most: int) -> None:
        """Lets go of what has been written: what has ended, and of others what is over ``most``."""
        lives = {n: life for n, life in self.lives.items() if life.state not in FINAL}
        self.lives = lives if len(lives) <= most else {}

    def _made(
        self, number: int, created_at: int, key: str | None, name: str | None, lane: str | None
    ) -> Life:
        """A new life, at hand and to be written."""
        # By place, since each task of a log comes by here, and names take several times as long.
        life = Life(
            number,
            key,
            None if name is None else self._names.get(name) or self._name(name),
            None if lane is None else self._id("lane", lane),
            created_at,
            None,
            None,
            None,
            SCHEDULED,
            0,
            created_at,
            number,
            SCHEDULED,
            0,
            0,
            created_at,
            None,
            number,
            created_at,
            is_dirty=True,
        )
        self.lives[number] = life
        self.dirty.append(life)
        return life

    def _created(self, seq: int, at: int, body: Created) -> None:
        life = self._made(seq, at - self.base, body.key, body.name, body.lane)
        life.priority = life.first_priority = body.priority
        if body.scheduled_at is not None:
            self._schedule(life, at, body.scheduled_at)
            life.first_scheduled_at = life.scheduled_at
        if body.schedule is not None:
            life.schedule = self._id("schedule", body.schedule)
        if body.flow is not None or body.after:
            life.flow = body.flow
            task = create(self._namespace, seq, at, replace(body, tags=NO_TAGS))
            life.state = life.first_state = CODES[task.recorded_state]
            self.links.note_created(task)
        self._set_tags(life, seq, body.tags, body.secret)
        self._count(at // MINUTE_US, life.name).created += 1

    def _leased(self, life: Life, seq: int, at: int, minute: int, body: Leased) -> None:
        self._change(life, seq, LEASED)
        life.state, life.attempts, life.fence = LEASED, body.attempt, seq
        life.last_seq, life.last_at = seq, at - self.base
        life.nodes = self._words.with_one_more("nodes", life.nodes, body.worker)
        life.node = self._nodes.get(body.worker) or self._node(body.worker)
        ready_at = life.scheduled_at if life.ready_at is None else life.ready_at
        life.waited = max(0, life.last_at - ready_at)
        counts = self._count(minute, life.name)
        counts.started += 1
        step = step_of(life.waited)
        counts.waits[step] = counts.waits.get(step, 0) + 1

    def _completed(self, life: Life, seq: int, at: int, minute: int, body: Completed) -> None:
        self._end_attempt(life, seq, at, minute, COMPLETED)
        self._end(life, seq, at, COMPLETED, made=body.made)
        self._count(minute, life.name).completed += 1

    def _failed(self, life: Life, seq: int, at: int, minute: int, body: Failed) -> None:
        self._end_attempt(life, seq, at, minute, FAILED)
        life.state, life.last_seq, life.last_at = FAILED, seq, at - self.base
        life.error = self._words.error_id(body.error, life.secret)
        life.lapses += body.error.type == LAPSED
        self._count(minute, life.name).failed += 1

    def _retried(self, life: Life, seq: int, at: int, minute: int, body: Retried) -> None:
        self._change(life, seq, SCHEDULED)
        self._count(minute, life.name).retried += 1
        is_own, is_waiting = life.state == FAILED, False
        if life.state in FINAL and body.reopens is not None:
            is_waiting = self._reopen(life, seq, at, body)
        life.state = WAITING if is_waiting else SCHEDULED
        self._schedule(life, at, body.scheduled_at)
        self._take_by_hand(life, seq, at, body, by_hand=not is_own and body.revived_by is None)

    def _reopen(self, life: Life, seq: int, at: int, body: Retried) -> bool:
        """A final task is brought back, as the event has it; returns whether it waits."""
        content = body.reopens
        assert content is not None, "the caller has looked"
        life.ended_at, life.attempts = None, content.attempt
        life.priority = content.priority
        if content.last_error is not None:
            life.error = self._words.error_id(content.last_error, life.secret)
        task = None
        if content.flow is not None or content.after:
            brought = replace(body, reopens=replace(content, tags=NO_TAGS))
            task = reopen(self._namespace, life.number, seq, at, brought)
            assert task.recorded_state.value == first_state(content).value, "the core says both"
        return self.links.note_reopened(life.number, task)

    def _expired(self, life: Life, seq: int, at: int, minute: int, body: Expired) -> None:
        self._change(life, seq, EXPIRED)
        self._end(life, seq, at, EXPIRED)
        self._count(minute, life.name).expired += 1
        if body.restores is not None:
            self._restore(life, body.restores)
            self._add_person(life, body.by)
            self._note_change(seq, at, life.number, body, body.restores.reason)

    def _cancelled(self, life: Life, seq: int, at: int, minute: int, body: Cancelled) -> None:
        is_by_hand = body.cause is None and not self._is_by_worker(life, body.by)
        self._end_attempt(life, seq, at, minute, CANCELLED)
        self._end(life, seq, at, CANCELLED)
        self._count(minute, life.name).cancelled += 1
        self._add_person(life, body.by)
        if body.restores is not None:
            self._restore(life, body.restores)
            self._note_change(seq, at, life.number, body, body.restores.reason)
        elif is_by_hand:
            self._note_change(seq, at, life.number, body, body.reason)

    def _released(self, life: Life, seq: int, at: int, minute: int, body: Released) -> None:
        self._end_attempt(life, seq, at, minute, SCHEDULED)
        life.state, life.attempts = SCHEDULED, life.attempts - 1
        life.last_seq, life.last_at = seq, at - self.base
        again_at = body.scheduled_at
        self._schedule(life, at, life.scheduled_at + self.base if again_at is None else again_at)

    def _updated(self, life: Life, seq: int, at: int, _minute: int, body: Updated) -> None:
        self._change(life, seq, life.state)
        if body.priority is not None:
            life.priority = body.priority
        if body.scheduled_at is not None:
            self._schedule(life, at, body.scheduled_at)
        if body.lane is not None:
            first = None if body.lane == DEFAULT_LANE else self._id("lane", body.lane)
            life.moved = None if first == life.lane else self._id("lane", body.lane)
        if body.tags is not UNSET:
            life.tags_seq = seq
            self.tag_edits.append((seq, life.number))
            self._set_tags(life, seq, body.tags, body.secret)
        self._take_by_hand(life, seq, at, body, by_hand=True)
        if body.waives:
            self._start(self.links.waive(life.number), seq)

    def _refused(self, life: Life, seq: int, _at: int, _minute: int, body: Refused) -> None:
        self._change(life, seq, life.state)
        life.refused += 1
        life.late = body.fence if life.late is None else min(life.late, body.fence)

    def _unknown(self, life: Life, seq: int, at: int, _minute: int, body: Unknown) -> None:
        if body.skip:
            return
        self._change(life, seq, life.state)
        if life.newer is None:
            life.newer = seq
            if life.state not in FINAL:
                if life.number in self.links.tasks:
                    self.links.stop(life.number)
                life.state = UNKNOWN
        life.last_seq, life.last_at = seq, at - self.base

    def _doubt(self, life: Life, seq: int, at: int, by: str | None) -> None:
        """An event behind one of a newer eventq: nobody knows where the task stands."""
        self._change(life, seq, life.state)
        self._add_person(life, by)
        if life.state in FINAL:
            life.state, life.ended_at = UNKNOWN, None
        life.last_seq, life.last_at = seq, at - self.base

    def _schedule(self, life: Life, at: int, scheduled_at: int) -> None:
        """It may run at an instant, and not before this one, nor before it was made."""
        life.scheduled_at, earliest = scheduled_at - self.base, max(at - self.base, life.created_at)
        life.ready_at = earliest if earliest > life.scheduled_at else None

    def _end_attempt(self, life: Life, seq: int, at: int, minute: int, became: int) -> None:
        """Its lease, if it has one, is over."""
        self._change(life, seq, became)
        if life.state == LEASED:
            life.ran = at - self.base - life.last_at
            counts = self._count(minute, life.name)
            step = step_of(life.ran)
            counts.runs[step] = counts.runs.get(step, 0) + 1

    def _end(self, life: Life, seq: int, at: int, state: int, *, made: int = 0) -> None:
        """The task is final; whoever waited for it may run."""
        # A stranger that has ended once is forgotten by projections, and frees nobody again.
        is_open = life.state not in FINAL
        life.state = state
        life.last_seq, life.last_at = seq, at - self.base
        life.ended_at = life.last_at
        links, number = self.links, life.number
        if is_open and (number in links.tasks or number in links.awaited):
            self._start(links.note_end(number, completed=state == COMPLETED, made=made), seq)

    def _restore(self, life: Life, end: Restoring) -> None:
        """A task whose coming back is taken back has ended when it did before."""
        life.scheduled_at = end.scheduled_at - self.base
        life.ended_at = end.ended_at - self.base

    def _start(self, numbers: list[int], seq: int) -> None:
        """The wait of these tasks is over, by an event about another one."""
        for number in numbers:
            life = self.lives.get(number) or self._load(number)
            if life is not None:
                self.lives[number] = life
                self._change(life, seq, SCHEDULED)
                life.state = SCHEDULED

    def _take_by_hand(
        self, life: Life, seq: int, at: int, body: Retried | Updated, *, by_hand: bool
    ) -> None:
        """Something that a person or a program may have asked for."""
        life.last_seq, life.last_at = seq, at - self.base
        self._add_person(life, body.by)
        if by_hand:
            self._note_change(seq, at, life.number, body, body.reason)

    def _add_person(self, life: Life, by: str | None) -> None:
        """Somebody has had a hand in it."""
        if by is not None:
            life.people = self._words.with_one_more("people", life.people, by)

    def _is_by_worker(self, life: Life, by: str | None) -> bool:
        """Whether it was the task's own attempt that called it off."""
        if life.state == FAILED:
            return True
        if life.state != LEASED or by is None or life.nodes is None:
            return False
        return by in msgspec.json.decode(self._words.text_of(life.nodes))

    def _change(self, life: Life, seq: int, became: int) -> None:
        """How the task looked ends here, unless it has begun here; a state comes next."""
        if life.since != seq:
            if life.first_to is None:
                life.first_to = seq
            else:
                self.past.append(life.past_row(seq, became))
            life.since = seq
        if not life.is_dirty:
            life.is_dirty = True
            self.dirty.append(life)

    def _set_tags(self, life: Life, seq: int, tags_json: bytes | Raw, secret: Names) -> None:
        """The one place where tags enter the catalog, without those that are secret."""
        told = open_tags(tags_json, secret)
        self.tags.append((seq, told))
        if told != b"{}":
            self.tag_words.append((seq, indexed_text(told)))
        if secret:
            life.secret = self._words.id_of("secret", msgspec.json.encode(secret).decode())

    def _note_change(self, seq: int, at: int, number: int, body: AnyKnown, reason: str) -> None:
        """Keeps what a person or a program has asked for, and why."""
        by, *said = (getattr(body, name, None) for name in ("by", "via", "bulk", "undoes"))
        self.changes.append((seq, at - self.base, body.kind, number, by, reason, *said))

    def _count(self, minute: int, name: int | None) -> MinuteCounts:
        counts = self.minutes.get((minute, name or 0))
        if counts is None:
            counts = self.minutes[minute, name or 0] = MinuteCounts()
        return counts

    def _name(self, name: str) -> int:
        found = self._names[name] = self._words.id_of("name", name)
        return found

    def _node(self, node: str) -> int:
        found = self._nodes[node] = self._words.id_of("node", node)
        return found

    def _id(self, kind: str, text: str | None) -> int | None:
        return None if text is None else self._words.id_of(kind, text)
