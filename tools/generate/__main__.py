"""``python -m tools.generate URL --tasks N``: makes a legal log of N tasks in an empty namespace.

The same arguments make the same log, byte for byte. For example::

    python -m tools.generate sqlite:///big.db --tasks 1000000
"""

from __future__ import annotations

import argparse
import sys
import time

from eventq.eventlog import open_log
from tools.generate.factory import LIVE_TASKS, generate


def main() -> int:
    """Makes the log and prints what it holds."""
    arguments = _arguments()
    log = open_log(arguments.url, namespace=arguments.namespace)
    begun = time.monotonic()
    try:
        made = generate(
            log,
            tasks=arguments.tasks,
            seed=arguments.seed,
            pending=arguments.pending,
            live=arguments.live,
        )
    finally:
        log.close()
    seconds = time.monotonic() - begun
    print(
        f"{made.tasks} tasks, {made.events} events in {made.commits} commits, "
        f"{made.pending} pending, in {seconds:.0f} s"
    )
    for kind, count in made.kinds.items():
        print(f"{kind}\t{count}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--tasks", type=int, required=True, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pending", type=int, default=0, metavar="P", help="left at the end")
    parser.add_argument("--live", type=int, default=LIVE_TASKS, help="open tasks at a time")
    arguments = parser.parse_args()
    if arguments.tasks < 1 or not 0 <= arguments.pending <= arguments.tasks:
        parser.error("expected at least one task, and no more of them pending than there are")
    if arguments.live < 1:
        parser.error("expected --live of at least 1")
    return arguments


sys.exit(main())
