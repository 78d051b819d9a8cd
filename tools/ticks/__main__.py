"""``python -m tools.ticks``: 1,000 schedules of a minute on 4 nodes for a virtual day.

It says how many dues were ticked, how many twice, and how many were lost. For example::

    python -m tools.ticks --schedules 100 --hours 24 --seed 7
"""

from __future__ import annotations

import argparse
import sys
import time

from eventq.eventlog import open_log
from tools.ticks.simulation import play


def main() -> int:
    """Plays it, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tools.ticks", description=__doc__)
    parser.add_argument("--url", default="memory://ticks", help="of an empty log")
    parser.add_argument("--schedules", type=int, default=1_000)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    log = open_log(arguments.url, namespace="default")
    begun = time.monotonic()
    try:
        played = play(
            log,
            schedules=arguments.schedules,
            nodes=arguments.nodes,
            hours=arguments.hours,
            seed=arguments.seed,
        )
    finally:
        log.close()
    print(
        f"{played.ticked:,} of {played.dues:,} dues ticked, {played.twice} twice, "
        f"{played.lost} lost; {played.made:,} tasks made; {played.crashes} crashes, "
        f"{played.events:,} events, {time.monotonic() - begun:.0f} s"
    )
    return 1 if played.twice or played.lost else 0


sys.exit(main())
