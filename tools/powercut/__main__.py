"""``python -m tools.powercut``: 50,000 cuts of the power, in rounds of 500, none of which may lose.

Each round records what a run of eventq does to its files, and replays the record up to random
moments. What was synced is there then; of the rest any sectors may be, torn and in another order,
and any names that were made or deleted last. In one of five cuts the process was killed before, and
another had read what was left of its work. eventq opens what is left: it must be whole, a
beginning of what there was with all that anybody was told of, sealed, and ready for new tasks.

With ``--synchronous NORMAL`` or ``OFF`` each round must lose something, or these cuts prove
nothing. For example::

    nice python -m tools.powercut --resume cuts.json --report docs/explanation/reliability.md
    python -m tools.powercut --synchronous OFF --rounds 2
    python -m tools.powercut --witness
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tools.powercut import CUTS_A_ROUND, LEVELS, play
from tools.powercut.witness import can_trace, compare
from tools.rounds import Rounds, at_least_one, begin, make_parser, run_asked

ROUNDS = 100


def main() -> int:
    """Plays the rounds; 1 if any failed."""
    parser = make_parser("tools.powercut", __doc__, rounds=ROUNDS)
    parser.add_argument("--cuts", type=at_least_one, default=CUTS_A_ROUND, help="of a round")
    parser.add_argument("--synchronous", choices=LEVELS, default="FULL", help="how SQLite syncs")
    parser.add_argument("--keep", type=Path, help="a folder for what has failed")
    parser.add_argument(
        "--witness", action="store_true", help="compares a record with a trace by strace"
    )
    asked = begin(parser)
    level = asked.synchronous
    if asked.witness and not can_trace():
        parser.error("--witness needs the program strace, and leave to trace")
    if asked.witness:
        print(compare(level))
        return 0
    one = partial(play, level=level, cuts=asked.cuts, keep=asked.keep)
    return run_asked(Rounds(f"Power cuts, synchronous={level}", one), asked)


if __name__ == "__main__":
    sys.exit(main())
