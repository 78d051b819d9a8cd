"""``python -m tools.mutants``: plants one fault after the other, and says what finds it.

For example::

    python -m tools.mutants --resume mutants.json --report docs/explanation/planted-faults.md
    python -m tools.mutants --only limit-off-by-one --only key-twice-in-a-commit
"""

from __future__ import annotations

import argparse
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Lock

from tools.mutants.campaign import CONTROL, Result, hunt_one, load, save
from tools.mutants.faults import MUTANTS
from tools.mutants.report import write_report


def main() -> int:
    """Hunts them; returns 1 if one is found by nothing, or something where there is no fault."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    names = [CONTROL, *MUTANTS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME")
    parser.add_argument("--jobs", type=int, default=1, help="hunts at a time")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each, at the most")
    parser.add_argument("--report", type=Path, help="a page with a section of its own for it")
    parser.add_argument("--resume", type=Path, help="a file that keeps how far it has come")
    arguments = parser.parse_args()
    known = load(arguments.resume)
    wanted = [name for name in arguments.only or names if name not in known]
    lock = Lock()

    def hunt(name: str) -> None:
        result = hunt_one(name, MUTANTS.get(name), seconds=arguments.seconds)
        with lock:
            known[name] = result
            save(arguments.resume, known.values())
            print(line_of(result), flush=True)

    # A hunt waits for processes of its own.
    with ThreadPool(arguments.jobs) as pool:
        pool.map(hunt, wanted, chunksize=1)
    if arguments.report is not None:
        write_report(arguments.report, known)
    wrong = [name for name in known if (known[name].find is None) != (name == CONTROL)]
    for name in wrong:
        print(f"as it must not be: {line_of(known[name])}")
    return 1 if wrong else 0


def line_of(result: Result) -> str:
    """One line for people."""
    found = "nothing found"
    if result.find is not None:
        found = f"{result.find.hunter}: {result.find.invariant}: {result.find.text}"
    return f"{result.name} ({result.seconds:.0f} s): {found}"


sys.exit(main())
