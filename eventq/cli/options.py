"""Options that commands share, and how words of the command line become values.

This module only parses values. The library checks them, so that both report the same errors.
"""

from __future__ import annotations

import functools
import getpass
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import Any, NoReturn

import click
import msgspec
from msgspec import Struct

from eventq import ArgumentError, Backoff, Queue, Task, TaskNotFoundError, TaskState
from eventq.archive import open_archived
from eventq.cli.output import flush, note
from eventq.cli.text import short, visible
from eventq.eventlog import EventLog, open_log
from eventq.host.clock import SystemClock
from eventq.replay.points import Point, find_point

DEFAULT_URL = "sqlite:///eventq.db"
SHOWN_CHARACTERS = 60

# More than any log has; the library counts to 2**31.
NO_LIMIT = 2_000_000_000

EXIT_FAILED = 1
EXIT_MISUSED = 2

# What a word begins with that names a variable instead of being a URL.
ENVIRONMENT = "env:"

STATES = [str(state) for state in TaskState if state is not TaskState.FAILED]

# What a time ago or a count from the end begins with.
_AGO = re.compile(r"-[0-9]")
# No word of a command line can hold it.
_MARK = "\0"


class Place(Struct, frozen=True):
    """Where the queue is, and how to answer. None means that the option was not given."""

    url: str | None = None
    namespace: str | None = None
    as_json: bool = False
    archive: str | None = None

    @property
    def found_url(self) -> str:
        """The URL given, or the environment's, or the default."""
        return os.environ.get("EVENTQ_URL") or DEFAULT_URL if self.url is None else self.url

    @property
    def found_namespace(self) -> str:
        """The namespace given, or the environment's, or the default."""
        if self.namespace is not None:
            return self.namespace
        return os.environ.get("EVENTQ_NAMESPACE") or "default"

    @property
    def found_archive(self) -> str | None:
        """The archive's folder given, or the environment's, or None."""
        return os.environ.get("EVENTQ_ARCHIVE") or None if self.archive is None else self.archive

    def open(self, *, create: bool, **options: Any) -> Queue:  # noqa: ANN401 - Queue checks them
        """The queue at this place."""
        options = {"namespace": self.found_namespace, "archive": self.found_archive, **options}
        return Queue(self.found_url, create=create, **options)

    def at(self, url: str) -> Place:
        """The same place but for its URL."""
        return msgspec.structs.replace(self, url=url)

    @contextmanager
    def open_log(self) -> Iterator[EventLog]:
        """The log at this place, with its archive, for reading: nothing is created."""
        log = open_log(self.found_url, namespace=self.found_namespace, create=False)
        with closing(open_archived(log, self.found_archive)) as whole:
            yield whole

    def note_if_empty(self) -> None:
        """Prints a note when the log here is empty: often the namespace is misspelled."""
        with self.open_log() as log:
            note_if_empty(log)


def log_time(log: EventLog) -> int:
    """Now, by this host's clock corrected by the log's; microseconds since 1970."""
    return SystemClock().now_us() + log.clock_offset_us()


class PointCommand(click.Command):
    """A command whose arguments may be times ago, like -2h, or counts from the end, like -500."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses as click does, but never takes a minus and a digit for an option."""
        valued = {
            name
            for option in self.get_params(ctx)
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        marked = [
            f"{_MARK}{word}" if _AGO.match(word) and before not in valued else word
            for before, word in zip(["", *args], args, strict=False)
        ]
        rest = super().parse_args(ctx, marked)
        for name, value in ctx.params.items():
            if isinstance(value, str):
                ctx.params[name] = value.removeprefix(_MARK)
        return rest


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --url, --namespace, --archive and --json as one argument, ``place``.

    They may also be given before the command's name; those after it win.
    """
    return placed_by(
        url_help=f"Where the log is; else EVENTQ_URL. [default: {DEFAULT_URL}]",
        namespace_help="Queue within the log; else EVENTQ_NAMESPACE. [default: default]",
    )(command)


def placed_by(
    *, url_help: str, namespace_help: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As `placed`, for a command whose help describes them otherwise."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        command = _with_place(command)
        command = click.option(
            "--json", "as_json", is_flag=True, help="Answer in JSON, one object a line."
        )(command)
        command = click.option(
            "--archive", metavar="DIR", help="Folder of its archive; else EVENTQ_ARCHIVE."
        )(command)
        command = click.option("--namespace", metavar="NAME", help=namespace_help)(command)
        return click.option("--url", metavar="URL", help=url_help)(command)

    return decorate


def point_of(log: EventLog, word: str, argument: str) -> Point:
    """The point of the log that a word means. Raises ArgumentError as `find_point` does."""
    return find_point(log, word, now=log_time(log), argument=argument)


def state_option(
    names: Sequence[str], text: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option --state of a command, which may be repeated; ``text`` is its help."""
    return click.option("--state", "states", multiple=True, type=click.Choice(names), help=text)


def instant_option(word: str) -> datetime:
    """A click type: an ISO 8601 instant with its time zone."""
    try:
        return parse_instant(word, "instant")
    except ArgumentError as error:
        raise click.BadParameter(f"expected {error.expected}, got {shown_word(word)}") from None


def tags_option(text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option --tag of a command, which may be repeated; ``text`` is its help."""
    return click.option(
        "--tag", "tags", multiple=True, type=tag_option, metavar="NAME=VALUE", help=text
    )


def tag_option(word: str) -> tuple[str, Any]:
    """A click type: ``NAME=VALUE`` for text, ``NAME:=JSON`` for any JSON value."""
    name, sign, content = word.partition("=")
    if not sign or not name.removesuffix(":"):
        raise click.BadParameter(f"expected NAME=VALUE or NAME:=JSON, got {shown_word(word)}")
    if not name.endswith(":"):
        return name, content
    try:
        return name[:-1], parse_json(content)
    except ValueError as error:
        message = f"{shown_word(word)}: what follows := is not JSON: {error}"
        raise click.BadParameter(message) from None


def limit_option(word: str) -> int:
    """A click type: a whole number of at least 1, or none for no limit."""
    if word == "none":
        return NO_LIMIT
    if word.isascii() and word.isdigit() and (limit := int(word[:20])):
        return min(limit, NO_LIMIT)
    raise click.BadParameter(f"expected a whole number above 0, or none, got {shown_word(word)}")


def parse_instant(text: str, argument: str) -> datetime:
    """The aware datetime of ISO 8601 text. Raises ArgumentError, also without a time zone."""
    expected = "an instant with its time zone, like 2030-01-31T12:00:00Z or +02:00 at its end"
    try:
        at = datetime.fromisoformat(text)
        if at.utcoffset() is not None:
            return at
    except (TypeError, ValueError):
        pass
    raise ArgumentError(argument, text, expected)


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The value of JSON text. Raises ValueError, also for text nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def parse_backoff(value: object) -> Backoff | Any:  # noqa: ANN401 - checked by the library
    """``10s``, or ``KIND:10s``, or ``KIND:10s:CAP``. Raises ArgumentError for a wrong kind."""
    if not isinstance(value, str) or ":" not in value:
        return value
    kind, first, *cap = value.split(":")
    if kind == "constant" and not cap:
        return Backoff.constant(first)
    if kind in {"linear", "exponential"} and len(cap) <= 1:
        make = Backoff.linear if kind == "linear" else Backoff.exponential
        return make(first, cap=cap[0] if cap else None)
    raise ArgumentError(
        "backoff", value, "a duration, constant:10s, linear:10s:CAP or exponential:1s:CAP"
    )


def joined_tags(pairs: tuple[tuple[str, Any], ...], argument: str) -> dict[str, Any]:
    """Tags from pairs. Raises ArgumentError for a repeated name."""
    tags = dict(pairs)
    if len(tags) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ArgumentError(argument, twice, "each name once")
    return tags


def url_of(word: str) -> str:
    """The URL: the word itself, or the value of the variable that it names."""
    if not word.startswith(ENVIRONMENT):
        return word
    url = os.environ.get(word.removeprefix(ENVIRONMENT))
    if not url:
        misuse(f"{word}: there is no such environment variable")
    return url


def existing_task(queue: Queue, key: str) -> Task:
    """The task with this key or number. Raises TaskNotFoundError when there is none."""
    task = queue.get(key)
    if task is None:
        raise TaskNotFoundError(key)
    return task


def check_there(log: EventLog) -> None:
    """Refuses an empty namespace: a misspelled one would be copied or verified in vain."""
    if not log.head().seq:
        refuse(f"{log.url}: no events in namespace {log.namespace!r} ({_there(log)})")


def note_if_empty(log: EventLog) -> None:
    """Prints a note when a log is empty: often the namespace is misspelled."""
    if not log.head().seq:
        note(f"{log.url}: namespace {log.namespace!r} holds nothing yet ({_there(log)})")


def _there(log: EventLog) -> str:
    return f"there: {', '.join(log.namespaces()) or 'none'}"


def person() -> str:
    """Who runs this command, for the log: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid{os.getuid()}"
    return visible(short(f"{user}@{socket.gethostname()}", 200))


def hand_down(place: Place) -> None:
    """For a group: passes the place to its commands, or shows its help when none is given."""
    context = click.get_current_context()
    context.obj = place
    if context.invoked_subcommand is None:
        with suppress(OSError):
            click.echo(context.get_help(), err=True)
        context.exit(EXIT_MISUSED)


def end_with_finding() -> NoReturn:
    """Ends the command with exit code 1, after it has reported its findings."""
    flush()
    click.get_current_context().exit(EXIT_FAILED)


def refuse(message: str) -> NoReturn:
    """Ends the command as refused: exit code 1."""
    raise click.ClickException(message)


def misuse(message: str) -> NoReturn:
    """Ends the command as wrongly called: exit code 2."""
    raise click.UsageError(message)


def shown_word(word: str) -> str:
    """A word of the command line in a message."""
    return short(ascii(word) if not word.isprintable() else repr(word), SHOWN_CHARACTERS)


def _with_place(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def with_place(
        *,
        url: str | None,
        namespace: str | None,
        as_json: bool,
        archive: str | None,
        **arguments: Any,  # noqa: ANN401 - those of the command
    ) -> None:
        before = click.get_current_context().find_object(Place) or Place()
        place = Place(
            before.url if url is None else url,
            before.namespace if namespace is None else namespace,
            before.as_json or as_json,
            before.archive if archive is None else archive,
        )
        command(place=place, **arguments)

    return with_place
