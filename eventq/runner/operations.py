"""The three commands a runner gives its node; each decides at the moment of its commit."""

from __future__ import annotations

from eventq.core import decide
from eventq.core.decide import Draft, Outcome
from eventq.core.events import COMMIT_EVENTS, ERROR_BYTES
from eventq.node.commit_plan import Command
from eventq.node.node import Node
from eventq.replay.fold import decode_events
from eventq.runner.pacing import BLOCK

# Results are cut into commits of about this many bytes, well under the cap of a commit.
SETTLE_BYTES = 512 * 1024


def exchange(node: Node, outcomes: list[Outcome], *, count: int, free: int, ttl_us: int) -> Command:
    """One commit: how the last tasks ended, and up to ``count`` leases of the next.

    ``free`` workers have nothing to do.
    """

    def decision(now: int) -> list[Draft]:
        projection = node.projection
        settled = decide.settle(
            projection,
            outcomes,
            worker=node.name,
            now=now,
            # What was archived is not asked for: an outcome in doubt is never as old as that.
            history=lambda task: decode_events(node.log.history(task)),
        )
        leased = decide.lease(
            projection,
            worker=node.name,
            ttl_us=ttl_us,
            count=count,
            free=free,
            room=COMMIT_EVENTS - len(settled),
            now=now,
        )
        # Leases first: the choice is right at their position only while nothing came before.
        return leased + settled

    return node.execute(Command(decision, leasing=True))


def renew(node: Node, *, ttl_us: int) -> Command:
    """Keeps all leases of this node alive."""
    return node.execute(
        Command(lambda _: decide.renew(node.projection, worker=node.name, ttl_us=ttl_us))
    )


def lapse(node: Node, worker: str, *, seen_seq: int) -> Command:
    """Fails the attempts of a node that stopped renewing, as many as a commit holds."""
    return node.execute(
        Command(
            lambda now: decide.lapse(
                node.projection, worker=worker, seen_seq=seen_seq, room=COMMIT_EVENTS, now=now
            )
        )
    )


def portion(outcomes: list[Outcome]) -> list[Outcome]:
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
