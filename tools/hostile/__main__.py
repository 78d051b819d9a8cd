"""``python -m tools.hostile``: hostile values against the library, the commands and the console.

One round hands one value to one argument, option, path, query or form; ``--only`` one of the three.
All must end with an error of eventq, one line and an exit code, or an answer that is no server's
error; afterwards the log is verified. For example::

    nice python -m tools.hostile --resume hostile.json --report docs/explanation/reliability.md
    python -m tools.hostile --only pages --round 42
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter

from tools.folders import own_folder
from tools.hostile import Api, Commands, Pages
from tools.rounds import INTERRUPTED, Rounds, begin, make_parser, run_asked, watched

MATRICES: dict[str, type[Api | Commands | Pages]] = {
    "api": Api,
    "commands": Commands,
    "pages": Pages,
}
# How often the log is verified, in rounds.
VERIFIED = 1_000


def main() -> int:
    """Plays the rounds; 1 if any failed."""
    parser = make_parser("tools.hostile", __doc__, rounds=10**9)
    parser.add_argument("--only", choices=MATRICES, help="one of them; default: each in turn")
    asked = begin(parser)
    worst = 0
    for name in [asked.only] if asked.only else MATRICES:
        worst = max(worst, _run(name, asked))
        if worst == INTERRUPTED:
            break
    return worst


def _run(name: str, asked: argparse.Namespace) -> int:
    with own_folder("eventq-hostile") as folder:
        # Names that are taken for files make them here.
        os.chdir(folder)
        matrix = MATRICES[name](folder)

        def play(number: int) -> Counter[str]:
            outcome = matrix.play(number)
            if number % VERIFIED == VERIFIED - 1:
                matrix.check()
            return outcome

        given = argparse.Namespace(**vars(asked))
        if asked.resume is not None:
            given.resume = asked.resume.with_name(f"{name}-{asked.resume.name}")
        rounds = Rounds(f"Hostile values, {name}", watched(play), end=len(matrix.cases))
        code = run_asked(rounds, given)
        matrix.close()
        os.chdir("/")
        return code


if __name__ == "__main__":
    sys.exit(main())
