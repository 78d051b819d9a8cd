"""``python -m tools.simulate``: many seeds, or one of them by itself.

A step is one thing that happens at an instant of virtual time: a process wakes up for a round, an
attempt begins or ends, a caller asks, a fault strikes, a process starts, the log takes a commit, or
a process hears of one. A turn draws what is next, by a seed of its own, or lets time pass. For
example::

    python -m tools.simulate --seeds 10000 --steps 1000 --jobs 2 --resume simulated.json
    python -m tools.simulate --seeds 10000 --jobs 2 --report docs/explanation/reliability.md
    python -m tools.simulate --seed 42
    python -m tools.simulate --seed 42 --shrink
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from tools.simulate.campaign import Campaign
from tools.simulate.report import add_to
from tools.simulate.shrinking import shrink, turns_of
from tools.simulate.simulation import Simulation


def main() -> int:
    """Runs what is asked for; returns 1 if anything was found."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=1_000, help="of each, before all drains")
    parser.add_argument("--jobs", type=int, default=1, help="processes that play")
    parser.add_argument("--minutes", type=float, help="no more seeds are begun after that")
    parser.add_argument("--resume", type=Path, help="a file that keeps how far it has come")
    parser.add_argument("--report", type=Path, help="a page to which the figures are added")
    parser.add_argument("--seed", type=int, help="replays one, and prints what happens")
    parser.add_argument("--shrink", action="store_true", help="finds less that fails alike")
    parser.add_argument("--turns", type=int, help="replays so many turns instead of steps")
    parser.add_argument("--skip", default="", help="turns that are left out, like 3-17,40")
    parser.add_argument(
        "--without", default="", help="hosts, features, faults and calls, like n1,schedules,crash"
    )
    arguments = parser.parse_args()
    # What nodes warn of is what is done to them here.
    logging.disable(logging.CRITICAL)
    if arguments.seed is None:
        campaign = Campaign(
            first=arguments.first,
            count=arguments.seeds,
            steps=arguments.steps,
            jobs=arguments.jobs,
            minutes=arguments.minutes,
            resume=arguments.resume,
        )
        campaign.run()
        if arguments.report is not None:
            add_to(arguments.report, campaign, jobs=arguments.jobs)
        return 1 if campaign.failed or (campaign.is_long and campaign.short()) else 0
    without = tuple(filter(None, arguments.without.split(",")))
    if arguments.shrink:
        return 1 if shrink(arguments.seed, arguments.steps, print) else 0
    simulation = Simulation(arguments.seed, without=without, tell=print)
    played = simulation.play(
        arguments.steps, turns=arguments.turns, skipped=turns_of(arguments.skip)
    )
    for finding in played.findings:
        print(f"{finding.rule} at {finding.at}: {finding.text}")
    return 1 if played.findings else 0


sys.exit(main())
