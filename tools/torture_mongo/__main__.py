"""``python -m tools.torture_mongo``: how MongoDB logs bear the loss of a primary, round by round.

A round is one harm to a replica set of three, under load of producers and workers in processes of
their own: the primary steps down, is killed, stopped, cut off as by a cable or parted from the
others (with rollbacks), or all are killed; or connections to one server are cut around appends. The
log must then hold all that was acknowledged, nothing twice, and satisfy the history checker.
Network namespaces need root and ``ip``; without them, two kinds are left out. For example::

    nice python -m tools.torture_mongo --resume mongo.json --report docs/explanation/reliability.md
"""

from __future__ import annotations

import secrets
import sys
from collections import Counter
from contextlib import ExitStack, closing

from eventq.eventlog import open_log
from tools.mongod import Network, ReplicaSet
from tools.rounds import MOST, Rounds, begin, make_parser, run_asked
from tools.torture_mongo import FAULTS, PARTITIONS, Load, Verdict, cut_wire, rollbacks, torture

ROUNDS = 80
WIRE = "wire"


def main() -> int:
    """Plays the rounds; 1 if any failed."""
    parser = make_parser("tools.torture_mongo", __doc__, rounds=ROUNDS)
    kinds = [*FAULTS, *(PARTITIONS if Network.is_possible() else ()), WIRE]
    parser.add_argument("--only", action="append", choices=kinds, help="only this kind")
    asked = begin(parser)
    chosen = asked.only or kinds
    with ExitStack() as stack:
        network = stack.enter_context(Network(3)) if set(PARTITIONS) & set(chosen) else None
        three = stack.enter_context(ReplicaSet(3, network=network))
        one = stack.enter_context(ReplicaSet(1)) if WIRE in chosen else None

        def play(number: int) -> Counter[str]:
            kind = chosen[number % len(chosen)]
            # A database that no other round has, also of a run that goes on.
            database = f"torture-{number}-{secrets.token_hex(4)}"
            if kind == WIRE:
                assert one is not None, "it was started above"
                return _told(kind, cut_wire(one, database, number))
            before, url = rollbacks(three), three.url(database)
            with closing(open_log(url)) as log, Load(url) as load:
                verdict = torture(three, log, load, [(FAULTS | PARTITIONS)[kind]])
            return _told(kind, verdict) + Counter(rollbacks=rollbacks(three) - before)

        title = f"MongoDB, {', '.join(chosen)}" if asked.only else "MongoDB"
        return run_asked(Rounds(title, play), asked)


def _told(kind: str, verdict: Verdict) -> Counter[str]:
    counts = {f"rounds: {kind}": 1, "tasks": verdict.tasks, "events": verdict.events}
    slowest_ms = int(1_000 * max(verdict.delays_s))
    return Counter({**counts, f"{MOST}ms until work went on": slowest_ms})


if __name__ == "__main__":
    sys.exit(main())
