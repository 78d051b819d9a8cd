"""How fast eventq is, held against the bare driver on the same machine: ``python -m tools.bench``.

Run it from the repository's root. R is the rate at which apsw alone puts ready-made event rows
into a table with the same columns and indexes (250 rows a statement, 1,000 a commit, WAL,
synchronous=FULL); "raw" is its rate of commits of one event row and nothing else. Since machines
are shared and noisy, a base is measured before and after each sample, and medians are shown.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import apsw

from tools.bench import folding, following, joining, rates, sharing, waiting
from tools.bench.bench import Bench
from tools.bench.report import Report, Row
from tools.mongod import ReplicaSet

MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "new_many": rates.new_many,
    "drain": rates.drain,
    "lone": rates.lone,
    "threads": rates.threads,
    "wake": waiting.wake,
    "follow": following.follow,
    "idle": waiting.idle,
    "replay": folding.replaying,
    "memory": folding.memory,
    "fair_drain": sharing.fair_drain,
    "fair_new": sharing.fair_new,
}
# With --mongo: on a throw-away replica set of one node.
MONGO_MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "drain": joining.drain,
    "producers": joining.producers,
    "nodes": joining.nodes,
    "fair_drain": sharing.fair_drain,
    "wake": waiting.wake_other,
    "follow": following.follow,
    "idle": waiting.idle,
}


def main() -> int:
    """Measures what was asked for and prints it; 1 when a row is short of its floor."""
    arguments = _arguments()
    measures = MONGO_MEASURES if arguments.mongo else MEASURES
    with ExitStack() as stack:
        directory = tempfile.TemporaryDirectory(prefix="eventq-bench-", dir=arguments.dir)
        path = Path(stack.enter_context(directory))
        servers = stack.enter_context(ReplicaSet(folder=path)) if arguments.mongo else None
        bench = Bench(path, quick=arguments.quick, servers=servers)
        rows: list[Row] = []
        for name in arguments.only or measures:
            print(f"measuring {name}", file=sys.stderr)
            rows += measures[name](bench)
    report = Report(_machine(bench), rows)
    if arguments.json:
        print(report.to_json())
    else:
        report.show()
    return 1 if any(row.verdict == "short" for row in rows) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description=__doc__,
        epilog="The exit code is 1 when a row is short of its floor.",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices={**MEASURES, **MONGO_MEASURES},
        metavar="NAME",
        help=f"measure only this (may be repeated): {', '.join(MEASURES)}; "
        f"with --mongo: {', '.join(MONGO_MEASURES)}",
    )
    parser.add_argument(
        "--mongo",
        action="store_true",
        help="measure the MongoDB log, on a replica set of one node that is started for it",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and few rounds: shows that it works"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    parser.add_argument(
        "--dir",
        metavar="DIR",
        help="where to make the temporary directory for the databases, and so on which disk "
        "(the system's own choice may be a RAM disk, where a sync costs nothing)",
    )
    arguments = parser.parse_args()
    for name in arguments.only or ():
        if name not in (MONGO_MEASURES if arguments.mongo else MEASURES):
            parser.error(
                f"--only {name}: not measured {'with' if arguments.mongo else 'without'} --mongo"
            )
    return arguments


def _machine(bench: Bench) -> dict[str, str]:
    machine = {
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if bench.raw_rate_seen is not None:
        machine["R"] = f"{bench.raw_rate_seen:,.0f} rows/s"
    return machine


if __name__ == "__main__":
    sys.exit(main())
