"""``python -m tools.damage``: 1,000 bytes flipped and 500 files cut off, one harm a round.

Each round harms a fresh copy of one file: a database, a WAL, a snapshot, a catalog, an archive, a
file of lines. What eventq then says must be the same log, a beginning of it that folds and
verifies, or an error of its own; a round in which it hangs ends the whole with a traceback.
For example::

    nice python -m tools.damage --resume damage.json --report docs/explanation/reliability.md
    python -m tools.damage --round 42
"""

from __future__ import annotations

import faulthandler
import logging
import sys
from collections import Counter

from tools.damage import Scene, play
from tools.places import own_folder
from tools.rounds import Rounds, end_at_sigterm, make_parser, run_asked

ROUNDS = 1_500
# A round takes a fraction of a second.
HANGS_S = 120.0


def main() -> int:
    """Plays the rounds; 1 if any failed."""
    parser = make_parser("tools.damage", __doc__, rounds=ROUNDS)
    arguments = parser.parse_args()
    end_at_sigterm()
    # What eventq warns of is what is done to it here.
    logging.disable(logging.CRITICAL)
    with own_folder("eventq-damage") as folder:
        scene = Scene(folder)

        def watched(number: int) -> Counter[str]:
            faulthandler.dump_traceback_later(HANGS_S, exit=True)
            try:
                return Counter([play(scene, number)])
            finally:
                faulthandler.cancel_dump_traceback_later()

        return run_asked(Rounds("Damage", watched), arguments, watched)


if __name__ == "__main__":
    sys.exit(main())
