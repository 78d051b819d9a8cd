"""Limits, pauses and turns against plain lists: many leases, few tasks, one seed a run."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from msgspec import Raw

from eventq.core import limits, turns
from eventq.core.buckets import all_buckets
from eventq.core.command import NEW, Draft
from eventq.core.create import NewTask
from eventq.core.events import Created, Updated
from eventq.core.govern import PauseTasks, ResumeTasks, SetLimit, SetTurns
from eventq.core.heads import Heads
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.core.queue_events import Limited, Paused, Resumed, Shared
from eventq.core.settle import Outcome, SettleAndLease
from eventq.core.task import Route
from eventq.core.values import NODE, Bucket, Policy, Scope
from tests import deciding as decide
from tests.checker import check_log
from tests.driver import memory_log, record
from tests.naive import Naive
from tests.naive_rows import WrongError
from tests.naive_rules import Bound
from tests.replays import assert_same, bulk_replay

TTL = 1_000
POLICY = Policy("constant", 3)
BUCKETS = [Bucket("smtp"), Bucket("ocr"), Bucket("exclusive", "a"), Bucket("exclusive", "b")]
SCOPES = [
    Scope(),
    Scope(lane="mail"),
    Scope(limit="ocr"),
    Scope(limit="exclusive", value="a"),
    Scope(tags=(("host", '"1"'),)),
]


class Story:
    """One run: the model and the projection do the same, and must tell the same."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.log = memory_log()
        self.ours = Projection("default")
        self.model = Naive()
        self.now = 1_000

    def step(self) -> None:
        """One command of some kind, most often the next leases of a node."""
        rules = self.model.rules
        [act] = self.random.choices(
            [
                self.go_on,
                self.create,
                self.limit,
                self.pause,
                self.share,
                self.ours.rebuild_indexes,
                self.resume,
            ],
            [30, 8, 2, 2, 2, 2, 3 if rules.pauses else 0],
        )
        self.now += self.random.choice([0, 1, 1, 4])
        act()
        for now in (self.now - self.random.choice([0, 0, 0, 7]), self.now):
            self.ours.advance_to(now)
            self.ours.check()

    def create(self) -> None:
        """A few tasks."""
        draw = self.random
        orders = []
        for _ in range(draw.randint(1, 4)):
            buckets = all_buckets(tuple(draw.sample(BUCKETS, draw.choice([0, 1, 1, 2]))))
            lane = draw.choice([None, None, "mail"])
            route = Route(None, lane, ("limits",) if buckets else (), buckets)
            tags = draw.choice([b'{"host":"1"}', b'{"host":"2"}', b'{"host":"3"}'])
            share = draw.choice([None, None, "big"])
            orders.append(NewTask(tags, POLICY, draw.choice([0, 0, 1]), route=route, share=share))
        self.agree(
            lambda: self.model.create(orders, self.now)[0],
            lambda: decide.create(orders, {}, now=self.now, projection=self.ours)[0],
        )

    def go_on(self) -> None:
        """A node ends some of its attempts, and is leased the next."""
        draw = self.random
        held = self.model.leased("anna")
        ended = draw.sample(held, min(len(held), draw.randint(0, 3)))
        kinds: list[Any] = ["completed", "completed", "completed", "released"]
        outcomes = [Outcome(row.number, row.fence, draw.choice(kinds)) for row in ended]
        count = draw.randint(0, 3)
        command = SettleAndLease("anna", outcomes, TTL, Vacancy(count))
        drafts = command.decide(self.ours, decide.NOTHING, self.now).events
        story = self.model.settle_and_lease("anna", outcomes, count, TTL, self.now)
        self.commit(story, drafts)

    def limit(self) -> None:
        """Somebody sets a limit."""
        draw = self.random
        rate = draw.choice([None, None, 1, 3])
        window = draw.choice([3, 10]) if rate else None
        bound = Bound(draw.choice([None, 1, 2]), rate, window, draw.choice([None, "host", "host"]))
        name = draw.choice(["smtp", "ocr"])
        body = Limited(limit=name, running=bound.running, rate=rate, per_us=window, per=bound.per)
        self.agree(
            lambda: self.model.limit(name, bound, self.now),
            lambda: SetLimit(body).decide(self.ours, decide.NOTHING, self.now).events,
        )

    def pause(self) -> None:
        """Somebody pauses something, as a rule for a while."""
        scope = self.random.choice(SCOPES)
        until = self.random.choice([None, self.now + 2, self.now + 6])
        body = Paused(scope=scope, until=until)
        self.agree(
            lambda: self.model.pause(scope, until, self.now),
            lambda: PauseTasks(body).decide(self.ours, decide.NOTHING, self.now).events,
        )

    def resume(self) -> None:
        """Somebody resumes what is paused, if it still is."""
        scope = self.random.choice(list(self.model.rules.pauses))
        body = Resumed(scope=scope)
        self.agree(
            lambda: self.model.resume(scope, self.now),
            lambda: ResumeTasks(body).decide(self.ours, decide.NOTHING, self.now).events,
        )

    def share(self) -> None:
        """Turns are set, or now and then lifted."""
        weights = self.random.choice([{}, {"1": 2, "big": 3}])
        body = Shared(per="host", weights=weights, lifted=self.random.random() < 0.2)
        drafts = SetTurns(body).decide(self.ours, decide.NOTHING, self.now).events
        story = self.model.share("host", dict(weights), lifted=body.lifted)
        self.commit(story, drafts)

    def agree(self, expected: Callable[[], Any], decision: Callable[[], Any]) -> None:
        """Both sides do it, or both refuse."""
        answer, refusal = decide.attempted(decision)
        if refusal is None:
            self.commit(expected(), answer)
            return
        with pytest.raises(WrongError):
            expected()

    def commit(self, story: list[tuple[int, str]], drafts: list[Draft]) -> None:
        """Appends and applies what was decided, which must be what the model told."""
        first = self.ours.seq + 1
        told = [
            (first + place if number == NEW else number, body.kind)
            for place, (number, body) in enumerate(drafts)
        ]
        assert told == story
        record(self.log, self.ours, drafts, now=self.now)


@pytest.mark.parametrize("seed", range(12))
def test_leases_are_those_of_the_plain_lists(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every step the index is whole; in the end the verifier finds nothing.

    And a long fold, which counts nothing on its way, comes to the same.
    """
    monkeypatch.setattr(limits, "FEW_NOTED", 3)
    monkeypatch.setattr(turns, "FEW_SHARES", 2)
    story = Story(seed)
    for _ in range(150):
        story.step()

    leases = story.ours.counts["leased"]
    assert leases > 20
    check_log(story.log)
    assert_same(story.ours, bulk_replay(story.log, limit=20), now=story.now)


@pytest.mark.parametrize("rebuilt", [True, False], ids=["loading", "a new bound"])
def test_full_buckets_are_not_met_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
    rebuilt: bool,  # noqa: FBT001 - a parameter
) -> None:
    """The first decision costs what any other does: what is full by then stands aside at once."""
    projection, log = Projection("default"), memory_log()
    said = Limited(limit="host", running=1)
    record(log, projection, [(NODE, said)], now=1)
    for _ in range(2):
        made: list[Draft] = [
            (NEW, Created(POLICY, limits=(Bucket("host", str(n)),))) for n in range(50)
        ]
        record(log, projection, made, now=1)
    command = SettleAndLease("anna", [], TTL, Vacancy(49))
    record(log, projection, command.decide(projection, decide.NOTHING, 1).events, now=1)
    if rebuilt:
        projection.rebuild_indexes()
    else:
        record(log, projection, [(NODE, said)], now=1)
    met: list[Route] = []
    put_aside = Heads._put_aside

    def noted(heads: Heads, route: Route, blocker: Bucket | Scope, now: int) -> None:
        met.append(route)
        put_aside(heads, route, blocker, now)

    monkeypatch.setattr(Heads, "_put_aside", noted)

    [(number, _)] = (
        SettleAndLease("bert", [], TTL, Vacancy(1)).decide(projection, decide.NOTHING, 1).events
    )

    assert projection.tasks[number].buckets == (Bucket("host", "49"),)
    # Its own, once it is taken.
    assert [route.buckets for route in met] == [(Bucket("host", "49"),)]


def test_a_rate_counts_no_lease_of_a_later_instant_than_a_clock_that_is_set_back() -> None:
    """What it kept back may be leased at once, not only when its wait would have been over."""
    log, projection = memory_log(), Projection("default")
    record(log, projection, [(NODE, Limited(limit="smtp", rate=1, per_us=100))], now=1_000)
    made: list[Draft] = [(NEW, Created(POLICY, limits=(Bucket("smtp"),))) for _ in range(2)]
    record(log, projection, made, now=1_000)
    command = SettleAndLease("anna", [], TTL, Vacancy(1))
    record(log, projection, command.decide(projection, decide.NOTHING, 1_000).events, now=1_000)
    assert command.decide(projection, decide.NOTHING, 1_050).events == []

    projection.advance_to(900)

    projection.check()
    assert [number for number, _ in command.decide(projection, decide.NOTHING, 900).events] == [3]


def test_an_edit_of_tags_gives_another_share_and_the_bucket_that_was_lacking() -> None:
    """A bucket that a task has already stays: its place there was said when it was made."""
    log, projection = memory_log(), Projection("default")
    rules: list[Draft] = [
        (NODE, Limited(limit="smtp", running=1, per="host")),
        (NODE, Shared(per="tenant")),
    ]
    record(log, projection, [(NEW, Created(POLICY, limits=(Bucket("smtp"),)))], now=1_000)
    record(log, projection, rules, now=1_000)
    found = []
    for tags in (b'{"tenant":"a"}', b'{"tenant":"b","host":"1"}', b'{"tenant":"b","host":"2"}'):
        record(log, projection, [(1, Updated(tags=Raw(tags)))], now=1_000)
        task = projection.tasks[1]
        found.append((task.buckets, task.share))
    projection.check()

    assert found == [
        ((Bucket("smtp"),), "a"),
        ((Bucket("smtp", "1"),), "b"),
        ((Bucket("smtp", "1"),), "b"),
    ]
    assert_same(projection, bulk_replay(log, limit=20), now=1_000)
    check_log(log)
