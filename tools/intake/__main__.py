"""``python -m tools.intake``: three processes take in documents for five minutes, and are killed.

Flows under a cron, a limit, two tenants of unequal size and a pause: all of who may run when.
The log is judged afterwards, and what `why` says of three moments is shown. For example::

    python -m tools.intake --seconds 60 --kill-every 10 --keep intake
    python -m tools.intake --mongo
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.intake.drive import Plan, Played, play
from tools.mongod import ReplicaSet


def main() -> int:
    """Plays it, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tools.intake", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--kill-every", type=float, default=30)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--pages", type=int, default=30, help="of the small tenant, one in ten")
    parser.add_argument("--every", help="between two sweeps, instead of the cron of each minute")
    parser.add_argument("--mongo", action="store_true", help="on a MongoDB of its own")
    parser.add_argument("--keep", type=Path, help="a new folder for log and pages")
    arguments = parser.parse_args()
    plan = Plan(
        seconds=arguments.seconds,
        kill_every=arguments.kill_every,
        processes=arguments.processes,
        pages=arguments.pages,
        every=arguments.every,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        if arguments.mongo:
            with ReplicaSet(1) as servers:
                tell(play(servers.url("intake"), folder / "pages", plan))
        else:
            tell(play(f"sqlite:///{folder / 'intake.db'}", folder / "pages", plan))
    return 0


def tell(played: Played) -> None:
    """Prints it."""
    dues = ", ".join(f"{count} {outcome}" for outcome, count in played.dues.items())
    print(f"{played.kills} kills; {played.tasks:,} tasks in {played.flows} flows; dues: {dues}")
    print(
        f"{played.attempts:,} attempts, of which {played.lapsed} lapsed; {played.refused} refused; "
        f"{played.rows_twice} of {played.rows:,} rows twice; {played.events:,} events, verified"
    )
    for answer in played.answers:
        moment = answer.moment
        print(f"{moment.held_by}: why {moment.task} --at {moment.seq}: {answer.verdict}")


if __name__ == "__main__":
    sys.exit(main())
