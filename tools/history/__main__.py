"""``python -m tools.history URL``: judges a log, and the journals beside it; exits 1 if it finds.

For example::

    python -m tools.history sqlite:///tasks.db --clients run/clients --workers run/workers
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.history.checker import Checker
from tools.history.clients import judge_clients
from tools.history.journals import calls_of, read_folder
from tools.history.reading import NoHistoryError, read_log
from tools.history.workers import judge_workers


def main() -> int:
    """Prints what was found, and how much was looked at."""
    arguments = _arguments()
    checker = Checker(
        arguments.namespace, newer=arguments.newer, retries_by_policy=arguments.retries_by_policy
    )
    commits = 0
    try:
        for commit in read_log(arguments.url, arguments.namespace):
            commits += 1
            checker.add(commit, true_at=commit.at if arguments.one_clock else None)
    except NoHistoryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    drained_at = checker.chain.at if arguments.drained else None
    findings = checker.finish(drained_at=drained_at).copy()
    if arguments.clients is not None:
        findings += judge_clients(checker, calls_of(read_folder(arguments.clients)))
    if arguments.workers is not None:
        findings += judge_workers(checker, read_folder(arguments.workers))
    for finding in findings:
        print(finding)
    print(f"{len(checker.events)} events in {commits} commits, {len(findings)} findings")
    return 1 if findings else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.history", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--clients", type=Path, metavar="FOLDER", help="journals of clients")
    parser.add_argument("--workers", type=Path, metavar="FOLDER", help="journals of workers")
    parser.add_argument("--newer", nargs="*", default=(), metavar="VERSION")
    parser.add_argument("--one-clock", action="store_true", help="all nodes have one right clock")
    parser.add_argument("--retries-by-policy", action="store_true", help="see Checker")
    parser.add_argument("--drained", action="store_true", help="all is said to have been done")
    return parser.parse_args()


sys.exit(main())
