"""``rerun``: runs recorded attempts again, to try a fix.

Nothing here appends to the log it reads.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

import click

from eventq import Handlers, Queue
from eventq.cli.ending import end_with_finding, misuse
from eventq.cli.logs import log_to_stderr
from eventq.cli.output import flush, is_terminal, note, say_json, say_list, say_record
from eventq.cli.place import Place, placed, point_of
from eventq.cli.target import load_work
from eventq.cli.views.sandbox import RERUNS, rerun_pairs
from eventq.cli.words import (
    STATES,
    limit_option,
    point_option,
    state_option,
    tags_option,
    verbose_option,
)
from eventq.eventlog import EventLog
from eventq.replay.points import END, Point
from eventq.sandbox import Rerun, attempted_keys
from eventq.sandbox import rerun as run_again

SAME = "same"


@click.command(
    epilog="""\b
Examples:
  eventq rerun 1042 --worker jobs:work
  eventq rerun 1042 --worker jobs:queue --attempt 1 --pdb
  eventq rerun --all --state expired --tag kind=video --worker jobs:work --json"""
)
@click.argument("key", required=False)
@click.option(
    "--worker",
    "target",
    required=True,
    metavar="MODULE:NAME",
    help="What to call: a function of (ctx, task), or a queue or eventq.Handlers, whose handler of "
    "the task's name it is then.",
)
@click.option(
    "--attempt", type=click.IntRange(1), metavar="N", help="Which attempt. [default: the last]"
)
@point_option("--at", text="As things stood at this point.", default=END)
@click.option("--pdb", is_flag=True, help="Open the debugger where the worker raised.")
@click.option("--all", "every", is_flag=True, help="The last attempt of many tasks, newest first.")
@state_option(STATES, "With --all: only of tasks in this state; may come several times.")
@tags_option("With --all: only of tasks with this tag.")
@click.option(
    "--limit",
    type=limit_option,
    metavar="N",
    help="With --all: at most so many; none for no limit.  [default: 100]",
)
@verbose_option
@placed
def rerun(
    *,
    place: Place,
    key: str | None,
    target: str,
    attempt: int | None,
    at: str,
    pdb: bool,
    every: bool,
    states: tuple[str, ...],
    tags: dict[str, Any],
    limit: int | None,
    verbose: bool,
) -> None:
    """Run a recorded attempt again, here, and compare its outcome with the recorded one.

    The worker is called with the task as it was leased then; the queue is only read. What the
    worker does to the rest of the world, it does again. Exit codes: 0 when every outcome is the
    recorded one, 1 otherwise.
    """
    if every and key is not None:
        misuse("either a KEY or --all, not both")
    if every and attempt is not None:
        misuse("--attempt is for one KEY; --all takes the last attempt of each task")
    if every and pdb:
        misuse("--pdb is for one KEY, not for --all")
    if not every and key is None:
        misuse("expected a KEY, or --all")
    if not every and (states or tags or limit is not None):
        misuse("--state, --tag and --limit go with --all")
    if pdb and not (is_terminal(sys.stdin) and is_terminal()):
        misuse("--pdb needs a terminal to debug on")
    worker = load_work(target)
    log_to_stderr(verbose=verbose)
    with place.open_log() as log:
        point = point_of(log, at, "--at")
        if key is None:
            limit = 100 if limit is None else limit
            handlers = worker.handlers if isinstance(worker, Queue) else worker
            names = None if callable(handlers) else {handler.name for handler in handlers}
            keys = attempted_keys(
                log,
                state=states or None,
                tags=tags or None,
                names=names,
                limit=limit + 1,
                at=point,
            )
            same = _rerun_all(place, log, worker, keys, point, limit=limit)
        else:
            on_error = _debug if pdb else None
            with _worker_output(place):
                one = run_again(log, key, worker, attempt=attempt, at=point, on_error=on_error)
            say_record(one, rerun_pairs, as_json=place.as_json)
            same = one.verdict == SAME
    if not same:
        end_with_finding()


def _rerun_all(
    place: Place,
    log: EventLog,
    worker: Queue | Handlers | Callable[..., Any],
    keys: list[str],
    point: Point,
    *,
    limit: int,
) -> bool:
    """Runs them one after the other; returns whether all outcomes are the same."""
    if not keys:
        note("no such tasks have been leased")
        return True
    done: list[Rerun] = []
    try:
        for key in keys[:limit]:
            with _worker_output(place):
                one = run_again(log, key, worker, at=point)
            done.append(one)
            if place.as_json:
                say_json(one)
                flush()
    finally:
        # Also after Ctrl-C: show what has been run.
        if not place.as_json and done:
            say_list(done, RERUNS, as_json=False)
        counts = Counter(one.verdict for one in done)
        shares = [f"{n} {what}" for what, n in counts.items()] or ["no attempt has ended"]
        note(f"{len(done)} run again: {', '.join(shares)}")
    if len(keys) > limit:
        note(f"there are more than {limit}; see --limit")
    return set(counts) == {SAME}


@contextmanager
def _worker_output(place: Place) -> Iterator[None]:
    """Sends what the worker prints to standard error, where a program reads the answer."""
    aside = place.as_json or not is_terminal()
    with redirect_stdout(sys.stderr) if aside else nullcontext():
        yield


def _debug(error: BaseException) -> None:
    import pdb  # noqa: PLC0415, T100 - asked for with --pdb

    pdb.post_mortem(error.__traceback__)
