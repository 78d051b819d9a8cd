"""``python -m tools.fuzz``: each decoder of eventq is given a million inputs that nobody wrote.

A round is one decoder: events, snapshots, archives, expressions, URLs, cron texts, points in time
and more. It may return or raise an error of eventq, nothing else. With atheris installed (``pip
install atheris``) inputs are drawn by coverage and kept in ``--corpus``, else by hypothesis. With
``--minutes``, each decoder gets its share of them. For example::

    nice python -m tools.fuzz --resume fuzz.json --report docs/explanation/reliability.md
    python -m tools.fuzz --runs 1000000 --only cron
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tools.folders import own_folder
from tools.fuzz import DECODERS
from tools.fuzz.guided import is_guided
from tools.rounds import Rounds, at_least_one, begin, make_parser, run_asked

RUNS = 1_000_000
ROOT = Path(__file__).parent.parent.parent
DONE = re.compile(r"(?:runs: |stat::number_of_executed_units: +)(\d+)")


def main() -> int:
    """Fuzzes all, or one; 1 if anything was found."""
    parser = make_parser("tools.fuzz", __doc__, rounds=len(DECODERS))
    parser.add_argument(
        "--runs", type=at_least_one, default=RUNS, help="of each; default %(default)s"
    )
    parser.add_argument("--only", choices=DECODERS, help="this decoder alone")
    parser.add_argument("--corpus", type=Path, help="a folder to keep what was learned")
    asked = begin(parser)
    names = [asked.only] if asked.only else list(DECODERS)
    seconds = 0 if asked.minutes is None else max(1, int(60 * asked.minutes / len(names)))
    with own_folder("eventq-fuzz") as folder:
        corpus = (asked.corpus or folder).absolute()

        def play(number: int) -> Counter[str]:
            name = names[number]
            return Counter({f"runs: {name}": _fuzzed(name, asked.runs, seconds, corpus)})

        title = f"Fuzzing by {'atheris' if is_guided() else 'hypothesis'}"
        title += f", {asked.only}" if asked.only else ""
        return run_asked(Rounds(title, play, end=len(names)), asked)


def _fuzzed(name: str, runs: int, seconds: int, corpus: Path) -> int:
    """How many runs there were. Raises AssertionError with what the process said of a find."""
    words = [name, str(runs), str(seconds), str(corpus / name)]
    with own_folder("eventq-fuzz") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tools.fuzz.guided", *words],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{name}: {said[-5_000:]}"
    found = DONE.search(said)
    assert found is not None, f"{name}: it does not say how much it did: {said[-500:]}"
    return int(found[1])


if __name__ == "__main__":
    sys.exit(main())
