"""``python -m tools.hostile``: hostile values against the library, the commands and the console.

One round hands one value to one argument, option, path, query or form; ``--only`` one of the three.
All must end with an error of eventq, one line and an exit code, or an answer that is no server's
error; afterwards the log is verified. For example::

    nice python -m tools.hostile --resume hostile.json --report docs/explanation/reliability.md
    python -m tools.hostile --only pages --round 42
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
from collections import Counter

from tools.hostile import Api, Commands, Pages
from tools.places import own_folder
from tools.rounds import INTERRUPTED, Rounds, end_at_sigterm, make_parser, run_asked

PARTS: dict[str, type[Api | Commands | Pages]] = {"api": Api, "commands": Commands, "pages": Pages}
# A round takes a fraction of a second.
HANGS_S = 120.0
# How often the log is verified, in rounds.
VERIFIED = 1_000


def main() -> int:
    """Plays the rounds; 1 if any failed."""
    parser = make_parser("tools.hostile", __doc__, rounds=10**9)
    parser.add_argument("--only", choices=PARTS, help="one of them; by default one after the other")
    arguments = parser.parse_args()
    end_at_sigterm()
    # What eventq warns of is what is done to it here.
    logging.disable(logging.CRITICAL)
    worst = 0
    for name in [arguments.only] if arguments.only else PARTS:
        worst = max(worst, _run(name, arguments))
        if worst == INTERRUPTED:
            break
    return worst


def _run(name: str, arguments: argparse.Namespace) -> int:
    with own_folder("eventq-hostile") as folder:
        # Names that are taken for files make them here.
        os.chdir(folder)
        matrix = PARTS[name](folder)

        def play(number: int) -> Counter[str]:
            faulthandler.dump_traceback_later(HANGS_S, exit=True)
            try:
                outcome = matrix.play(number)
                if number % VERIFIED == VERIFIED - 1:
                    matrix.check()
                return outcome
            finally:
                faulthandler.cancel_dump_traceback_later()

        given = argparse.Namespace(**vars(arguments))
        if arguments.resume is not None:
            given.resume = arguments.resume.with_name(f"{name}-{arguments.resume.name}")
        rounds = Rounds(f"Hostile values, {name}", play, most=len(matrix.cases))
        code = run_asked(rounds, given, play)
        matrix.close()
        os.chdir("/")
        return code


if __name__ == "__main__":
    sys.exit(main())
