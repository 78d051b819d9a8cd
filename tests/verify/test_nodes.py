"""Rules about names, lanes, needs, lapses and snoozes: each accepts what is right, and says no."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from eventq.core.command import NEW
from eventq.core.commits import AnyBody, Event
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Released,
    Reopening,
    Retried,
)
from eventq.core.queue_events import Joined, Left
from eventq.core.values import NODE, ErrorInfo, Policy
from eventq.replay.fold import replay
from eventq.verify import base_of, verify
from tests.checker import check_events
from tests.driver import append_texts, memory_log, record

PLAIN = Policy("linear", 10)
ERROR = ErrorInfo("OSError")
LAPSE = ErrorInfo("LeaseLapsed", "node n stopped renewing")
LEASED = Leased(1, "n", 30)
JOINED = Joined("n", 30, 4, "1", names=("a", "b.*"))
LANES = replace(JOINED, names=("*",), lanes={"heavy": 1, "default": 2})
Step = tuple[int, int, AnyBody]


def made(**options: object) -> Step:
    """A task is created."""
    return (10, NEW, Created(**{"policy": PLAIN, **options}))  # type: ignore[arg-type]


def told(*steps: Step) -> list[Event]:
    """Events from (at, task, body); task NEW is the event's own position."""
    return [
        Event(seq, at, seq if task == NEW else task, body)
        for seq, (at, task, body) in enumerate(steps, 1)
    ]


def lapsing(*waits: int, ended: AnyBody | None = None, **options: int) -> list[Step]:
    """A task that lapses again and again, retried after these waits."""
    steps: list[Step] = [made(policy=Policy("linear", 10, **options))]
    at = 10
    for attempt, wait in enumerate(waits, 1):
        steps += [(at, 1, Leased(attempt, "n", 30)), (at, 1, Failed(len(steps) + 1, LAPSE))]
        steps.append((at, 1, Retried(at + wait)))
        at += wait
    if ended is not None:
        steps += [(at, 1, Leased(len(waits) + 1, "n", 30)), (at, 1, Failed(len(steps) + 1, LAPSE))]
        steps.append((at, 1, ended))
    return steps


GOOD: dict[str, list[Step]] = {
    "a node takes its names": [
        made(name="a", priority=3),
        made(name="b.c", priority=2),
        made(priority=9),
        (10, NODE, JOINED),
        (10, 1, LEASED),
        (10, 2, LEASED),
    ],
    "a plain node takes what has no name, in any lane": [
        made(name="a", priority=9),
        made(lane="heavy", priority=3),
        made(),
        (10, 2, LEASED),
        (10, 3, LEASED),
    ],
    "who has left is a plain node again": [
        made(name="a", priority=9),
        made(),
        (10, NODE, JOINED),
        (10, NODE, Left("n")),
        (10, 2, LEASED),
    ],
    "a full lane is passed over": [
        made(lane="heavy", priority=9),
        made(lane="heavy", priority=8),
        made(name="x"),
        (10, NODE, LANES),
        (10, 1, LEASED),
        (10, 3, LEASED),
    ],
    "what was held before joining counts": [
        made(lane="heavy", priority=9),
        (10, 1, LEASED),
        made(lane="heavy", priority=8),
        made(),
        (10, NODE, LANES),
        (10, 4, LEASED),
        (10, NODE, LANES),
    ],
    "more than a lane has slots may be leased ahead": [
        made(lane="heavy"),
        made(lane="heavy"),
        (10, NODE, LANES),
        (10, 1, LEASED),
        (10, 2, LEASED),
    ],
    "another lane is nobody's business": [
        made(lane="mail", priority=9),
        made(),
        (10, NODE, LANES),
        (10, 2, LEASED),
    ],
    "lapses wait longer": lapsing(0, 10, 20),
    "lapses may wait longer still": lapsing(5, 11, 50),
    "one lapse too many": lapsing(0, 10, ended=Expired("max_lapses"), max_lapses=2),
    "none is allowed": lapsing(ended=Expired("max_lapses"), max_lapses=0),
    "a snooze": [made(), (10, 1, LEASED), (10, 1, Released(2, "busy", 20)), (20, 1, LEASED)],
    "for good": [made(), (10, 1, LEASED), (11, 1, Failed(2, ERROR)), (11, 1, Expired("fatal"))],
    "what is reopened has its name, lane and snoozes": [
        made(name="a", lane="heavy"),
        (10, NODE, JOINED),
        (10, 1, LEASED),
        (10, 1, Released(3, "busy", 20)),
        (11, 1, Cancelled()),
        (
            12,
            1,
            Retried(
                12,
                Reopening("cancelled", PLAIN, 10, 0, name="a", lane="heavy", snoozes=1),
            ),
        ),
        (12, 1, LEASED),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_accepted(name: str) -> None:
    """No rule is stricter than what nodes do."""
    check_events(told(*GOOD[name]))


BAD: dict[str, tuple[str, list[Step]]] = {
    "a plain node takes a name": (
        "2: task 1: node n has not said that it runs a",
        [made(name="a"), (10, 1, LEASED)],
    ),
    "a node takes another name": (
        "3: task 1: node n does not run c",
        [made(name="c"), (10, NODE, JOINED), (10, 1, LEASED)],
    ),
    "a node of names takes what has none": (
        "3: task 1: node n does not run unnamed",
        [made(), (10, NODE, JOINED), (10, 1, LEASED)],
    ),
    "who has left takes a name": (
        "4: task 1: node n has not said",
        [made(name="a"), (10, NODE, JOINED), (10, NODE, Left("n")), (10, 1, LEASED)],
    ),
    "a node takes from another lane": (
        "3: task 1: node n does not take from lane mail",
        [made(lane="mail"), (10, NODE, LANES), (10, 1, LEASED)],
    ),
    "the last word counts": (
        "4: task 1: node n does not run a",
        [
            made(name="a"),
            (10, NODE, JOINED),
            (10, NODE, replace(JOINED, names=("z",))),
            (10, 1, LEASED),
        ],
    ),
    "a higher task of another name": (
        "4: task 2 ranks before 1",
        [made(name="a"), made(name="b.c", priority=3), (10, NODE, JOINED), (10, 1, LEASED)],
    ),
    "a higher task in a lane with a place": (
        "4: task 1 ranks before 2",
        [made(lane="heavy", priority=3), made(), (10, NODE, LANES), (10, 2, LEASED)],
    ),
    "a higher task in a lane that has a place again": (
        "7: task 2 ranks before 3",
        [
            made(lane="heavy", priority=3),
            made(lane="heavy", priority=2),
            made(),
            (10, NODE, LANES),
            (10, 1, LEASED),
            (10, 1, Completed(5)),
            (10, 3, LEASED),
        ],
    ),
    "a higher task in the same lane": (
        "4: task 2 ranks before 1",
        [made(), made(priority=3), (10, NODE, LANES), (10, 1, LEASED)],
    ),
    "a plain node passes over a lane": (
        "3: task 1 ranks before 2",
        [made(lane="heavy", priority=3), made(), (10, 2, LEASED)],
    ),
    "too soon after lapses": ("7: retried too soon after 2 lapses", lapsing(0, 9)),
    "too many lapses": ("7: more lapses in a row than allowed", lapsing(0, 10, max_lapses=1)),
    "lapses that are left": (
        "7: given up for lapses",
        lapsing(0, ended=Expired("max_lapses"), max_lapses=2),
    ),
    "lapses without limit": ("4: given up for lapses", lapsing(ended=Expired("max_lapses"))),
    "no lapse at all": (
        "4: given up for lapses",
        [
            made(policy=Policy("linear", 10, max_lapses=0)),
            (10, 1, LEASED),
            (10, 1, Failed(2, ERROR)),
            (10, 1, Expired("max_lapses")),
        ],
    ),
    "for good without a failure": ("2: failed for good", [made(), (10, 1, Expired("fatal"))]),
    "a snooze into the past": (
        "3: put off into the past",
        [made(), (10, 1, LEASED), (10, 1, Released(2, "busy", 9))],
    ),
    "a snooze cut short": (
        "4: task 1 leased too early",
        [made(), (10, 1, LEASED), (10, 1, Released(2, "busy", 20)), (19, 1, LEASED)],
    ),
    "reopened under another name": (
        "3: brings back another name",
        [
            made(name="a"),
            (10, 1, Cancelled()),
            (12, 1, Retried(12, Reopening("cancelled", PLAIN, 10, 0, name="b"))),
        ],
    ),
    "reopened in another lane": (
        "3: brings back another lane",
        [
            made(),
            (10, 1, Cancelled()),
            (12, 1, Retried(12, Reopening("cancelled", PLAIN, 10, 0, lane="b"))),
        ],
    ),
    "reopened with fewer snoozes": (
        "5: brings back another snoozes",
        [
            made(),
            (10, 1, LEASED),
            (10, 1, Released(2, "busy", 20)),
            (11, 1, Cancelled()),
            (12, 1, Retried(12, Reopening("cancelled", PLAIN, 10, 0))),
        ],
    ),
    "joined about a task": ("2: joined names a task", [made(), (10, 1, JOINED)]),
    "left about a task": ("2: left names a task", [made(), (10, 1, Left("n"))]),
    "joined for no time": ("1: joined for no time", [(10, NODE, replace(JOINED, ttl_us=0))]),
    "joined without a name": ("1: joined without a name", [(10, NODE, replace(JOINED, worker=""))]),
    "less than no slots": ("1: joined with less", [(10, NODE, replace(JOINED, slots=-1))]),
    "less than no slots in a lane": (
        "1: joined with less",
        [(10, NODE, replace(JOINED, lanes={"a": -1}))],
    ),
    "an odd pattern": ("1: .* is no name and no", [(10, NODE, replace(JOINED, names=("a?",)))]),
    "an odd lane": ("1: .* is no name", [(10, NODE, replace(JOINED, lanes={"a b": 1}))]),
    "an odd name": ("1: .* is no name", [made(name="a*")]),
    "an odd lane of a task": ("1: .* is no name", [made(lane="")]),
    "a need that is not known": ("1: need .* is unknown", [made(needs=("telepathy",))]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told(name: str) -> None:
    """By the rule that it breaks, at its event."""
    problem, steps = BAD[name]

    with pytest.raises(AssertionError, match=f"^{problem}"):
        check_events(told(*steps))


def test_nobody_judges_who_takes_a_task_of_unknown_needs() -> None:
    """Whoever took it is newer than this verifier; the need is told once, and stops nothing."""
    log = memory_log()
    projection = replay(log)
    needs = Created(PLAIN, name="a", needs=("telepathy",), priority=3)
    unnamed = replace(needs, name=None)
    drafts = [(NEW, needs), (NEW, needs), (NEW, Created(PLAIN)), (NEW, unnamed)]
    record(log, projection, [*drafts, (NODE, JOINED), (1, LEASED), (3, Leased(1, "m", 30))], now=9)
    record(log, projection, [(4, Leased(1, "m", 30))], now=9)

    verdict = verify(log)

    assert [(finding.seq, finding.rule) for finding in verdict.findings] == [(1, "unknown")]
    assert verdict.complete


@pytest.mark.parametrize("number", [NODE, 1])
def test_what_may_be_skipped_is_counted_and_no_finding(number: int) -> None:
    """Nothing depends on it, so order is judged on, also behind it."""
    log = memory_log()
    projection = replay(log)
    record(log, projection, [(NEW, Created(PLAIN)), (NEW, Created(PLAIN, priority=3))], now=9)
    projection.apply(append_texts(log, [number], '{"kind":"told","skip":true}'))
    assert verify(log, indexes="full").ok
    assert verify(log).counts == {"created": 2, "told": 1}

    record(log, projection, [(1, LEASED)], now=9)

    assert [(finding.seq, finding.rule) for finding in verify(log).findings] == [(4, "order")]


def test_a_final_task_is_remembered_beside_what_may_be_skipped() -> None:
    """Its history is judged again where an event refers to it: a second end is found."""
    log = memory_log()
    projection = replay(log)
    record(log, projection, [(NEW, Created(PLAIN)), (1, LEASED), (1, Completed(2))], now=9)
    append_texts(log, [1, 1], '{"kind":"told","skip":true}', '{"kind":"completed","fence":2}')

    assert [(finding.seq, finding.rule) for finding in verify(log).findings] == [(5, "move")]


def test_a_base_knows_who_has_joined() -> None:
    """What came before it was trusted, also what nodes had said; of others nobody can say."""
    log = memory_log()
    projection = replay(log)
    names: list[Created] = [Created(PLAIN, name="a"), Created(PLAIN, name="b.c", priority=3)]
    record(log, projection, [(NEW, body) for body in names], now=9)
    record(log, projection, [(NODE, JOINED)], now=9)
    base = base_of(projection)
    record(log, projection, [(1, LEASED)], now=10)
    record(log, projection, [(2, Leased(1, "silent", 30))], now=10)

    assert [f.seq for f in verify(log, base=base, limit=9).findings] == [4]
    assert [f.seq for f in verify(log, limit=9).findings] == [4, 5]
