"""``health`` and ``handlers``: is a run alive, and what would a run of a module run.

Neither opens a log of its own.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from eventq.cli.ending import end_with_finding
from eventq.cli.output import say, say_json, say_list
from eventq.cli.place import answering
from eventq.cli.target import load_handlers
from eventq.cli.text import visible
from eventq.cli.views.handlers import HANDLERS, handler_json
from eventq.core.durations import SECOND_US, parse_duration
from eventq.runner.health import FoundHealth, look_up_health


@click.command(
    epilog="""\b
Examples:
  eventq run jobs:queue --health /tmp/eventq-health
  eventq health /tmp/eventq-health --max-age 1m"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--max-age",
    default="30s",
    metavar="DURATION",
    help="A run that has written nothing for so long counts as dead.",
)
@answering
def health(*, file: Path, max_age: str, as_json: bool) -> None:
    """Say whether the run that writes FILE lives, for containers: exit code 0 or 1.

    It lives when its loop goes on, the log can be read, and not all of its workers are stuck. Of
    `eventq run --processes` all processes must live.
    """
    max_age_s = parse_duration(max_age, "max_age") / SECOND_US
    found = [look_up_health(each, max_age_s=max_age_s) for each in _files(file)]
    for each in found:
        if as_json:
            say_json(each)
        else:
            say(_line(each))
    if not all(each.healthy for each in found):
        end_with_finding()


@click.command(
    epilog="""\b
Examples:
  eventq handlers jobs:queue
  eventq handlers shop.tasks:handlers --json"""
)
@click.argument("target", metavar="MODULE:QUEUE")
@answering
def handlers(*, target: str, as_json: bool) -> None:
    """List the handlers of a queue, or of eventq.Handlers, with their arguments and options."""
    found = sorted(load_handlers(target), key=lambda handler: handler.name)
    if as_json:
        for handler in found:
            say_json(handler_json(handler))
    else:
        say_list(found, HANDLERS, as_json=False)


def _files(path: Path) -> list[Path]:
    """The file itself or, where there is none, those of several processes: FILE.1, FILE.2."""
    if path.exists() or not path.parent.is_dir():
        return [path]
    numbered = re.compile(re.escape(path.name) + r"\.[0-9]+")
    found = [each for each in path.parent.iterdir() if numbered.fullmatch(each.name)]
    return sorted(found) or [path]


def _line(found: FoundHealth) -> str:
    words = ["healthy" if found.healthy else "unhealthy"]
    if found.said is not None:
        said = found.said
        words += [f"node {said.node}", f"pid {said.pid}", f"{said.running} of {said.slots} running"]
    if found.problem is not None:
        words.append(found.problem)
    return visible(f"{found.file}: {', '.join(words)}")
