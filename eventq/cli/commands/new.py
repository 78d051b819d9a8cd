"""``eventq new``: creates one task from the command line, or many from a file of JSON lines.

Nothing is created before every line has been read and checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, BinaryIO

import click

from eventq import ArgumentError, Task, TaskSpec
from eventq.cli.ending import misuse
from eventq.cli.instants import instant_option
from eventq.cli.output import say, say_json
from eventq.cli.place import Place, placed
from eventq.cli.text import visible
from eventq.cli.words import (
    joined_tags,
    parse_backoff,
    parse_instant,
    parse_json,
    tag_option,
)
from eventq.core.options import TaskOptions
from eventq.core.validation import IF_FAILED

# What is named as wrong when it is not a single field.
WHOLE_LINE = "line"
FIELDS = frozenset({"tags", *TaskOptions.__annotations__})
_ITEM = re.compile(r"tasks\[(\d+)\]: (.*)", re.DOTALL)


@click.command(
    epilog="""\b
Examples:
  eventq new path=a.png width:=640 --priority 5 --max-retries 3
  eventq new --json-tags '{"path": "a.png"}' --key a.png
  printf '{"tags": {"n": "1"}, "priority": 5}\\n' | eventq new --from -"""
)
@click.argument("tags", nargs=-1, type=tag_option, metavar="[NAME=VALUE]...")
@click.option("--json-tags", metavar="OBJECT", help="All tags as one JSON object.")
@click.option(
    "--from",
    "source",
    type=click.File("rb"),
    metavar="FILE",
    help="One task for each line of JSON in FILE, - for standard input. Fields: tags, and the "
    "options here with underscores (scheduled_at for --at). All lines are checked first.",
)
@click.option("--name", metavar="NAME", help="Only a node that handles this name runs it.")
@click.option("--lane", metavar="LANE", help="Workers choose tasks by it. [default: default]")
@click.option("--priority", type=int, help="Higher runs first. [default: 0]")
@click.option("--key", metavar="TEXT", help="Your own id: one key, one task.")
@click.option(
    "--unique", metavar="TEXT", help="One open task a text: while one is open, print its key."
)
@click.option(
    "--on-duplicate",
    type=click.Choice(["return", "raise", "replace"]),
    help="What to do while such a task is open. [default: return]",
)
@click.option(
    "--after",
    multiple=True,
    metavar="KEY",
    help="Run once that task has completed. May come several times.",
)
@click.option(
    "--if-failed",
    type=click.Choice(IF_FAILED),
    help="What to do if such a task does not complete. [default: cancel]",
)
@click.option("--delay", metavar="DURATION", help="Run this much later, like 90s.")
@click.option(
    "--at", "scheduled_at", type=instant_option, metavar="INSTANT", help="Run no earlier."
)
@click.option(
    "--expires-at", type=instant_option, metavar="INSTANT", help="Give up at this instant."
)
@click.option("--max-age", metavar="DURATION", help="Give up after this long.")
@click.option("--max-retries", type=int, help="Attempts after the first.")
@click.option("--max-lapses", type=int, help="Attempts in a row that may die with their process.")
@click.option(
    "--backoff",
    metavar="BACKOFF",
    help="The n-th retry waits n times this, like 10s; or exponential:1s:5m, "
    "constant:10s. [default: 10s]",
)
@click.option("--deadline", metavar="DURATION", help="Longest one attempt may run.")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="It takes a place in this limit while it runs, by its tag or for this value.",
)
@click.option(
    "--exclusive", multiple=True, metavar="VALUE", help="Of such tasks one runs at a time."
)
@click.option("--share", metavar="SHARE", help="Whose turn it is among equals.")
@click.option(
    "--secret", multiple=True, metavar="TAG", help="Nobody is shown this tag but its worker."
)
@placed
def new(
    *,
    place: Place,
    tags: tuple[tuple[str, Any], ...],
    json_tags: str | None,
    source: BinaryIO | None,
    **options: Any,  # noqa: ANN401 - the library checks them
) -> None:
    """Create a task, or many; print their keys.

    NAME=VALUE is a tag of text, NAME:=JSON one of any JSON value.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "limits" in given:
        pairs = [text.partition("=") for text in given["limits"]]
        given["limits"] = [(name, value) if sign else name for name, sign, value in pairs]
    if "backoff" in given:
        given["backoff"] = parse_backoff(given["backoff"])
    if (bool(tags) + (json_tags is not None) + (source is not None)) > 1:
        misuse("take one of NAME=VALUE, --json-tags and --from")
    if source is not None and "key" in given:
        misuse("--key is for one task; with --from each line has its own")
    if source is not None:
        _create_many(place, source, given)
        return
    tags_given = joined_tags(tags, "tags") if json_tags is None else _object(json_tags)
    _check_secret(given.get("secret"), tags_given)
    with place.open(create=True) as queue:
        _say_keys(place, [queue.new(tags_given, **given)])


def _create_many(place: Place, source: Iterable[bytes], options: dict[str, Any]) -> None:
    specs: list[TaskSpec] = []
    lines: list[int] = []
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        try:
            specs.append(_spec(line, options.get("secret")))
        except ArgumentError as error:
            raise _at_line(number, error.argument, error) from error
        lines.append(number)
    with place.open(create=True) as queue:
        try:
            tasks = queue.new_many(specs, **options)
        except ArgumentError as error:
            item = _ITEM.fullmatch(error.argument)
            if item is None:
                raise
            raise _at_line(lines[int(item[1])], item[2], error) from error
    _say_keys(place, tasks)


def _say_keys(place: Place, tasks: list[Task]) -> None:
    for task in tasks:
        if place.as_json:
            say_json(task)
        else:
            say(visible(task.key))


def _spec(line: bytes, secret: object) -> TaskSpec:
    """The task of one line; ``secret`` are names of its tags unless it has its own."""
    try:
        fields = parse_json(line)
    except ValueError as error:
        raise ArgumentError(WHOLE_LINE, line.rstrip(), f"JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ArgumentError(WHOLE_LINE, fields, "a JSON object with tags and options of a task")
    for name in fields:
        if name not in FIELDS:
            raise ArgumentError("field", name, f"one of {', '.join(sorted(FIELDS))}")
    for name in ("scheduled_at", "expires_at"):
        if fields.get(name) is not None:
            fields[name] = parse_instant(fields[name], name)
    if "backoff" in fields:
        fields["backoff"] = parse_backoff(fields["backoff"])
    tags = fields.pop("tags", None)
    _check_secret(fields.get("secret", secret), tags)
    return TaskSpec(tags, **fields)


def _check_secret(names: object, tags: object) -> None:
    """Raises ArgumentError for a name of no tag: misspelled, it would hide nothing."""
    if not isinstance(names, tuple | list) or not isinstance(tags, dict | None):
        # The library refuses these.
        return
    for name in names:
        if name not in (tags or {}):
            raise ArgumentError("secret", name, f"one of the tags ({', '.join(tags or {}) or '-'})")


def _at_line(number: int, argument: str, error: ArgumentError) -> ArgumentError:
    place = f"line {number}"
    argument = place if argument == WHOLE_LINE else f"{place}: {argument}"
    return ArgumentError(argument, error.value, error.expected)


def _object(text: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ArgumentError("json-tags", text, f"a JSON object ({error})") from error
    if not isinstance(value, dict):
        raise ArgumentError("json-tags", value, "a JSON object")
    return value
