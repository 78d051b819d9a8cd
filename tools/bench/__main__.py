"""How fast eventq is, held against the bare driver on the same machine: ``python -m tools.bench``.

R is the rate at which apsw alone puts ready-made event rows into a table (250 rows a statement,
1,000 a commit, WAL, synchronous=FULL); "bare" is the bare driver doing eventq's own inserts and
nothing else. Since machines are shared and noisy, a base is measured before and after what is held
against it, each sample is taken in a process of its own, and medians are shown. With another
checkout to compare with, samples of the two are taken in turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pymongo

from tools.bench.checkouts import HERE, Checkout, SampleFailed
from tools.bench.report import ON_MONGO, Report, Row
from tools.bench.sample import MEASURES
from tools.mongod import Missing, ReplicaSet

ROUNDS = 5


class Run:
    """One run of measures: its checkouts, its directory, and servers once one is needed."""

    def __init__(self, arguments: argparse.Namespace, path: Path, stack: ExitStack) -> None:
        self.checkouts: dict[str, Checkout] = {}
        self.machine = _machine()
        self._quick: bool = arguments.quick
        self._rounds: int = arguments.rounds or (1 if self._quick else ROUNDS)
        self._path = path
        self._stack = stack
        self._servers: ReplicaSet | None = None
        for side, source in (("now", HERE), ("before", arguments.against)):
            if source is not None:
                (path / side).mkdir()
                self.checkouts[side] = Checkout(source, path / side)
                self.machine[side] = self.checkouts[side].revision

    def measure(self, name: str) -> list[Row]:
        """The rows of one measure; one row with the reason where it could not be taken."""
        try:
            servers = self._url() if name.startswith(ON_MONGO) else None
        except Missing as reason:
            return [Row(name=name, measure=name, skipped=str(reason))]
        rows: dict[tuple[str, str], Row] = {}
        for number in range(self._rounds):
            # Whichever comes second finds a warmer machine, so they change places.
            for side in sorted(self.checkouts, reverse=number % 2 == 0):
                try:
                    sample = self.checkouts[side].sample(
                        name, self._path, quick=self._quick, servers=servers
                    )
                except SampleFailed as failure:
                    return [Row(name=name, measure=name, failures=[f"{side}: {failure}"])]
                if sample.skipped is not None:
                    return [Row(name=name, measure=name, skipped=sample.skipped)]
                for figure in sample.figures:
                    row = rows.setdefault(
                        (figure.measure, figure.unit),
                        Row(
                            name=name,
                            measure=figure.measure,
                            unit=figure.unit,
                            floor=figure.floor,
                            samples=[],
                            before=[],
                        ),
                    )
                    (row.samples if side == "now" else row.before).append(figure.value)
        return list(rows.values())

    def _url(self) -> str:
        """Of a replica set of one node, started when first asked for. Raises Missing."""
        if self._servers is None:
            self._servers = self._stack.enter_context(ReplicaSet(folder=self._path / "servers"))
            with self._servers.members[0].client() as client:
                self.machine["mongod"] = str(client.server_info()["version"])
        return self._servers.url("{}")


def main() -> int:
    """Measures what was asked for and prints it; 1 when a row is short of its floor."""
    arguments = _arguments()
    with ExitStack() as stack:
        directory = tempfile.TemporaryDirectory(prefix="eventq-bench-", dir=arguments.dir)
        run = Run(arguments, Path(stack.enter_context(directory)), stack)
        rows: list[Row] = []
        for name in arguments.only or MEASURES:
            print(f"measuring {name}", file=sys.stderr)
            rows += run.measure(name)
    report = Report(run.machine, rows)
    if arguments.json:
        arguments.json.write_bytes(report.to_json())
    report.show()
    return 1 if any(row.verdict == "short" for row in rows) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description=__doc__,
        epilog="The exit code is 1 when a row is short of what is wanted.",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=MEASURES,
        metavar="NAME",
        help=f"measure only these: {', '.join(MEASURES)}",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="CHECKOUT",
        help="another checkout of eventq, to compare with: its figures are those before",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help=f"samples of each ({ROUNDS})")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes and one round: shows that it works"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write one JSON object")
    parser.add_argument(
        "--dir",
        metavar="DIR",
        help="where to make the temporary directory for the databases, and so on which disk "
        "(the system's own choice may be a RAM disk, where a sync costs nothing)",
    )
    arguments = parser.parse_args()
    if arguments.against and not (arguments.against / "eventq" / "__init__.py").is_file():
        parser.error(f"--against {arguments.against}: there is no eventq in it")
    return arguments


def _machine() -> dict[str, str]:
    return {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "apsw": apsw.apsw_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "pymongo": pymongo.version,
        "measured": datetime.now(UTC).date().isoformat(),
    }


if __name__ == "__main__":
    sys.exit(main())
