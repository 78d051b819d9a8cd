"""``eventq run``: a worker or handlers from a module, in this process or in several, supervised."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click
import msgspec

from eventq import EventqError, Handlers, Queue, WorkersStuckError
from eventq.anchors.keeping import KEY_ENV, KeepAnchors
from eventq.cli.commands.anchor import keeping_options
from eventq.cli.ending import EXIT_FAILED, end_with_finding, misuse
from eventq.cli.logs import log_to_stderr
from eventq.cli.output import is_terminal, note, say, say_json
from eventq.cli.person import person
from eventq.cli.place import Place, given_place, note_if_empty, placed
from eventq.cli.supervise.background import BackgroundRun, on_asking, stopping
from eventq.cli.supervise.lifeline import READY, Lifeline
from eventq.cli.supervise.supervisor import STOPPING, Supervisor, child_command
from eventq.cli.target import load_work
from eventq.cli.words import verbose_option
from eventq.runner.runner import RunReport

# How long all workers of a process may be stuck before it is replaced.
MAX_STUCK = "5m"
# The options of `KeepAnchors` that are given here, behind "anchor_".
ANCHORING = ("every", "to_file", "to_command", "to_git", "stamp_url", "key_file")
# How long such a process may take to end before it is forced.
EXIT_S = 5.0


@click.command(
    epilog="""\b
Examples:
  eventq run jobs:work
  eventq run jobs:work --processes 4 --workers 8
  eventq run jobs:work --until-idle --json
  eventq run jobs:queue --lane heavy=1 --lane default=4
  eventq run jobs:queue --name 'mail.*' --health /tmp/eventq-health"""
)
@click.argument("target", metavar="MODULE:NAME")
@click.option(
    "--lane",
    "lanes",
    multiple=True,
    metavar="LANE[=N]",
    help="Only tasks of this lane, N of them at a time; may come several times.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only tasks of this name, or of names like 'mail.*'; may come several times.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Tasks at a time in a process. [default: one for each core it may use]",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 1_000),
    metavar="N",
    help="Run in N child processes; one that dies is started again. [default: in this one]",
)
@click.option(
    "--until-idle",
    is_flag=True,
    help="End when nothing is left to do; exit code 1 if tasks expired meanwhile.",
)
@click.option(
    "--grace",
    default="30s",
    metavar="DURATION",
    help="How long running tasks may go on after the first Ctrl-C or SIGTERM.",
)
@click.option(
    "--lease-ttl",
    default="30s",
    metavar="DURATION",
    help="Others take the tasks over when this process has been dead for so long.",
)
@click.option(
    "--max-stuck",
    metavar="DURATION",
    help="End, exit code 1, when all workers have ignored for so long that they should end. "
    f"With --processes: replace that process. [default: never; with --processes {MAX_STUCK}]",
)
@click.option(
    "--health",
    metavar="FILE",
    help="Write this file every few seconds, for `eventq health`; with --processes FILE.1 and "
    "so on.",
)
@click.option(
    "--anchor-every",
    default="1h",
    metavar="DURATION|N",
    help="How often, with one of the three below: 1h, or 10000events.",
)
@keeping_options("anchor-")
@click.option("--anchor-key-file", metavar="FILE", help=f"Its key; else that in {KEY_ENV}.")
@verbose_option
@click.option("--supervised-by", type=click.IntRange(0, 2**31 - 1), hidden=True)
@click.option("--with-place", is_flag=True, hidden=True)
@placed
def run(
    *,
    place: Place,
    target: str,
    workers: int | None,
    processes: int | None,
    supervised_by: int | None,
    with_place: bool,
    verbose: bool,
    lanes: tuple[str, ...],
    names: tuple[str, ...],
    health: str | None,
    **options: Any,  # noqa: ANN401 - the library checks them
) -> None:
    """Run the handlers of a queue, or call a function for each task, until Ctrl-C or SIGTERM.

    MODULE:NAME is a queue that the module opens, eventq.Handlers, or a function of (ctx, task),
    which is called for tasks without a name. The first signal lets running tasks finish, the second
    gives them back to be run by others. Attempts that fail are shown on standard error as they do.
    """
    anchoring = {name: options.pop(f"anchor_{name}") for name in ANCHORING}
    anchors = _keep_anchors(anchoring)
    if processes is not None:
        options["max_stuck"] = options["max_stuck"] or MAX_STUCK
        until_idle = options["until_idle"]
        is_placed = with_place or bool(given_place())
        options |= {"lane": lanes, "name": names, "with_place": is_placed}
        command = child_command(target, workers=workers, verbose=verbose, **options)
        once = [] if anchors is None else _anchor_words(anchoring)
        _supervise(place, command, once, count=processes, until_idle=until_idle, health=health)
        return
    lifeline = None if supervised_by is None else Lifeline(supervised_by)
    work = load_work(target)
    log_to_stderr(verbose=verbose, attempts="all")
    until_idle = options.pop("until_idle")
    options |= {"until": "idle" if until_idle else None, "health": health}
    options |= {"lanes": _slots_of(lanes), "names": names or None}
    with _opened(place, target, work, workers, with_place=with_place) as queue:
        queue.anchors = anchors or queue.anchors
        worker = None if isinstance(work, (Queue, Handlers)) else work
        background = BackgroundRun(queue, worker, **options)
        if lifeline is None:
            note_if_empty(queue.log)
            _say_report(place, _run_alone(queue, background), until_idle=until_idle)
        else:
            _run_supervised(background, lifeline)


def _opened(
    place: Place,
    target: str,
    work: Queue | Handlers | Callable[..., Any],
    workers: int | None,
    *,
    with_place: bool,
) -> Queue:
    """The queue to run: the module's own, or one at the place."""
    if not isinstance(work, Queue):
        handlers = [work] if isinstance(work, Handlers) else []
        return place.open(create=True, workers=workers, handlers=handlers)
    if with_place or given_place():
        given = ", ".join(given_place()) or "--url, --namespace or --archive"
        misuse(f"{target} is a queue, and its module says where: leave out {given}")
    if workers is not None:
        work.workers = workers
    return work


def _slots_of(words: tuple[str, ...]) -> list[str] | dict[str, int] | None:
    """Lanes, with a number of slots for each of them or for none."""
    if not words:
        return None
    slots = {}
    for word in words:
        lane, sign, count = word.rpartition("=")
        if sign and count.isascii() and count.isdigit():
            slots[lane] = int(count[:20])
    if slots and len(slots) != len(words):
        misuse("--lane takes LANE=N each time, or LANE alone each time, and each lane once")
    return slots or list(words)


def _run_alone(queue: Queue, background: BackgroundRun) -> RunReport:
    if is_terminal(sys.stderr):
        note(f"working on {queue.url}, {queue.workers} tasks at a time; Ctrl-C stops")
    with stopping(background):
        background.start()
        told = False
        while not background.wait(None):
            if background.asked and not told:
                told = True
                note(STOPPING)
        return background.result()


def _run_supervised(background: BackgroundRun, lifeline: Lifeline) -> None:
    """Runs as a child: only its supervisor may force it, since a signal may reach both."""
    with on_asking(background.ask):
        background.start()
        lifeline.watch(ask=background.ask, force=background.force)
        lifeline.tell(READY)
        while not background.wait(None):
            pass
        try:
            lifeline.tell(msgspec.json.encode(background.result()))
        except WorkersStuckError:
            # A thread pool of the worker's own is waited for at exit, perhaps for ever.
            threading.Timer(EXIT_S, os._exit, [EXIT_FAILED]).start()
            raise


def _keep_anchors(options: dict[str, str | None]) -> KeepAnchors | None:
    """How anchors are to be kept; None where no place for them is given."""
    places = ("to_file", "to_command", "to_git")
    if not any(options[name] for name in places):
        if options["key_file"] or options["stamp_url"]:
            misuse("anchors need a place: --anchor-to-file, --anchor-to-command, --anchor-to-git")
        return None
    return KeepAnchors(by=person(), **{k: v for k, v in options.items() if v is not None})


def _anchor_words(options: dict[str, str | None]) -> list[str]:
    """The same options again, for one child: several would keep the same anchors."""
    pairs = [(f"--anchor-{k.replace('_', '-')}", v) for k, v in options.items() if v is not None]
    return [word for pair in pairs for word in pair]


def _supervise(
    place: Place,
    command: list[str],
    once: list[str],
    *,
    count: int,
    until_idle: bool,
    health: str | None,
) -> None:
    environment = {
        "EVENTQ_URL": place.url,
        "EVENTQ_NAMESPACE": place.namespace,
        "EVENTQ_ARCHIVE": place.archive or "",
    }
    with suppress(EventqError), place.open_log() as log:
        note_if_empty(log)
    supervisor = Supervisor(
        command, environment, count=count, until_idle=until_idle, health=health, once=once
    )
    with on_asking(supervisor.asked):
        end = supervisor.run()
    if end.exit_code:
        click.get_current_context().exit(end.exit_code)
    _say_report(place, end.report, until_idle=until_idle, processes=count, restarts=end.restarts)


def _say_report(place: Place, report: RunReport, *, until_idle: bool, **more: int) -> None:
    numbers = {**msgspec.structs.asdict(report), **more}
    if place.as_json:
        say_json(numbers)
    else:
        say(", ".join(f"{name} {number}" for name, number in numbers.items()))
    if until_idle and report.expired:
        end_with_finding()
