"""The verifier finds tasks that ran before their time, and flows that are none."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from eventq.core.command import NEW, Draft
from eventq.core.events import Cancelled, Completed, Created, Leased, Reopening, Retried, Updated
from eventq.core.link import logged_key
from eventq.core.seal import genesis
from eventq.core.values import Policy, Predecessor
from eventq.verify.verifier import Finding, verify
from tests.driver import memory_log, sealed

POLICY = Policy("linear", 10)
AFTER = ("after",)


def first_finding(*commits: list[Draft]) -> Finding | None:
    """What is found first in a log of these commits; None for nothing."""
    log = memory_log()
    prev, first = genesis("default"), 1
    for drafts in commits:
        commit = sealed(drafts, first=first, at=1_000, prev=prev)
        log.append(commit)
        prev, first = commit.seal, commit.last + 1
    return next(iter(verify(log, indexes="full").findings), None)


def after(*predecessors: Predecessor, **more: object) -> Created:
    """A task that comes after others."""
    return Created(POLICY, needs=AFTER, after=predecessors, **more)  # type: ignore[arg-type]


PLAIN = Created(POLICY)
WAITS = after(Predecessor(1))

WRONG: dict[str, tuple[str, list[list[Draft]]]] = {
    "leased before": ("wait", [[(NEW, PLAIN), (NEW, WAITS)], [(2, Leased(1, "n", 30))]]),
    "after itself": ("wait", [[(NEW, after(Predecessor(1)))]]),
    "after a later one": ("wait", [[(NEW, after(Predecessor(2)))], [(NEW, PLAIN)]]),
    "twice": ("wait", [[(NEW, PLAIN), (NEW, after(Predecessor(1), Predecessor(1)))]]),
    "says it is done": ("wait", [[(NEW, PLAIN), (NEW, after(Predecessor(1, "completed")))]]),
    "says it is open": ("wait", [[(NEW, PLAIN), (1, Cancelled())], [(NEW, WAITS)]]),
    "made waived": (
        "wait",
        [[(NEW, PLAIN), (1, Cancelled())], [(NEW, after(Predecessor(1, "waived")))]],
    ),
    "needs nothing": ("wait", [[(NEW, PLAIN), (NEW, Created(POLICY, after=(Predecessor(1),)))]]),
    "needs for nothing": ("wait", [[(NEW, Created(POLICY, needs=AFTER))]]),
    "given of none": ("wait", [[(NEW, PLAIN), (NEW, after(Predecessor(1), given={"a": 7}))]]),
    "no cause": ("wait", [[(NEW, PLAIN), (NEW, WAITS)], [(2, Cancelled(cause=1))]]),
    "waives nothing": ("wait", [[(NEW, PLAIN), (NEW, WAITS)], [(2, Updated(waives=True))]]),
    "another brings it back": (
        "wait",
        [
            [(NEW, PLAIN), (NEW, PLAIN), (2, Cancelled())],
            [(2, Retried(1_000, reopens=Reopening("cancelled", POLICY, 1_000, 0), revived_by=1))],
        ],
    ),
    "joins from outside": (
        "flow",
        [[(NEW, Created(POLICY, flow=1))], [(NEW, Created(POLICY, flow=1))]],
    ),
    "in no flow": ("flow", [[(NEW, PLAIN)], [(NEW, Created(POLICY, flow=1))]]),
    "a child elsewhere": (
        "flow",
        [
            [(NEW, Created(POLICY, flow=1))],
            [(1, Leased(1, "n", 30))],
            [(1, Completed(2, made=1)), (NEW, replace(PLAIN, made_by=1))],
        ],
    ),
    "a finaliser too early": (
        "wait",
        [
            [
                (NEW, Created(POLICY, flow=1)),
                (NEW, Created(POLICY, flow=1, role="finally", needs=AFTER)),
            ],
            [(2, Leased(1, "n", 30))],
        ],
    ),
    "for a failure without one": (
        "wait",
        [
            [
                (NEW, Created(POLICY, flow=1)),
                (NEW, Created(POLICY, flow=1, role="on_failure", needs=AFTER)),
            ],
            [(1, Leased(1, "n", 30)), (1, Completed(3))],
            [(2, Leased(1, "n", 30))],
        ],
    ),
    "the key of another": (
        "flow",
        [[(NEW, Created(POLICY, flow=1)), (NEW, Created(POLICY, flow=1, flow_key="k"))]],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_could_not_be_is_found(what: str) -> None:
    """By its rule, at the event that breaks it."""
    rule, commits = WRONG[what]

    finding = first_finding(*commits)

    assert finding is not None
    assert finding.rule == rule
    assert finding.seq == sum(map(len, commits)) or what == "after a later one"


def test_two_flows_of_one_key_are_found() -> None:
    """No log takes them, but a changed file may hold them."""
    one = Created(POLICY, flow=1, flow_key="k")
    assert logged_key(one) == "\x1fk"

    assert first_finding([(NEW, one)]) is None
