"""``python -m tools.rough``: plays it once, and prints what was found."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.rough.play import play

MOST_SAID = 5


def main() -> int:
    """Plays it, and prints what was found."""
    parser = argparse.ArgumentParser(prog="python -m tools.rough", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of calls")
    parser.add_argument("--most", type=float, default=60.0, help="in all, about")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rough-") as temporary:
        found = play(Path(temporary), seconds=arguments.seconds, most=arguments.most)
    for finding in found[:MOST_SAID]:
        print(f"    {finding.invariant} at {finding.seq or 0}: {finding.text}")
    if not found:
        print("nothing found")
    return 1 if found else 0


sys.exit(main())
