"""The pure core against a plain list, a fresh replay and the checker, after every step.

Hypothesis draws the commands; a failure prints the steps that lead to it. Time is a number here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import Raw
from msgspec.structs import replace

from eventq.core.bulk import ChangePortion, EndBulk, digest_of
from eventq.core.cascade import tend
from eventq.core.command import NEW, Draft
from eventq.core.commits import AnyTold
from eventq.core.create import NewTask
from eventq.core.create_flow import CreateFlow
from eventq.core.follow import AdvanceFollower, ClaimFollower, DropFollower
from eventq.core.govern import PauseTasks, ResumeTasks, SetLimit, SetTurns
from eventq.core.link import Link, placed
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.core.queue_events import (
    Bulk,
    BulkEnded,
    Followed,
    Joined,
    Left,
    Limited,
    Paused,
    Resumed,
    Shared,
)
from eventq.core.reference import sibling
from eventq.core.settle import Outcome, SettleAndLease, live_told
from eventq.core.task import Task
from eventq.core.values import NODE, BulkAction, IfFailed, Role, Scope
from eventq.eventlog import EventLog
from eventq.node.logged_past import LoggedPast
from eventq.replay.fold import replay
from tests import deciding as decide
from tests.checker import check_log
from tests.driver import append_texts, existing_of, memory_log, record, task_in
from tests.facts import assert_equal, facts, row_facts
from tests.naive import Naive
from tests.naive_bulks import NaiveBulks
from tests.naive_rows import Row, WrongError
from tests.naive_rules import Bound
from tests.replays import assert_same, bulk_replay
from tests.stateful_schedules import NODE_KINDS, Thing, played, schedule_things
from tests.strategies import (
    START,
    TTL,
    OutcomeKind,
    bounds,
    bulk_edits,
    doubtful_orders,
    edits,
    ended,
    ends,
    families,
    flows,
    free_orders,
    indexes,
    kinds,
    orders,
    patterns,
    rooms,
    rules,
    scopes,
    slots,
    turns,
    words,
    workers,
)


class QueueMachine(RuleBasedStateMachine):
    """Drives decide, append and apply, and has everything compared after each step."""

    def __init__(self, log: EventLog | None = None) -> None:
        super().__init__()
        self.log = log or memory_log()
        self.projection = Projection(self.log.namespace)
        self.model = Naive()
        self.now = START
        self.fences: list[tuple[int, int]] = []
        self.signs: list[tuple[str, int]] = []
        self.past: list[tuple[int, dict[int, Task]]] = []
        self.logged = LoggedPast(self.log)
        self.bulks = NaiveBulks(self.model)
        self.bulk_seqs: list[int] = []

    @initialize(wanted=st.lists(free_orders, min_size=3, max_size=8))
    def begin(self, wanted: list[NewTask]) -> None:
        """No run is spent on an empty queue."""
        self.create(wanted)

    @rule(wanted=st.lists(orders, min_size=1, max_size=4) | st.lists(doubtful_orders, max_size=2))
    def create(self, wanted: list[NewTask]) -> None:
        """Makes tasks, some under keys that are taken."""
        wanted = [self.placed(order) for order in wanted]
        existing = existing_of(self.log, [order.key for order in wanted if order.key])
        answer = self.agree(
            lambda: self.model.create(wanted, self.now),
            lambda: decide.create(
                wanted, existing, now=self.now, projection=self.projection, past=self.logged
            ),
        )
        if answer is not None:
            (story, expected), (drafts, places) = answer
            self.commit(story, drafts)
            numbers = [story[-1 - place][0] if place < 0 else place for place in places]
            assert numbers == expected

    @rule(
        wanted=st.lists(st.tuples(orders, st.lists(indexes, max_size=3)), min_size=1, max_size=3),
        if_failed=rules,
    )
    @precondition(lambda self: bool(self.known()))
    def create_after(self, wanted: list[tuple[NewTask, list[int]]], if_failed: IfFailed) -> None:
        """Makes tasks that come after others, open or final."""
        rows = self.known()
        linked = []
        for order, picks in wanted:
            after = dict.fromkeys(rows[pick % len(rows)].number for pick in picks)
            linked.append(replace(order, key=None, link=Link(tuple(after), if_failed)))
        self.create(linked)

    @rule(wanted=flows)
    def create_flow(self, wanted: list[tuple[NewTask, list[int], IfFailed, Role]]) -> None:
        """Makes a flow whose tasks come after those before them in it."""
        made: list[NewTask] = []
        picks: list[list[int]] = []
        for order, before, if_failed, role in wanted:
            places = [pick % len(made) for pick in before] if made and role == "member" else []
            after = tuple(sibling(place) for place in dict.fromkeys(places))
            link = Link(after, if_failed, role=role)
            made.append(replace(self.placed(order), link=link))
            picks.append(places)
        decision = CreateFlow(made).decide(self.projection, self.logged, self.now)
        drafts = placed(decision, self.projection.seq + 1)
        self.commit(self.model.create_flow(made, picks, self.now), drafts)

    @rule(room=rooms)
    @precondition(lambda self: self.projection.waits.has_work())
    def tend(self, room: int) -> None:
        """A node cancels what is doomed, or brings back what is to come back."""
        story = self.model.cancel_doomed(room, self.now)
        if not story:
            story = self.model.bring_back(room, self.now)
        self.commit(story, tend(self.projection, self.logged, but=(), room=room, now=self.now))

    @rule(worker=workers, count=st.integers(0, 5), room=rooms)
    def lease(self, worker: str, count: int, room: int) -> None:
        """A node takes what ranks first."""
        story = self.model.lease(worker, count, room, TTL, self.now)
        self.commit(story, self.leased(worker, count, room))

    @rule(worker=workers, given=st.lists(ends, min_size=1, max_size=4), count=st.integers(0, 3))
    @precondition(lambda self: bool(self.fences))
    def settle(
        self, worker: str, given: list[tuple[int, OutcomeKind, int, int | None, float]], count: int
    ) -> None:
        """A node ends attempts, some long lost or ended twice, and leases in the same commit."""
        outcomes = [self.outcome(*end) for end in given]
        story = self.model.lease(worker, count, 8, TTL, self.now) if count else []
        drafts = self.leased(worker, count, 8) if count else []
        drafts += decide.settle(self.projection, outcomes, worker=worker, now=self.now)
        story += self.model.settle(outcomes, self.now)
        self.commit(story, drafts)

    @rule(worker=workers, given=st.lists(ends, min_size=1, max_size=4), count=st.integers(0, 3))
    @precondition(lambda self: bool(self.fences))
    def go_on(
        self, worker: str, given: list[tuple[int, OutcomeKind, int, int | None, float]], count: int
    ) -> None:
        """A node's own command: leases, ends of attempts, and leases of what has room since."""
        outcomes = [self.outcome(*end) for end in given]
        member = self.projection.members.by_name.get(worker)
        lanes = None if member is None else member.joined.lanes
        command = SettleAndLease(
            worker,
            outcomes,
            TTL,
            {lane: Vacancy(n) for lane, n in lanes.items()} if lanes else Vacancy(count),
            self.projection.members.audience(worker),
        )
        past = decide.ForgetfulPast(self.log)
        drafts = command.decide(self.projection, past, self.now).events
        story = self.model.settle_and_lease(worker, outcomes, count, TTL, self.now)
        self.commit(story, drafts)

    @rule(body=bounds)
    def limit(self, body: Limited) -> None:
        """Somebody sets a limit, or lifts it."""
        bound = Bound(body.running, body.rate, body.per_us, body.per)
        self.edit(
            lambda: self.model.limit(body.limit, bound, self.now),
            lambda: SetLimit(body).decide(self.projection, decide.NOTHING, self.now).events,
        )

    @rule(scope=scopes, distance=st.none() | st.integers(0, 25))
    def pause(self, scope: Scope, distance: int | None) -> None:
        """Somebody pauses something, perhaps for a while."""
        until = None if distance is None else self.now + distance
        body = Paused(scope=scope, until=until)
        self.edit(
            lambda: self.model.pause(scope, until, self.now),
            lambda: PauseTasks(body).decide(self.projection, decide.NOTHING, self.now).events,
        )

    @rule(scope=scopes, pick=indexes)
    def resume(self, scope: Scope, pick: int) -> None:
        """Somebody resumes something, as a rule what is paused."""
        known = list(self.model.rules.pauses)
        scope = known[pick % len(known)] if known and pick % 5 else scope
        body = Resumed(scope=scope)
        self.edit(
            lambda: self.model.resume(scope, self.now),
            lambda: ResumeTasks(body).decide(self.projection, decide.NOTHING, self.now).events,
        )

    @rule(body=turns)
    def share(self, body: Shared) -> None:
        """Somebody has shares take turns, or no more."""
        drafts = SetTurns(body).decide(self.projection, decide.NOTHING, self.now).events
        story = self.model.share(body.per, dict(body.weights), lifted=body.lifted)
        self.commit(story, drafts)

    @rule(worker=workers, ending=st.lists(kinds, min_size=1, max_size=3), step=st.integers(0, 9))
    @precondition(lambda self: bool(self.model.ready(self.now)))
    def work(self, worker: str, ending: list[OutcomeKind], step: int) -> None:
        """A node leases, works a while, and ends all its attempts."""
        self.lease(worker, 3, 8)
        self.now += step
        outcomes = [
            ended(row.number, row.fence, ending[index % len(ending)], None, 0.5)
            for index, row in enumerate(self.model.leased(worker))
        ]
        drafts = decide.settle(self.projection, outcomes, worker=worker, now=self.now)
        self.commit(self.model.settle(outcomes, self.now), drafts)

    @rule(worker=workers, given=st.lists(families, min_size=1, max_size=3))
    @precondition(lambda self: bool(self.model.leased()))
    def complete_with_children(
        self, worker: str, given: list[tuple[int, list[NewTask], list[AnyTold]]]
    ) -> None:
        """Attempts complete, each with tasks of its own, some under keys that are taken."""
        live = {row.number: row.fence for row in self.model.leased()}
        outcomes = []
        for pick, wanted, told in given:
            number = list(live)[pick % len(live)]
            outcomes.append(
                Outcome(
                    number,
                    live[number],
                    "completed",
                    told=tuple(replace(body, fence=live[number]) for body in told),
                    children=tuple(self.placed(order) for order in wanted),
                )
            )
        drafts = decide.settle(
            self.projection, outcomes, worker=worker, now=self.now, past=self.logged
        )
        self.commit(self.model.settle(outcomes, self.now), drafts)

    @rule(given=st.lists(st.tuples(indexes, words), min_size=1, max_size=4))
    @precondition(lambda self: bool(self.fences))
    def tell(self, given: list[tuple[int, AnyTold]]) -> None:
        """Attempts tell how far they are, some of them long over."""
        told = []
        story = []
        for pick, word in given:
            live = [(row.number, row.fence) for row in self.model.leased()]
            among = live if live and pick % 4 else self.fences
            number, fence = among[pick % len(among)]
            told.append((number, replace(word, fence=fence)))
            story += self.model.tell(number, fence, word, self.now)
        self.commit(story, live_told(self.projection, told, room=100))

    @rule(pick=indexes, fresh=st.booleans(), room=rooms)
    @precondition(lambda self: bool(self.signs))
    def lapse(self, pick: int, fresh: bool, room: int) -> None:  # noqa: FBT001 - a rule
        """A node is judged dead, now and then by one who missed its last sign of life."""
        worker, seen_seq = self.signs[pick % len(self.signs)]
        if fresh and worker in self.projection.holders:
            seen_seq = self.projection.holders[worker].seen_seq
        drafts = decide.lapse(
            self.projection, worker=worker, seen_seq=seen_seq, room=room, now=self.now
        )
        self.commit(self.model.lapse(worker, seen_seq, room, self.now), drafts)

    @rule(worker=workers, said=patterns, unnamed=st.booleans(), lanes=slots)
    def join(
        self,
        worker: str,
        said: tuple[str, ...],
        unnamed: bool,  # noqa: FBT001 - a rule
        lanes: dict[str, int] | None,
    ) -> None:
        """A node says what it can run, and in which lanes."""
        body = Joined(worker, TTL, 4, "1", said, unnamed, lanes)
        story = self.model.join(worker, said, lanes, self.now, unnamed=unnamed)
        self.commit(story, [(NODE, body)])

    @rule(worker=workers)
    def leave(self, worker: str) -> None:
        """A node stops, whether or not it had joined."""
        self.commit(self.model.leave(worker), [(NODE, Left(worker))])

    @rule(pick=indexes)
    @precondition(lambda self: len(self.model.rows) > 5)
    def meet_newer(self, pick: int) -> None:
        """A newer eventq does something with a task, open or not."""
        number = self.model.rows[pick % len(self.model.rows)].number
        self.model.meet_newer(number, "frozen")
        commit = append_texts(self.log, [number], '{"kind":"frozen"}', at=self.now)
        self.projection.apply(commit)
        self.past.append((self.projection.seq, dict(self.projection.tasks)))

    @rule(pick=indexes)
    @precondition(lambda self: bool(self.model.rows))
    def meet_what_may_be_skipped(self, pick: int) -> None:
        """A newer eventq tells something on which nothing depends."""
        number = [0, *(row.number for row in self.model.rows)][pick % (len(self.model.rows) + 1)]
        self.model.seq += 1
        commit = append_texts(self.log, [number], '{"kind":"told","skip":true}', at=self.now)
        self.projection.apply(commit)

    @rule(worker=workers)
    def renew(self, worker: str) -> None:
        """A node says that it lives."""
        drafts = decide.renew(self.projection, worker=worker, ttl_us=TTL)
        self.commit(self.model.renew(worker, TTL, self.now), drafts)

    @rule(room=rooms)
    def expire(self, room: int) -> None:
        """A node sweeps what is overdue."""
        drafts = decide.expire(self.projection, room=room, now=self.now)
        self.commit(self.model.expire(room, self.now), drafts)

    @rule(pick=indexes)
    @precondition(lambda self: bool(self.known()))
    def cancel(self, pick: int) -> None:
        """Somebody calls off any task."""
        task = self.any_task(pick)
        self.edit(
            lambda: self.model.cancel(task.number, "why not", self.now),
            lambda: decide.cancel(task, reason="why not", by="me"),
        )

    @rule(pick=indexes, room=st.sampled_from([2, 3, 1_000]))
    @precondition(lambda self: bool(self.known()))
    def retry(self, pick: int, room: int) -> None:
        """Somebody wants any task to run, also a final one."""
        task = self.any_task(pick)
        self.edit(
            lambda: self.model.retry(task.number, self.now, room),
            lambda: decide.retry(
                task,
                by="me",
                now=self.now,
                projection=self.projection,
                past=self.logged,
                room=room,
            ),
        )

    @rule(pick=indexes, edit=edits, distance=st.none() | st.integers(-10, 20))
    @precondition(lambda self: bool(self.known()))
    def update(self, pick: int, edit: dict[str, Any], distance: int | None) -> None:
        """Somebody edits any task."""
        task = self.any_task(pick)
        at = None if distance is None else self.now + distance
        self.edit(
            lambda: self.model.update(task.number, scheduled_at=at, **edit),
            lambda: decide.update(task, scheduled_at=at, by=None, **edit),
        )

    @rule(
        worker=workers,
        name=st.sampled_from(["red", "blue"]),
        what=st.sampled_from(["claim", "claim", "say", "say", "give back", "drop"]),
        number=st.none() | st.integers(0, 12),
    )
    def follow(self, worker: str, name: str, what: str, number: int | None) -> None:
        """A node takes a follower's work, says how far it has come, or somebody drops it."""
        ours, now, nothing = self.projection, self.now, decide.NOTHING
        if what == "claim":
            wanted = Followed(name, 0, worker, TTL)
            drafts = ClaimFollower(wanted, number).decide(ours, nothing, now).events
            claim = self.model.followers.claim
            self.commit(claim(name, worker, number, ttl=TTL, now=now, end=ours.seq), drafts)
        elif what == "drop":
            self.edit(
                lambda: self.model.drop_follower(name),
                lambda: DropFollower(name).decide(ours, nothing, now).events,
            )
        else:
            position, ttl = min(number or 0, ours.seq), 0 if what == "give back" else TTL
            command = AdvanceFollower(name, worker, ttl, position)
            drafts = command.decide(ours, nothing, now).events
            say = self.model.followers.say
            self.commit(say(name, worker, position, ttl=ttl, now=now, end=ours.seq), drafts)

    @rule(
        action=st.sampled_from(["retry", "cancel", "update"]),
        picks=st.lists(indexes, min_size=1, max_size=6),
        late=st.booleans(),
        said=bulk_edits,
    )
    @precondition(lambda self: bool(self.known()))
    def change_many(
        self,
        action: BulkAction,
        picks: list[int],
        late: bool,  # noqa: FBT001 - a rule
        said: dict[str, Any],
    ) -> None:
        """Somebody changes several tasks at once, some of which may have moved on."""
        rows = self.known()
        numbers = sorted({rows[pick % len(rows)].number for pick in picks})
        pairs = [(number, self.bulks.last[number]) for number in numbers]
        if late:
            pairs[0] = pairs[0][0], pairs[0][1] - 1
        self.make_bulk(Bulk(action, *self.about(pairs), Raw(b"{}"), **said), pairs)

    @rule(pick=indexes)
    @precondition(lambda self: any(self.bulks.bulks))
    def undo(self, pick: int) -> None:
        """Somebody takes back a change to several tasks, or that it was taken back."""
        made = [
            (seq, own) for seq, own in zip(self.bulk_seqs, self.bulks.bulks, strict=True) if own
        ]
        undoes, pairs = made[pick % len(made)]
        self.make_bulk(Bulk("undo", *self.about(pairs), undoes=undoes), pairs)

    def about(self, pairs: list[tuple[int, int]]) -> tuple[int, int, int, str]:
        """What a change says of the tasks that it is about."""
        return self.projection.seq, self.now, len(pairs), digest_of(pairs)

    def make_bulk(self, said: Bulk, pairs: list[tuple[int, int]]) -> None:
        """A change begins, is made, is made again in vain, and ends."""
        said = replace(said, reason="why not")
        self.commit(self.bulks.begin(), [(NODE, said)])
        number, first = self.projection.seq, self.projection.seq + 1
        self.bulk_seqs.append(number)
        command = ChangePortion(number, said, tuple(pairs))
        decision = command.decide(self.projection, self.logged, self.now)
        story = self.bulks.change(pairs, self.now, first, said)
        self.commit(story, decision.events)
        again = command.decide(self.projection, self.logged, self.now)
        assert again.events == []
        moved_on, places = decision.result.moved_on, dict(pairs)
        # Why may be told otherwise by now: one that came back with another has come back since.
        assert [e.number for e in again.result.moved_on] == [e.number for e in moved_on]
        assert len(pairs) - len(moved_on) == len(self.bulks.bulks[-1])
        left = tuple((each.number, places[each.number]) for each in moved_on)
        ending = EndBulk(number, said, left, number).decide(self.projection, self.logged, self.now)
        ended = BulkEnded(len(pairs) - len(moved_on), len(moved_on), left, bulk=number)
        assert ending.events == [(NODE, ended)]
        self.commit(self.model._tell([(NODE, "bulk_ended")]), ending.events)

    @rule(thing=schedule_things)
    def schedule(self, thing: Thing) -> None:
        """Code plans a schedule, its dues come, or somebody does something to it."""
        self.commit(*played(self.projection, self.model.schedules, thing, self.now))

    @rule(step=st.integers(1, 15))
    def wait(self, step: int) -> None:
        """Time passes."""
        self.now += step

    @invariant()
    def indexes_equal_a_recount(self) -> None:
        """Invariant 12, by the projection's own check."""
        self.projection.check()

    @invariant()
    def projection_equals_the_list(self) -> None:
        """Every task and every query, against the naive model."""
        assert_equal(self.projection, self.model, self.now)

    @invariant()
    def replays_equal_the_projection(self) -> None:
        """Invariant 11: one fold, whatever the batches and however the indexes came to be."""
        for other in (
            replay(self.log),
            bulk_replay(self.log, limit=1),
            bulk_replay(self.log, limit=7),
        ):
            assert_same(self.projection, other, now=self.now)

    def teardown(self) -> None:
        """The log alone shows invariants 1 to 10; each prefix folds to what was seen then."""
        assert_same(self.projection, replay(self.log), now=self.now)
        report = check_log(self.log, batch=5, newer=True)
        states = {row.number: row.state for row in self.model.rows if row.newer is None}
        assert {n: task.state for n, task in report.tasks.items() if n in states} == {
            number: {"waiting": "pending", "blocked": "waiting"}.get(state, state)
            for number, state in states.items()
        }
        for seq, tasks in self.past:
            assert replay(self.log, until=seq).tasks == tasks
        for row in self.model.rows:
            task = self.projection.tasks.get(row.number) or task_in(self.log, row.number)
            assert facts(task) == row_facts(row)

    def placed(self, order: NewTask) -> NewTask:
        """The order with its distances made instants."""
        at = None if order.scheduled_at is None else self.now + order.scheduled_at
        until = None if order.expires_at is None else self.now + order.expires_at
        return NewTask(
            order.tags_json,
            order.policy,
            order.priority,
            order.key,
            at,
            order.delay_us,
            until,
            order.route,
            order.unique,
            order.on_duplicate,
            link=order.link,
            share=order.share,
            trace=order.trace,
            secret=order.secret,
        )

    def outcome(
        self, pick: int, kind: OutcomeKind, back: int, delay_us: int | None, draw: float
    ) -> Outcome:
        """The end of an attempt, mostly of a live one."""
        live = [(row.number, row.fence) for row in self.model.leased()]
        among = live if live and back else self.fences
        number, fence = among[pick % len(among)]
        return ended(number, fence, kind, delay_us, draw)

    def known(self) -> list[Row]:
        """The tasks that no newer eventq has touched."""
        return [row for row in self.model.rows if row.newer is None]

    def any_task(self, pick: int) -> Task:
        """Some task that no newer eventq has touched, final or not."""
        rows = self.known()
        number = rows[pick % len(rows)].number
        return self.projection.tasks.get(number) or task_in(self.log, number)

    def leased(self, worker: str, count: int, room: int) -> list[Draft]:
        """What the deciding function leases to the node, as it has joined."""
        member = self.projection.members.by_name.get(worker)
        lanes = None if member is None else member.joined.lanes
        return decide.lease(
            self.projection,
            worker=worker,
            ttl_us=TTL,
            room=room,
            now=self.now,
            audience=self.projection.members.audience(worker),
            wanted={lane: Vacancy(n) for lane, n in lanes.items()} if lanes else Vacancy(count),
        )

    def edit(self, expected: Callable[[], Any], decision: Callable[[], list[Draft]]) -> None:
        """Carries out a command on one task, or sees both sides refuse it."""
        answer = self.agree(expected, decision)
        if answer is not None:
            self.commit(*answer)

    def agree(self, expected: Callable[[], Any], decision: Callable[[], Any]) -> Any:  # noqa: ANN401 - a pair of answers
        """Both answers, or None when both refuse."""
        # The decision comes first: it must not see what the model is about to change.
        answer, refusal = decide.attempted(decision)
        if refusal is None:
            return expected(), answer
        with pytest.raises(WrongError) as wrong:
            expected()
        assert type(refusal) is wrong.value.error, refusal
        return None

    def commit(self, story: list[tuple[int, str]], drafts: list[Draft]) -> None:
        """Appends and applies what was decided, which must be what the model told."""
        first = self.projection.seq + 1
        told = [
            (first + index if number == NEW else number, body.kind)
            for index, (number, body) in enumerate(drafts)
        ]
        assert told == story
        after = record(self.log, self.projection, drafts, now=self.now)
        for (number, kind), task in zip(story, after, strict=True):
            assert task is None or task.number == number
            assert task is not None or kind in NODE_KINDS
        for seq, (number, kind) in enumerate(story, first):
            if kind == "leased":
                self.fences.append((number, seq))
        self.signs += [(name, h.seen_seq) for name, h in self.projection.holders.items()]
        self.bulks.note(first, story)
        if drafts:
            self.past.append((self.projection.seq, dict(self.projection.tasks)))


@pytest.mark.timeout(3_600)
def test_core_agrees_with_a_list_a_replay_and_the_checker() -> None:
    """Whatever the commands, all four tell the same after each step."""
    tries = settings(QueueMachine.TestCase.settings, max_examples=3 * settings().max_examples)

    run_state_machine_as_test(QueueMachine, settings=tries)
