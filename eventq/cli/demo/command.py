"""``eventq demo``: makes a task for each file of a tree, runs what comes of them, sums up the log.

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
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import click
import msgspec

from eventq import ArgumentError, Queue, Stats
from eventq.cli.demo.files import (
    DemoFile,
    FileHandler,
    choose_broken,
    key_of,
    quoted,
    scan,
    specs_of,
)
from eventq.cli.demo.handlers import LANES, FlakyDisk, demo_handlers
from eventq.cli.demo.screen import Screen
from eventq.cli.demo.summary import read_story, summary_lines
from eventq.cli.ending import EXIT_INTERRUPTED, refuse
from eventq.cli.logs import log_to_stderr
from eventq.cli.output import flush, is_terminal, note, say, say_json
from eventq.cli.place import Place, placed_by
from eventq.cli.supervise.background import BackgroundRun, stopping
from eventq.cli.text import visible
from eventq.core.durations import SECOND_US, parse_duration

DEMO_URL = "sqlite:///eventq-demo.db"
DEMO_NAMESPACE = "demo"
# Short, so that a killed demo resumes soon.
LEASE_TTL = "5s"
GRACE = "10s"
KEYS_AT_ONCE = 500

FOREIGN = (
    "another process holds leases: it works here too, or has died, and then they lapse "
    "within seconds"
)
STOPPING = "stopping when what runs is done; Ctrl-C again to give it back"


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
@click.option(
    "--workers", type=click.IntRange(1, 10_000), metavar="N", help="Files at a time, in each lane."
)
@click.option("--limit-files", type=click.IntRange(1), metavar="N", help="Only the first N files.")
@click.option("--seed", type=int, default=1, help="Settles what fails.")
@click.option(
    "--fail-share",
    type=click.FloatRange(0, 1),
    default=0.05,
    help="Share of attempts that fail as on a flaky disk; at most three a task.",
)
@click.option(
    "--pace",
    metavar="DURATION",
    default="0s",
    show_default=False,
    help="Pause before each 256 KiB of a file, like 20ms, to have time to look.",
)
@placed_by(
    url_help=f"Where the log is; EVENTQ_URL is not asked. [default: {DEMO_URL}]",
    namespace_help=f"Queue within the log. [default: {DEMO_NAMESPACE}]",
    url=DEMO_URL,
    namespace=DEMO_NAMESPACE,
)
def demo(
    *,
    place: Place,
    directory: str | None,
    workers: int | None,
    limit_files: int | None,
    seed: int,
    fail_share: float,
    pace: str,
) -> None:
    """Read all files under DIR (the Python standard library) as tasks, with failures on the way.

    Each file is a task of the handler `hash`, in the lane `disk`; with its completion that makes
    one of `compress`, in the lane `cpu`. Priorities go by size: tiny files (under 4 KiB) 30, small
    ones (64 KiB) 20, medium ones (1 MiB) 10, large ones 0. One file never succeeds and expires
    after its retries. Stop it with Ctrl-C, or kill it, and run it again: it goes on where it was.
    """
    root = os.path.realpath(directory or sysconfig.get_path("stdlib"))
    pace_s = parse_duration(pace, "pace") / SECOND_US
    if not 0 <= fail_share <= 1:
        # Not a number is in no range, which click does not see.
        raise ArgumentError("fail_share", fail_share, "a number from 0 to 1")
    if place.url.startswith("memory:"):
        raise ArgumentError(
            "url", place.url, "a log that outlives the demo, like sqlite:///demo.db"
        )
    # The screen and the summary show which attempts failed.
    log_to_stderr(verbose=False, attempts="none")
    # Installed packages are not part of the library.
    packages = None if directory else os.path.join(root, "site-packages")  # noqa: PTH118
    files = _find_files(root, place.url, without=packages, limit=limit_files)
    handlers, first = demo_handlers(FlakyDisk(seed, fail_share, pace_s))
    with Queue(place.url, namespace=place.namespace, workers=workers, handlers=[handlers]) as queue:
        _refuse_others(queue, root)
        try:
            tell = note if place.as_json else _say_now
            _create_tasks(queue, first, root, files, seed=seed, tell=tell)
            done_before = _done_count(queue.stats())
            begun_s = time.monotonic()
            stopped = _work(queue, root, as_json=place.as_json)
            elapsed_s = time.monotonic() - begun_s
        except KeyboardInterrupt:
            # Signals are only handled once the tasks are created.
            _say_interrupted(queue)
        stats = queue.stats()
        if stopped and stats.open:
            _say_interrupted(queue)
        done_count = _done_count(stats) - done_before
        _summarize(queue, done_count=done_count, elapsed_s=elapsed_s, as_json=place.as_json)


def _find_files(root: str, url: str, *, without: str | None, limit: int | None) -> list[DemoFile]:
    """The files to read: all but the path ``without`` and the demo's own database."""
    own = _database(url)

    def left_out(path: str) -> bool:
        return path == without or (own is not None and (path == own or path.startswith(f"{own}-")))

    files, unread = scan(root, without=left_out, limit=limit)
    for path in unread:
        note(f"cannot read the directory {path}")
    if not files:
        refuse(f"there are no regular files under {root}")
    return files


def _refuse_others(queue: Queue, root: str) -> None:
    """The log must be empty, or hold the demo of the same tree."""
    first = next(iter(queue.events()), None)
    if first is None:
        return
    there = msgspec.json.decode(getattr(first.body, "tags", b"{}")).get("root")
    where = f"namespace {queue.namespace} of {queue.url}"
    if there is None:
        refuse(f"{where} holds tasks that are not the demo's; choose another --namespace or --url")
    if there != quoted(root):
        refuse(f"{where} holds the demo of {there}; choose another --namespace or --url")


def _create_tasks(
    queue: Queue,
    first: FileHandler,
    root: str,
    files: list[DemoFile],
    *,
    seed: int,
    tell: Callable[[str], None],
) -> None:
    """Creates tasks for the files that have none; those of an earlier run are kept."""
    keys = [key_of(first.name, file.path) for file in files]
    taken: set[str] = set()
    for start in range(0, len(keys), KEYS_AT_ONCE):
        taken.update(queue.log.find_keys(keys[start : start + KEYS_AT_ONCE]))
    fresh = [file for file, key in zip(files, keys, strict=True) if key not in taken]
    # The broken one is in the first commit, so if anything is there, it is there.
    broken = choose_broken(seed, files) if not taken else None
    queue.new_many(specs_of(first, root, fresh, broken=broken))
    tell(f"demo: {len(files):,} files under {visible(root)}")
    tell(f"demo: {len(fresh):,} tasks created, {len(taken):,} were there already")
    tell(f"demo: database {_shown_database(queue.url)}, namespace {queue.namespace}")
    if broken is not None:
        tell(f"demo: seed {seed} has chosen {visible(broken.path)} never to succeed")


def _work(queue: Queue, root: str, *, as_json: bool) -> bool:
    """Runs everything; returns whether it was asked to stop."""
    # Leases that exist now belong to another process, alive or dead.
    others = set(queue.stats().nodes)
    lanes = dict.fromkeys(LANES, queue.workers)
    run = BackgroundRun(queue, None, lanes=lanes, until="idle", grace=GRACE, lease_ttl=LEASE_TTL)
    stream, live = sys.stderr if as_json else sys.stdout, is_terminal() and not as_json
    with stopping(run), Screen(root, queue, stream, live=live) as screen:

        def show() -> None:
            stats = queue.stats()
            foreign = not others.isdisjoint(stats.nodes)
            screen.show(stats, [FOREIGN] * foreign + [STOPPING] * run.asked)

        # Before anything changes, so that leases of a killed process are still reported.
        show()
        run.start()
        while not run.wait(screen.every_s):
            show()
        show()
        run.result()
    return run.asked


def _done_count(stats: Stats) -> int:
    return stats.total - stats.open


def _say_interrupted(queue: Queue) -> NoReturn:
    stats = queue.stats()
    note(f"stopped: {_done_count(stats):,} of {stats.total:,} done; to go on, run it again:")
    note(f"  {shlex.join([*_program(), *sys.argv[1:]])}")
    raise click.exceptions.Exit(EXIT_INTERRUPTED)


def _summarize(queue: Queue, *, done_count: int, elapsed_s: float, as_json: bool) -> None:
    story = read_story(queue, done_count=done_count, elapsed_s=elapsed_s)
    if as_json:
        say_json(story.numbers)
        return
    columns = shutil.get_terminal_size().columns if is_terminal() else None
    bold = str if columns is None else functools.partial(click.style, bold=True)
    lines = summary_lines(queue, story, bold=bold, columns=columns)
    database = f"Database: {_shown_database(queue.url)}"
    for line in ["", *lines, "", database, bold("Try next:")]:
        say(line)
    shown = (story.retried or (story.slowest or story.tasks)[0]).key
    place = ["--url", queue.url, "--namespace", queue.namespace]
    for words in (
        ["history", shown],
        ["ls", "--state", "expired"],
        ["tail", "-n", "20"],
    ):
        say(f"  {shlex.join([*_program(), *place, *words])}")


def _say_now(line: str) -> None:
    say(line)
    flush()


def _database(url: str) -> str | None:
    """The database's file, if the URL names one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # What is no URL names none; whoever opens it says so.
        return None
    return os.path.realpath(unquote(parts.path[1:])) if parts.scheme == "sqlite" else None


def _shown_database(url: str) -> str:
    return visible(_database(url) or url)


def _program() -> list[str]:
    """The words that started this command."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return [sys.orig_argv[0], "-m", "eventq"]
    found = shutil.which(started.name)
    is_found = found is not None and Path(found).resolve() == started.resolve()
    return [started.name if is_found else sys.argv[0]]
