"""``python -m tools.torture_mongo``: how a replica set of three bears faults, with figures."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from statistics import median

from eventq.eventlog import open_log
from tools.mongod import ReplicaSet
from tools.torture_mongo import FAULTS, Load, torture

# The longest that work may take to go on once there is a new primary, in seconds.
FLOOR_S = 5.0


def main() -> int:
    """Runs the rounds; 1 when work went on too late, an error where the log is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.torture_mongo", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of each fault; default 20")
    parser.add_argument("--only", action="append", choices=FAULTS, help="only this fault")
    arguments = parser.parse_args()
    slowest_s = 0.0
    with ReplicaSet(3) as servers:
        for name in arguments.only or FAULTS:
            url = servers.url(f"torture-{name}")
            began_s = time.monotonic()
            with closing(open_log(url)) as log, Load(url) as load:
                verdict = torture(servers, log, load, [FAULTS[name]] * arguments.rounds)
            took_s = time.monotonic() - began_s
            slowest_s = max(slowest_s, *verdict.delays_s)
            print(
                f"{name}: {arguments.rounds} rounds in {took_s:.0f} s, {verdict.tasks:,} tasks and "
                f"{verdict.events:,} events, all there, none twice; from a new primary to work: "
                f"median {median(verdict.delays_s):.2f} s, slowest {max(verdict.delays_s):.2f} s",
                flush=True,
            )
    return 0 if slowest_s <= FLOOR_S else 1


if __name__ == "__main__":
    sys.exit(main())
