"""``eventq demo``: makes a task for each file of a tree, runs them all, and sums up the log.

It only reads the files, and never touches another queue.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import click
import msgspec
from msgspec import Struct

from eventq import ArgumentError, Queue
from eventq.cli.demo.files import (
    Board,
    DemoFile,
    DiskWorker,
    choose_broken,
    key_of,
    scan,
    specs_of,
    storable,
)
from eventq.cli.demo.screen import DemoProgress, Rate, Screen
from eventq.cli.demo.summary import read_story, summarize, summary_lines
from eventq.cli.logs import log_to_stderr
from eventq.cli.options import Place, placed_by, refuse
from eventq.cli.output import flush, is_terminal, note, say, say_json
from eventq.cli.supervise.background import BackgroundRun, stopping
from eventq.cli.text import visible
from eventq.core.durations import SECOND_US, parse_duration
from eventq.eventlog import open_log

DEMO_URL = "sqlite:///eventq-demo.db"
DEMO_NAMESPACE = "demo"
# Short, so that retries can be seen and a killed demo resumes soon.
BACKOFF = "0.2s"
MAX_RETRIES = 5
LEASE_TTL = "5s"
GRACE = "10s"
KEYS_AT_ONCE = 500
EXIT_INTERRUPTED = 130


class DemoOptions(Struct, frozen=True):
    """The options of one call."""

    root: str
    url: str
    namespace: str
    as_json: bool
    workers: int | None
    limit_files: int | None
    seed: int
    fail_share: float
    pace_s: float


@click.command(
    epilog="""\b
Examples:
  eventq demo
  eventq demo ~/src --workers 8 --pace 20ms
  eventq demo --limit-files 200 --seed 7 --fail-share 0.3"""
)
@click.argument(
    "directory",
    required=False,
    type=click.Path(exists=True, file_okay=False, readable=True),
    metavar="[DIR]",
)
@click.option("--workers", type=click.IntRange(1, 10_000), metavar="N", help="Files at a time.")
@click.option("--limit-files", type=click.IntRange(1), metavar="N", help="Only the first N files.")
@click.option("--seed", type=int, default=1, show_default=True, help="Settles what fails.")
@click.option(
    "--fail-share",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of attempts that fail as on a flaky disk; at most three a file.",
)
@click.option(
    "--pace",
    metavar="DURATION",
    default="0s",
    help="Spend at least this long on a file, like 20ms, to have time to look.",
)
@placed_by(
    url_help=f"Where the log is; EVENTQ_URL is not asked. [default: {DEMO_URL}]",
    namespace_help=f"Queue within the log. [default: {DEMO_NAMESPACE}]",
)
def demo(*, place: Place, directory: str | None, pace: str, **options: Any) -> None:  # noqa: ANN401
    """Read all files under DIR (the Python standard library) as tasks, with failures on the way.

    Each file is a task: its SHA-256 and compression ratio become the result. Priorities go by
    size: tiny files (under 4 KiB) 30, small ones (64 KiB) 20, medium ones (1 MiB) 10, large ones 0.
    One file never succeeds and expires after its retries. Stop it with Ctrl-C, or kill it, and run
    it again: it goes on where it was.
    """
    chosen = DemoOptions(
        root=os.path.realpath(_library() if directory is None else directory),
        url=DEMO_URL if place.url is None else place.url,
        namespace=DEMO_NAMESPACE if place.namespace is None else place.namespace,
        as_json=place.as_json,
        pace_s=parse_duration(pace, "pace") / SECOND_US,
        **options,
    )
    if not 0 <= chosen.fail_share <= 1:
        # Not a number is in no range, which click does not see.
        raise ArgumentError("fail_share", chosen.fail_share, "a number from 0 to 1")
    if chosen.url.startswith("memory:"):
        raise ArgumentError(
            "url", chosen.url, "a log that outlives the demo, like sqlite:///demo.db"
        )
    # The screen and the summary show which attempts failed.
    log_to_stderr(verbose=False, attempts="none")
    files = _find_files(chosen, is_library=directory is None)
    with Queue(
        chosen.url,
        namespace=chosen.namespace,
        workers=chosen.workers,
        max_retries=MAX_RETRIES,
        backoff=BACKOFF,
    ) as queue:
        _refuse_others(queue, chosen)
        try:
            _create_tasks(queue, chosen, files)
            before = queue.stats()
            begun_s = time.monotonic()
            stopped = _work(queue, chosen)
            elapsed_s = time.monotonic() - begun_s
        except KeyboardInterrupt:
            # Signals are only handled once the tasks are created.
            _say_interrupted(queue)
        if stopped and queue.stats().open:
            _say_interrupted(queue)
        done_count = before.open - queue.stats().open
        _summarize(queue, chosen, done_count=done_count, elapsed_s=elapsed_s)


def _find_files(options: DemoOptions, *, is_library: bool) -> list[DemoFile]:
    is_own = _own_files(options.url)
    # Installed packages are not part of the library.
    packages = os.path.join(options.root, "site-packages") if is_library else None  # noqa: PTH118

    def without(path: str) -> bool:
        return path == packages or is_own(path)

    files, unread = scan(options.root, without=without, limit=options.limit_files)
    for path in unread:
        note(f"cannot read the directory {path}")
    if not files:
        refuse(f"there are no regular files under {options.root}")
    return files


def _own_files(url: str) -> Callable[[str], bool]:
    """A test for the files of the demo's own database."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite":
        return lambda _: False
    own = os.path.realpath(unquote(parts.path[1:]))
    return lambda path: path == own or path.startswith(f"{own}-")


def _refuse_others(queue: Queue, options: DemoOptions) -> None:
    """The log must be empty, or hold the demo of the same tree."""
    first = next(iter(queue.events()), None)
    if first is None:
        return
    tags = getattr(first.body, "tags", b"{}")
    root = msgspec.json.decode(tags).get("root")
    where = f"namespace {queue.namespace} of {queue.url}"
    if root is None:
        refuse(f"{where} holds tasks that are not the demo's; choose another --namespace or --url")
    if root != storable(options.root):
        refuse(f"{where} holds the demo of {root}; choose another --namespace or --url")


def _create_tasks(queue: Queue, options: DemoOptions, files: list[DemoFile]) -> None:
    """Creates tasks for the files that have none; those of an earlier run are kept."""
    taken = _taken_keys(queue, [key_of(file.path) for file in files])
    fresh = [file for file in files if key_of(file.path) not in taken]
    # The broken one is in the first commit, so if anything is there, it is there.
    broken = choose_broken(options.seed, files) if not taken else None
    queue.new_many(specs_of(options.root, fresh, broken=broken))
    _tell(options, f"demo: {len(files):,} files under {visible(options.root)}")
    _tell(options, f"demo: {len(fresh):,} tasks created, {len(taken):,} were there already")
    _tell(options, f"demo: database {_database(queue.url)}, namespace {queue.namespace}")
    if broken is not None:
        _tell(
            options, f"demo: seed {options.seed} has chosen {visible(broken.path)} never to succeed"
        )


def _taken_keys(queue: Queue, keys: list[str]) -> set[str]:
    taken: set[str] = set()
    with closing(open_log(queue.url, namespace=queue.namespace, create=False)) as log:
        for start in range(0, len(keys), KEYS_AT_ONCE):
            taken.update(log.find_keys(keys[start : start + KEYS_AT_ONCE]))
    return taken


def _work(queue: Queue, options: DemoOptions) -> bool:
    """Runs everything; returns whether it was asked to stop."""
    board = Board()
    worker = DiskWorker(
        options.root, board, seed=options.seed, fail_share=options.fail_share, pace_s=options.pace_s
    )
    # Leases that exist now belong to another process, alive or dead.
    before = queue.stats()
    others = set(before.nodes)
    run = BackgroundRun(queue, worker, until="idle", grace=GRACE, lease_ttl=LEASE_TTL)
    rate = Rate()
    begun_s = time.monotonic()
    rate.measure(begun_s, before.total - before.open)

    def look() -> DemoProgress:
        stats = queue.stats()
        now_s = time.monotonic()
        running, failures = board.seen()
        return DemoProgress(
            stats=stats,
            elapsed_s=now_s - begun_s,
            rate=rate.measure(now_s, stats.total - stats.open),
            running=running,
            failures=failures,
            foreign=not others.isdisjoint(stats.nodes),
            stopping=run.asked,
        )

    live = is_terminal() and not options.as_json
    stream = sys.stderr if options.as_json else sys.stdout
    with stopping(run), Screen(options.root, stream, live=live) as screen:
        # Before anything changes, so that leases of a killed process are still reported.
        screen.show(look())
        run.start()
        while not run.wait(screen.every_s):
            screen.show(look())
        screen.show(look())
        run.result()
    return run.asked


def _say_interrupted(queue: Queue) -> NoReturn:
    stats = queue.stats()
    note(f"stopped: {stats.total - stats.open:,} of {stats.total:,} done; to go on, run it again:")
    note(f"  {shlex.join([*_program(), *sys.argv[1:]])}")
    raise click.exceptions.Exit(EXIT_INTERRUPTED)


def _summarize(queue: Queue, options: DemoOptions, *, done_count: int, elapsed_s: float) -> None:
    story = read_story(queue)
    summary = summarize(queue, story, done_count=done_count, elapsed_s=elapsed_s)
    if options.as_json:
        say_json(summary)
        return
    columns = shutil.get_terminal_size().columns if is_terminal() else None
    bold = str if columns is None else functools.partial(click.style, bold=True)
    lines = summary_lines(queue, story, summary, bold=bold, columns=columns)
    for line in ["", *lines, "", f"Database: {_database(queue.url)}", bold("Try next:")]:
        say(line)
    shown = (story.retried or (story.slowest or story.tasks)[0]).key
    place = ["--url", queue.url, "--namespace", queue.namespace]
    for words in (
        ["history", *(["--"] if shown.startswith("-") else []), shown],
        ["ls", "--state", "expired"],
        ["tail", "-n", "20"],
    ):
        say(f"  {shlex.join([*_program(), *place, *words])}")


def _tell(options: DemoOptions, line: str) -> None:
    """Prints a line about the start, on standard error when the answer is JSON."""
    if options.as_json:
        note(line)
    else:
        say(line)
        flush()


def _library() -> str:
    return sysconfig.get_path("stdlib")


def _database(url: str) -> str:
    parts = urlsplit(url)
    return (
        visible(str(Path(unquote(parts.path[1:])).resolve())) if parts.scheme == "sqlite" else url
    )


def _program() -> list[str]:
    """The words that started this command."""
    started = sys.argv[0]
    if Path(started).name == "__main__.py":
        return [sys.orig_argv[0], "-m", "eventq"]
    found = shutil.which(Path(started).name)
    if found is not None and Path(found).resolve() == Path(started).resolve():
        return [Path(started).name]
    return [started]
