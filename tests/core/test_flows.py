"""Flows in the fold: when they close, who runs then, and what belongs to them."""

from __future__ import annotations

import pytest

from eventq.core.cascade import UNNEEDED
from eventq.core.events import Cancelled, Created
from eventq.core.link import Link
from eventq.core.reference import sibling
from eventq.core.values import Policy
from tests.checker import check_log
from tests.core.desk import Desk

POLICY = Policy("linear", 10)


@pytest.fixture
def desk() -> Desk:
    """An empty log."""
    return Desk()


def test_a_flow_closes_and_its_finalisers_run_in_turn(desk: Desk) -> None:
    """Those for a failure first, if any has failed; the last ones after them."""
    first = desk.flow(
        Link(),
        Link((sibling(0),)),
        Link(role="on_failure"),
        Link(role="finally"),
    )
    second, on_failure, last = first + 1, first + 2, first + 3
    desk.append((first, Cancelled()))
    assert desk.state(on_failure) == "waiting"
    desk.tend()
    assert (desk.state(second), desk.state(on_failure)) == ("final", "scheduled")
    assert desk.state(last) == "waiting"

    desk.end(on_failure)

    assert desk.state(last) == "scheduled"
    desk.end(last)
    assert desk.projection.flows.by_number == {}
    check_log(desk.log)


def test_what_is_there_for_a_failure_is_cancelled_without_one(desk: Desk) -> None:
    """The last ones need not wait for that."""
    first = desk.flow(Link(), Link(role="on_failure"), Link(role="finally"))

    desk.end(first)

    assert (desk.state(first + 1), desk.state(first + 2)) == ("waiting", "scheduled")
    assert desk.tend() == [(first + 1, Cancelled(reason=UNNEEDED))]
    desk.end(first + 2)
    check_log(desk.log)


def test_what_members_make_is_waited_for(desk: Desk) -> None:
    """A flow does not close between a completion and the tasks that it makes."""
    first = desk.flow(Link(), Link(role="finally"))

    desk.end(first, made=(Created(POLICY, flow=first, made_by=first),) * 2)

    child = desk.projection.seq
    assert desk.state(first + 1) == "waiting"
    desk.end(child - 1)
    assert desk.state(first + 1) == "waiting"
    desk.end(child)
    assert desk.state(first + 1) == "scheduled"
    check_log(desk.log)


def test_finalisers_never_run_again(desk: Desk) -> None:
    """A member that is reopened after the close counts no more."""
    first = desk.flow(Link(), Link(role="on_failure"))
    desk.append((first, Cancelled()))
    desk.end(first + 1)

    desk.retry(first)
    desk.append((first, Cancelled()))

    assert desk.projection.flows.by_number == {}
    assert desk.projection.tasks == {}
    check_log(desk.log)
