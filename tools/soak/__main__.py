"""``python -m tools.soak``: 2,000,000 tasks through four processes, in rounds of 250,000.

Tasks fail, are cancelled and given up, events are archived and cut, one process is replaced again
and again, and now and then somebody reads the file for seconds on end. The other three live as long
as the round: their memory, threads and open files must stay as they are, the WAL and the followers'
lag bounded; at the end all tasks must be there and done. For example::

    nice python -m tools.soak --resume soak.json --report docs/explanation/reliability.md
    python -m tools.soak --rounds 1 --minutes 3
"""

from __future__ import annotations

import sys
from functools import partial

from tools.rounds import Rounds, at_least_one, begin, make_parser, run_asked
from tools.soak.playing import TASKS_A_ROUND, play

ROUNDS = 8


def main() -> int:
    """Plays the rounds; 1 if any failed."""
    parser = make_parser("tools.soak", __doc__, rounds=ROUNDS)
    parser.add_argument("--tasks", type=at_least_one, default=TASKS_A_ROUND, help="of a round")
    asked = begin(parser)
    one = partial(play, tasks=asked.tasks, minutes=asked.minutes)
    return run_asked(Rounds("Soak", one), asked)


if __name__ == "__main__":
    sys.exit(main())
