"""The three commands a runner gives its node; each decides at the moment of its commit."""

from __future__ import annotations

from eventq.core.events import ERROR_BYTES
from eventq.core.lease import Renew
from eventq.core.settle import Lapse, Outcome, SettleAndLease
from eventq.node.node import Node
from eventq.node.pending_command import Committed
from eventq.runner.pacing import BLOCK

# Results are cut into commits of about this many bytes, well under the cap of a commit.
SETTLE_BYTES = 512 * 1024


def settle_and_lease(
    node: Node, outcomes: list[Outcome], *, count: int, free: int, ttl_us: int
) -> Committed[None]:
    """One commit: how the last tasks ended, and up to ``count`` leases of the next.

    ``free`` workers have nothing to do.
    """
    return node.execute(SettleAndLease(node.name, outcomes, ttl_us, count, free))


def renew(node: Node, *, ttl_us: int, unproven_seq: int | None = None) -> None:
    """Keeps all leases of this node alive; see `Renew`."""
    node.execute(Renew(node.name, ttl_us, unproven_seq))


def lapse(node: Node, worker: str, *, seen_seq: int) -> Committed[None]:
    """Fails the attempts of a node that stopped renewing, as many as a commit holds."""
    return node.execute(Lapse(worker, seen_seq))


def batch(outcomes: list[Outcome]) -> list[Outcome]:
    """The first outcomes that fit into one commit beside a block of leases."""
    size_bytes = 0
    for index, outcome in enumerate(outcomes[:BLOCK]):
        if outcome.result_json is not None:
            size_bytes += len(outcome.result_json)
        if outcome.error is not None:
            size_bytes += ERROR_BYTES
        if size_bytes > SETTLE_BYTES and index:
            return outcomes[:index]
    return outcomes[:BLOCK]
