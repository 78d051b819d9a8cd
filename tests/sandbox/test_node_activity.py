"""When attempts began that a node had leased ahead, and how many workers there were when."""

from __future__ import annotations

from eventq.sandbox.whatif.node_activity import Nodes


def test_what_is_given_back_unbegun_leaves_the_line() -> None:
    """The next one in line begins when a worker is free, not it."""
    nodes = Nodes(1)
    for number in (1, 2, 3):
        nodes.lease(number, "node", ready_at=0, at=10)
    given_back = nodes.end(2, 15)
    first = nodes.end(1, 20)
    third = nodes.end(3, 30)

    assert given_back is not None
    assert given_back.begun_at == 15
    assert first is not None
    assert first.begun_at == 10
    assert third is not None
    assert third.begun_at == 20
    assert nodes.end(3, 40) is None


def test_nodes_come_and_go() -> None:
    """Each is there from its first lease to the end of its last; who came last stays."""
    nodes = Nodes(None)
    for number, name, at in ((1, "a", 10), (2, "a", 12), (3, "b", 20)):
        nodes.lease(number, name, ready_at=0, at=at)
        nodes.measure()
    for number, at in ((1, 30), (2, 30), (3, 40)):
        nodes.end(number, at)

    assert nodes.most == 3
    assert nodes.capacity(None, []) == [(0, 0), (10, 2), (20, 3)]
    assert nodes.capacity(7, [(5, 10), (10, 20)]) == [(0, 7), (5, 0), (10, 7), (10, 0), (20, 7)]
