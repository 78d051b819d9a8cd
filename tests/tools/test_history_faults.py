"""Each invariant that a log can show is found broken, by histories that are wrong in one thing.

A checker that never finds proves nothing: whatever it accepts here without this is a hole.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stage import random_stage
from tests.tools.good_histories import STORIES
from tests.tools.histories import Told, changed, checked, invariants, raw_commits, sealed
from tools.history.checker import RawCommit
from tools.history.facts import Body

SECOND = 1_000_000
TTL = 30 * SECOND
POLICY: Body = {"backoff": "linear", "backoff_us": 10 * SECOND, "max_retries": 1}
LAPSE: Body = {"type": "LeaseLapsed", "message": "node n stopped renewing"}
NEW, QUEUE = -1, 0


def created(**body: object) -> tuple[int, Body]:
    """A task is made."""
    return NEW, {"kind": "created", "policy": POLICY, **body}


def leased(task: int, attempt: int = 1, worker: str = "n") -> tuple[int, Body]:
    """A node takes it."""
    return task, {"kind": "leased", "attempt": attempt, "worker": worker, "ttl_us": TTL}


def completed(task: int, fence: int, **body: object) -> tuple[int, Body]:
    """It is done."""
    return task, {"kind": "completed", "fence": fence, **body}


def failed(task: int, fence: int, **body: object) -> tuple[int, Body]:
    """Its attempt has failed."""
    return task, {"kind": "failed", "fence": fence, "error": {"type": "OSError"}, **body}


def said(kind: str, **body: object) -> tuple[int, Body]:
    """Something is said of the queue."""
    return QUEUE, {"kind": kind, **body}


def of(task: int, kind: str, **body: object) -> tuple[int, Body]:
    """Something happens to a task."""
    return task, {"kind": kind, **body}


def retried(task: int, at: int, **body: object) -> tuple[int, Body]:
    """It is to run again."""
    return of(task, "retried", scheduled_at=at, **body)


def ago(at: int, *events: tuple[int, Body]) -> Told:
    """One commit, so many seconds after the beginning."""
    return at * SECOND, list(events)


def reopening(**body: object) -> Body:
    """What a cancelled task brings back that was made at the second 9."""
    return {"was": "cancelled", "policy": POLICY, "created_at": 9 * SECOND, "attempt": 0, **body}


AT_9 = 9 * SECOND
DEADLY: Body = {**POLICY, "max_lapses": 0}
AFTER: Body = {"after": [[1]], "needs": ["after"]}
JOINED: Body = {"worker": "n", "ttl_us": TTL, "slots": 2, "version": "1"}
FOLLOWED: Body = {"follower": "f", "seq": 1, "worker": "n", "ttl_us": TTL}
PLANNED: Body = {
    "schedule": "s",
    "timing": {"every_us": 60 * SECOND},
    "call": {"policy": POLICY},
    "rules": {"catch_up": 1, "overlap": "skip"},
    "next_at": 60 * SECOND,
}
TICKED: Body = {"schedule": "s", "due": 60 * SECOND, "outcome": "made", "next_at": 120 * SECOND}
FROM_S = created(schedule="s", due=60 * SECOND)
SMTP: Body = {"limits": [["smtp", None]], "needs": ["limits"]}
LIMITED = said("limited", limit="smtp", running=1)
RATED = said("limited", limit="smtp", rate=1, per_us=10 * SECOND)

FAULTS: dict[str, tuple[int | str, list[Told]]] = {
    "time runs back": (1, [ago(9, created()), ago(8, created())]),
    "not its position": (4, [ago(9, of(7, "created", policy=POLICY))]),
    "a key twice": (10, [ago(9, created(key="k")), ago(9, created(key="k"))]),
    "a unique value twice": (10, [ago(9, created(unique="u"), created(unique="u"))]),
    "unknown task": (4, [ago(9, leased(5))]),
    "completed when ready": (4, [ago(9, created()), ago(9, completed(1, 1))]),
    "completed twice": (
        4,
        [ago(9, created(), leased(1)), ago(9, completed(1, 2)), ago(9, completed(1, 2))],
    ),
    "leased twice": (5, [ago(9, created(), leased(1)), ago(9, leased(1, 2, "m"))]),
    "attempts skip": (5, [ago(9, created(), leased(1, 2))]),
    "a stale fence completes": (
        6,
        [
            ago(9, created(), leased(1)),
            ago(9, failed(1, 2), retried(1, 19 * SECOND)),
            ago(19, leased(1, 2, "m")),
            ago(19, completed(1, 2)),
        ],
    ),
    "a stale fence fails": (
        6,
        [
            ago(9, created(), leased(1), of(1, "released", fence=2)),
            ago(9, leased(1)),
            ago(9, failed(1, 2), retried(1, 19 * SECOND)),
        ],
    ),
    "a stale fence releases": (6, [ago(9, created(), leased(1), of(1, "released", fence=1))]),
    "a stale fence tells": (
        6,
        [ago(9, created(), leased(1), of(1, "progressed", fence=1, skip=True))],
    ),
    "lower priority first": (7, [ago(9, created(), created(priority=1), leased(1))]),
    "later instant first": (
        7,
        [ago(9, created(), created(scheduled_at=8 * SECOND), leased(1))],
    ),
    "higher number first": (7, [ago(9, created(), created(), leased(2))]),
    "an update is overlooked": (
        7,
        [ago(9, created(), created(), of(2, "updated", priority=1)), ago(9, leased(1))],
    ),
    "a retry is overlooked": (
        7,
        [
            ago(9, created(priority=3), leased(1), failed(1, 2), retried(1, 19 * SECOND)),
            ago(19, created(), leased(5)),
        ],
    ),
    "a name nobody said": (7, [ago(9, created(name="a"), leased(1))]),
    "a name not handled": (
        7,
        [ago(9, created(name="a.b"), said("joined", **JOINED, names=["b*"]), leased(1))],
    ),
    "another lane": (
        7,
        [ago(9, created(), said("joined", **JOINED, unnamed=True, lanes={"x": 1}), leased(1))],
    ),
    "a lane with a free slot is passed over": (
        7,
        [
            ago(
                9,
                created(lane="x", priority=1),
                created(),
                said("joined", **JOINED, unnamed=True, lanes={"x": 1, "default": 1}),
                leased(2),
            )
        ],
    ),
    "a need nobody knows": (7, [ago(9, created(needs=["telepathy"]), leased(1))]),
    "what is said by a newer one": (7, [ago(9, created(), said("frozen")), ago(9, leased(1))]),
    "a paused lane": (
        7,
        [ago(9, created(lane="x"), said("paused", scope={"lane": "x"})), ago(9, leased(1))],
    ),
    "a paused name": (
        7,
        [
            ago(9, created(name="a.b"), said("joined", **JOINED, names=["*"])),
            ago(9, said("paused", scope={"name": "a.*"}, until=11 * SECOND)),
            ago(10, leased(1)),
        ],
    ),
    "paused tags": (
        7,
        [
            ago(9, created(tags={"tenant": 7}), said("paused", scope={"tags": [["tenant", "7"]]})),
            ago(9, leased(1)),
        ],
    ),
    "a paused bucket": (
        7,
        [
            ago(9, created(**SMTP), LIMITED, said("paused", scope={"limit": "smtp"})),
            ago(9, leased(1)),
        ],
    ),
    "resumed, not paused": (7, [ago(9, said("resumed", scope={"lane": "x"}))]),
    "a pause that has ended holds on": (
        7,
        [
            ago(9, created(priority=1, lane="x"), created()),
            ago(9, said("paused", scope={"lane": "x"}, until=11 * SECOND)),
            ago(11, leased(2)),
        ],
    ),
    "another one's turn": (
        7,
        [
            ago(9, said("shared", per="t"), *[created(tags={"t": t}) for t in ("a", "a", "b")]),
            ago(9, leased(2), leased(3)),
        ],
    ),
    "a weight is forgotten": (
        7,
        [
            ago(9, said("shared", per="t", weights={"a": 2})),
            ago(9, *[created(tags={"t": t}) for t in ("a", "a", "a", "b", "b")]),
            ago(9, leased(2), leased(5), leased(6)),
        ],
    ),
    "idling gains a turn": (
        7,
        [
            ago(9, said("shared", per="t"), *[created(tags={"t": "a"}) for _ in range(4)]),
            ago(9, leased(2), leased(3), leased(4)),
            ago(10, *[created(tags={"t": "b"}) for _ in range(2)]),
            ago(10, leased(9), leased(10)),
        ],
    ),
    "too early": (8, [ago(9, created(scheduled_at=10 * SECOND), leased(1))]),
    "past its expiry": (8, [ago(9, created(expires_at=10 * SECOND)), ago(10, leased(1))]),
    "before its retry": (
        8,
        [
            ago(9, created(), leased(1), failed(1, 2), retried(1, 19 * SECOND)),
            ago(18, leased(1, 2)),
        ],
    ),
    "retried too soon": (
        8,
        [ago(9, created(), leased(1), failed(1, 2), retried(1, 18 * SECOND))],
    ),
    "retried into the past": (
        8,
        [ago(9, created(), leased(1), failed(1, 2, rule="x"), retried(1, 8 * SECOND))],
    ),
    "retried past its expiry": (
        8,
        [
            ago(9, created(expires_at=19 * SECOND), leased(1)),
            ago(9, failed(1, 2), retried(1, 19 * SECOND)),
        ],
    ),
    "given up though there is time": (
        8,
        [
            ago(9, created(expires_at=20 * SECOND), leased(1)),
            ago(9, failed(1, 2), of(1, "expired", reason="max_age")),
        ],
    ),
    "expired too early": (
        8,
        [ago(9, created(expires_at=11 * SECOND)), ago(10, of(1, "expired", reason="max_age"))],
    ),
    "put off into the past": (
        8,
        [ago(9, created(), leased(1), of(1, "released", fence=2, scheduled_at=SECOND))],
    ),
    "before what it comes after": (8, [ago(9, created(), created(**AFTER), leased(2))]),
    "a failure that is in the way": (
        8,
        [ago(9, created(), created(**AFTER), of(1, "cancelled")), ago(9, leased(2))],
    ),
    "said to be done": (
        8,
        [ago(9, created(), created(after=[[1, "completed"]], needs=["after"]))],
    ),
    "no cause": (
        8,
        [ago(9, created(), created(**AFTER)), ago(9, of(2, "cancelled", cause=1))],
    ),
    "revived by another": (
        8,
        [
            ago(9, created(), of(1, "cancelled")),
            ago(9, retried(1, AT_9, reopens=reopening(), revived_by=1)),
        ],
    ),
    "a retry too many": (
        9,
        [
            ago(9, created(), leased(1), failed(1, 2), retried(1, 19 * SECOND)),
            ago(19, leased(1, 2), failed(1, 5), retried(1, 39 * SECOND)),
        ],
    ),
    "given up too soon": (
        9,
        [ago(9, created(), leased(1), failed(1, 2), of(1, "expired", reason="max_retries"))],
    ),
    "a lapse too many": (
        9,
        [
            ago(9, created(policy=DEADLY), leased(1)),
            ago(40, failed(1, 2, error=LAPSE), retried(1, 40 * SECOND)),
        ],
    ),
    "lapsed, and given up for lapses too soon": (
        9,
        [
            ago(9, created(policy={**DEADLY, "max_lapses": 1}), leased(1)),
            ago(40, failed(1, 2, error=LAPSE), of(1, "expired", reason="max_lapses")),
        ],
    ),
    "a lapse is not retried at once": (
        8,
        [ago(9, created(), leased(1)), ago(40, failed(1, 2, error=LAPSE), retried(1, 50 * SECOND))],
    ),
    "lapsed before its time": (
        13,
        [ago(9, created(), leased(1)), ago(38, failed(1, 2, error=LAPSE), retried(1, 38 * SECOND))],
    ),
    "lapsed though it has renewed": (
        13,
        [
            ago(9, created(), leased(1)),
            ago(19, said("renewed", worker="n", ttl_us=TTL)),
            ago(40, failed(1, 2, error=LAPSE), retried(1, 40 * SECOND)),
        ],
    ),
    "another node's lapse": (
        13,
        [
            ago(9, created(), leased(1, worker="m")),
            ago(40, failed(1, 2, error=LAPSE), retried(1, 40 * SECOND)),
        ],
    ),
    "a lapse for good": (
        13,
        [
            ago(9, created(), leased(1)),
            ago(40, failed(1, 2, error=LAPSE), of(1, "expired", reason="fatal")),
        ],
    ),
    "nothing follows": (4, [ago(9, created(), leased(1), failed(1, 2))]),
    "brings back other tags": (
        4,
        [
            ago(9, created(tags={"a": 1}), of(1, "cancelled")),
            ago(9, retried(1, AT_9, reopens=reopening(tags={"a": 2}))),
        ],
    ),
    "brings back fewer attempts": (
        4,
        [
            ago(9, created(), leased(1), of(1, "cancelled")),
            ago(9, retried(1, AT_9, reopens=reopening())),
        ],
    ),
    "a completed one is back": (
        4,
        [
            ago(9, created(), leased(1), completed(1, 2)),
            ago(9, retried(1, AT_9, reopens=reopening(attempt=1))),
        ],
    ),
    "back onto a taken value": (
        10,
        [
            ago(9, created(unique="u"), of(1, "cancelled"), created(unique="u")),
            ago(9, retried(1, AT_9, reopens=reopening(unique="u"))),
        ],
    ),
    "refused, though live": (
        15,
        [ago(9, created(), leased(1), of(1, "refused", fence=2, worker="n", outcome="failed"))],
    ),
    "refused, never leased": (
        15,
        [ago(9, created(), of(1, "refused", fence=1, worker="n", outcome="failed"))],
    ),
    "refused twice": (
        15,
        [
            ago(9, created(), leased(1), of(1, "cancelled")),
            *[ago(9, of(1, "refused", fence=2, worker="n", outcome="failed"))] * 2,
        ],
    ),
    "a bucket overflows": (
        16,
        [ago(9, LIMITED, created(**SMTP), created(**SMTP), leased(2)), ago(9, leased(3))],
    ),
    "a rate overflows": (
        16,
        [
            ago(9, RATED, created(**SMTP), created(**SMTP), leased(2)),
            ago(18, completed(2, 4), leased(3)),
        ],
    ),
    "a limit nobody has defined": (16, [ago(9, created(**SMTP), leased(1))]),
    "an exclusive value twice": (
        16,
        [
            ago(9, *[created(limits=[["exclusive", "r"]], needs=["limits"])] * 2, leased(1)),
            ago(9, leased(2)),
        ],
    ),
    "a bucket of a tag overflows": (
        16,
        [
            ago(9, said("limited", limit="smtp", running=1, per="h")),
            ago(9, created(**SMTP, tags={"h": "x"}), created(limits=[["smtp", "x"]])),
            ago(9, leased(2), leased(3)),
        ],
    ),
    "room is not used": (
        7,
        [
            ago(9, LIMITED, created(**SMTP, priority=1), leased(2)),
            ago(9, created(**SMTP, priority=1), created()),
            ago(9, completed(2, 3)),
            ago(9, leased(5)),
        ],
    ),
    "a bound below 1": (16, [ago(9, said("limited", limit="smtp", running=0))]),
    "ticked twice": (
        17,
        [
            ago(9, said("planned", **PLANNED)),
            ago(60, said("ticked", **TICKED), FROM_S),
            ago(61, said("ticked", **TICKED), FROM_S),
        ],
    ),
    "ticked too early": (
        17,
        [ago(9, said("planned", **PLANNED)), ago(59, said("ticked", **TICKED), FROM_S)],
    ),
    "a due is left out": (
        17,
        [
            ago(9, said("planned", **PLANNED)),
            ago(60, said("ticked", **{**TICKED, "next_at": 180 * SECOND}), FROM_S),
        ],
    ),
    "a tick without its task": (
        17,
        [ago(9, said("planned", **PLANNED)), ago(60, said("ticked", **TICKED))],
    ),
    "a task without its tick": (17, [ago(9, said("planned", **PLANNED)), ago(60, FROM_S)]),
    "a paused schedule ticks": (
        17,
        [
            ago(9, said("planned", **PLANNED, paused=True)),
            ago(60, said("ticked", **TICKED), FROM_S),
        ],
    ),
    "an overlap": (
        17,
        [
            ago(9, said("planned", **PLANNED)),
            ago(60, said("ticked", **TICKED), FROM_S),
            ago(
                120,
                said("ticked", **{**TICKED, "due": 120 * SECOND, "next_at": 180 * SECOND}),
                created(schedule="s", due=120 * SECOND),
            ),
        ],
    ),
    "nothing was planned": (17, [ago(60, said("ticked", **TICKED), FROM_S)]),
    "a flow's end comes early": (
        8,
        [
            ago(9, created(flow=1), created(flow=1, role="finally", needs=["after"])),
            ago(9, leased(2)),
        ],
    ),
    "for a failure, without one": (
        8,
        [
            ago(9, created(flow=1), created(flow=1, role="on_failure", needs=["after"])),
            ago(9, leased(1), completed(1, 3), leased(2)),
        ],
    ),
    "the end before what is for a failure": (
        8,
        [
            ago(
                9,
                created(flow=1),
                created(flow=1, role="on_failure", needs=["after"]),
                created(flow=1, role="finally", needs=["after"]),
            ),
            ago(9, of(1, "cancelled"), leased(3)),
        ],
    ),
    "a flow is joined later": (18, [ago(9, created(flow=1)), ago(9, created(flow=1))]),
    "a child is in no flow": (
        18,
        [ago(9, created(flow=1), leased(1), completed(1, 2, made=1), created(made_by=1))],
    ),
    "children are missing": (
        19,
        [ago(9, created(), leased(1), completed(1, 2, made=2), created(made_by=1))],
    ),
    "children of a failure": (
        19,
        [ago(9, created(), leased(1), failed(1, 2), retried(1, 19 * SECOND), created(made_by=1))],
    ),
    "children behind something": (
        19,
        [
            ago(
                9,
                created(),
                leased(1),
                completed(1, 2, made=1),
                said("left", worker="n"),
                created(made_by=1),
            )
        ],
    ),
    "a follower goes back": (
        "follower",
        [
            ago(9, created(), created(), said("followed", **{**FOLLOWED, "seq": 2})),
            ago(9, said("followed", **FOLLOWED)),
        ],
    ),
    "a follower runs ahead": ("follower", [ago(9, said("followed", **FOLLOWED))]),
    "a follower has two nodes": (
        "follower",
        [
            ago(9, created(), said("followed", **FOLLOWED)),
            ago(38, said("followed", **{**FOLLOWED, "worker": "m"})),
        ],
    ),
    "no follower to drop": ("follower", [ago(9, said("unfollowed", follower="f"))]),
    "two instants in a commit": (
        "clock",
        [ago(99, created()), ago(99, created(decided_at=SECOND), created())],
    ),
    "not so far ahead": ("clock", [ago(99, created()), ago(99, created(decided_at=98 * SECOND))]),
    "no such body": (4, [ago(9, (1, {"kind": "leased"}))]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str) -> None:
    """It is found as what it is, at the commit in which it stands, and nothing is before it."""
    invariant, told = FAULTS[name]
    commits = sealed(told)

    findings = checked(commits)

    assert invariants(findings)[:1] == [invariant]
    assert findings[0].seq is not None
    assert findings[0].seq >= commits[-1].first


@pytest.mark.parametrize("name", [name for name in FAULTS if len(FAULTS[name][1]) > 1])
def test_what_comes_before_a_fault_is_good(name: str) -> None:
    """So it is the last commit alone that is found."""
    findings = checked(sealed(FAULTS[name][1][:-1]))

    assert [
        each for each in findings if each.invariant != 4 or "nothing follows" not in each.text
    ] == []


CHAIN: dict[str, Callable[[RawCommit], dict[str, object]]] = {
    "a byte of a body": lambda c: {"bodies": [c.bodies[0].replace("created", "Created")]},
    "its instant": lambda c: {"at": c.at + 1},
    "its id": lambda _: {"id": "another"},
    "its seal": lambda _: {"seal": bytes(32)},
    "the seal before": lambda _: {"prev": bytes(32)},
    "its position": lambda c: {"first": c.first + 1},
    "its tasks": lambda c: {"tasks": [*c.tasks, 1]},
    "nothing in it": lambda _: {"bodies": [], "tasks": []},
}


@pytest.mark.parametrize("name", CHAIN)
def test_a_changed_commit_is_found(name: str) -> None:
    """Invariant 1: seals, instants and positions."""
    commits = sealed([ago(9, created()), ago(9, created()), ago(9, created())])
    commits[1] = RawCommit(**{**vars(commits[1]), **CHAIN[name](commits[1])})

    findings = checked(commits)

    assert (findings[0].invariant, findings[0].seq) == (1, 2)


def test_a_commit_left_out_is_found() -> None:
    """Positions have no gaps; commits of another namespace have another beginning."""
    commits = sealed([ago(9, created()), ago(9, created()), ago(9, created())])

    assert invariants(checked([commits[0], commits[2]])) == [1]
    assert invariants(checked([commits[1]])) == [1]


def test_a_key_that_is_not_listed_is_found() -> None:
    """The index of keys goes by what commits list."""
    [commit] = sealed([ago(9, created(key="k"))])
    unlisted = RawCommit(**{**vars(commit), "keys": {}})

    assert invariants(checked([unlisted])) == [1, 10]


def swap_leases(told: list[Told]) -> None:
    """Two leases of one commit change places."""
    for _, events in told:
        leases = [place for place, (_, body) in enumerate(events) if body["kind"] == "leased"]
        if len(leases) > 1:
            one, two = leases[:2]
            events[one], events[two] = events[two], events[one]
            return
    pytest.fail("no two leases stand in one commit")


def drop(kind: str, *, which: int = 0) -> Callable[[list[Told]], None]:
    """One of the events of a kind is something else, which changes nothing."""

    def change(told: list[Told]) -> None:
        places = [
            (events, place)
            for _, events in told
            for place, (_, body) in enumerate(events)
            if body["kind"] == kind
        ]
        events, place = places[which]
        events[place] = QUEUE, {"kind": "nothing", "skip": True}

    return change


TAMPERED: list[tuple[str, str, Callable[[list[Told]], None], int | str]] = [
    ("a limit", "limits", drop("limited"), 16),
    ("turns", "turns", drop("shared"), 7),
    ("a pause's end", "pauses", drop("resumed"), 7),
    ("a failure's end", "retries", drop("retried"), 4),
    ("a lease", "flows", drop("leased"), 4),
    ("a snooze", "outcomes", drop("released"), 5),
    ("a plan", "schedules", drop("planned"), 17),
    ("a tick", "schedules", drop("ticked"), 17),
    ("a child", "outcomes", drop("created", which=-1), 19),
    ("what it waits for", "flows", drop("completed"), 8),
    ("a node's word", "lanes", drop("joined"), 7),
    ("an end", "uniques", drop("completed"), 10),
]


@pytest.mark.parametrize("what, story, change, wanted", TAMPERED, ids=[t[0] for t in TAMPERED])
def test_a_good_history_that_is_tampered_with_is_found(
    what: str, story: str, change: Callable[[list[Told]], None], wanted: int | str
) -> None:
    """One event of a history that eventq has made is gone: it shows."""
    commits = STORIES[story]()

    assert checked(changed(commits, lambda _: None)) == []
    assert wanted in invariants(checked(changed(commits, change))), what


@pytest.mark.parametrize("seed", range(4))
def test_leases_in_another_order_are_found(seed: int) -> None:
    """Invariant 7 in random histories: each lease that is swapped with the next one shows."""
    commits = raw_commits(random_stage(seed).log)

    assert 7 in invariants(checked(changed(commits, swap_leases), lapse_slack=1.0))


DRAINED: dict[str, tuple[list[Told], bool]] = {
    "ready": ([ago(9, created())], True),
    "leased": ([ago(9, created(), leased(1))], True),
    "doomed": ([ago(9, created(), created(**AFTER), of(1, "cancelled"))], True),
    "not back": (
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled"), of(2, "cancelled", cause=1)),
            ago(9, retried(1, AT_9, reopens=reopening()), leased(1), completed(1, 6)),
        ],
        True,
    ),
    "skipped": (
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled"), of(2, "cancelled", cause=1)),
            ago(9, retried(1, AT_9, reopens=reopening()), of(1, "revived", skipped=[2])),
            ago(9, leased(1), completed(1, 7)),
        ],
        False,
    ),
    "a flow's end": (
        [
            ago(9, created(flow=1), created(flow=1, role="finally", needs=["after"])),
            ago(9, leased(1), completed(1, 3)),
        ],
        True,
    ),
    "before a flow's end": (
        [
            ago(
                9,
                created(flow=1, scheduled_at=200 * SECOND),
                created(flow=1, role="finally", needs=["after"]),
            )
        ],
        False,
    ),
    "a due": ([ago(9, said("planned", **PLANNED))], True),
    "scheduled": ([ago(9, created(scheduled_at=200 * SECOND))], False),
    "paused": ([ago(9, created(), said("paused", scope={}))], False),
    "held": (
        [ago(9, created(), created(**AFTER, if_failed="hold"), of(1, "cancelled"))],
        False,
    ),
    "no limit": ([ago(9, created(**SMTP))], False),
    "done": ([ago(9, created(), leased(1), completed(1, 2))], False),
}


@pytest.mark.parametrize("name", DRAINED)
def test_what_is_left_needs_a_reason(name: str) -> None:
    """Invariant 14: once all is drained, what is open waits for what cannot come by itself."""
    told, is_found = DRAINED[name]

    findings = checked(sealed(told), drained_at=100 * SECOND)

    assert bool(findings) == is_found


def test_a_lost_task_ends_when_a_newer_eventq_says_so() -> None:
    """What an unknown kind has touched is left alone; its end frees its unique value."""
    told = [
        ago(9, created(unique="u"), of(1, "frozen")),
        ago(9, leased(1), completed(1, 7)),
        ago(9, created(unique="u"), leased(5)),
    ]

    assert checked(sealed(told)) == []


def test_findings_are_bounded() -> None:
    """Of what is broken everywhere a hundred findings are enough."""
    told = [ago(9, *[leased(1)] * 300)]

    assert len(checked(sealed(told))) == 100
