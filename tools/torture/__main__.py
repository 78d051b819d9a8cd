"""``python -m tools.torture``: 1,000 kills, in rounds of 50, and the history checker after each.

In each round callers that make and manage tasks, workers in threads, in an event loop and in
processes of their own, a relay and a console share one file, which eight of them make at once. One
after the other is killed, told to end, or stopped for longer than its leases; files beside the log
vanish. In each second round of three clocks jump. In each third one the disk is full now and then
(where a small one can be mounted), writes and syncs fail (where strace may inject that), and
processes run out of file descriptors. Callers fork with an open queue. In the end all must be done.
For example::

    nice python -m tools.torture --resume torture.json --report docs/explanation/reliability.md
    python -m tools.torture --rounds 3 --kills 10
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tools.rounds import Rounds, at_least_one, begin, make_parser, run_asked
from tools.torture.playing import KILLS_A_ROUND, play

ROUNDS = 20


def main() -> int:
    """Plays the rounds; 1 if any failed."""
    parser = make_parser("tools.torture", __doc__, rounds=ROUNDS)
    parser.add_argument("--kills", type=at_least_one, default=KILLS_A_ROUND, help="of a round")
    parser.add_argument("--keep", type=Path, help="a folder for what has failed")
    asked = begin(parser)
    one = partial(play, kills=asked.kills, keep=asked.keep)
    return run_asked(Rounds("Torture", one), asked)


if __name__ == "__main__":
    sys.exit(main())
