"""``python -m tools.damage``: 1,000 bytes flipped and 500 files cut off, one harm a round.

Each round harms a fresh copy of one file: a database, a WAL, a snapshot, a catalog, an archive, a
file of lines. What eventq then says must be the same log, a beginning of it that folds and
verifies, or an error of its own; a round in which it hangs ends the whole with a traceback.
For example::

    nice python -m tools.damage --resume damage.json --report docs/explanation/reliability.md
    python -m tools.damage --round 42
"""

from __future__ import annotations

import sys
from collections import Counter

from tools.damage import Scene, play
from tools.folders import own_folder
from tools.rounds import Rounds, begin, make_parser, run_asked, watched

ROUNDS = 1_500


def main() -> int:
    """Plays the rounds; 1 if any failed."""
    parser = make_parser("tools.damage", __doc__, rounds=ROUNDS)
    asked = begin(parser)
    with own_folder("eventq-damage") as folder:
        scene = Scene(folder)

        def one(number: int) -> Counter[str]:
            return Counter([play(scene, number)])

        return run_asked(Rounds("Damage", watched(one)), asked)


if __name__ == "__main__":
    sys.exit(main())
