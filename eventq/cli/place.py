"""Where a command's queue is: its options, the log there, and notes about an empty one."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from eventq import Handlers, Queue, Task, TaskNotFoundError
from eventq.archive import open_archived
from eventq.cli.ending import EXIT_MISUSED, misuse, refuse
from eventq.cli.output import note, plain_pairs, say_record
from eventq.cli.text import time_text
from eventq.eventlog import EventLog, open_log
from eventq.host.clock import SystemClock
from eventq.host.paths import check_path_text
from eventq.queue import DEFAULT_URL
from eventq.replay.instants import is_local, read_instant
from eventq.replay.points import Point, find_point

# A login with a password, or an option that holds one.
PASSWORD = re.compile(r"//[^/]*:[^/]*@|[?&][^=&]*password=.", re.IGNORECASE)
SEEN = (
    "warning: every user of this machine can see the password in --url in the list of processes; "
    "give the URL by --url-file or EVENTQ_URL"
)


class Place(Struct, frozen=True):
    """Where the queue is, and how to answer."""

    url: str
    namespace: str = "default"
    archive: str | None = None
    as_json: bool = False
    catalog: str | None = None

    def open(
        self, *, create: bool, workers: int | None = None, handlers: Iterable[Handlers] = ()
    ) -> Queue:
        """The queue at this place."""
        return Queue(
            self.url,
            namespace=self.namespace,
            archive=self.archive,
            catalog=self.catalog,
            create=create,
            workers=workers,
            handlers=handlers,
        )

    @contextmanager
    def open_log(self) -> Iterator[EventLog]:
        """The log at this place, with its archive, for reading: nothing is created."""
        log = open_log(self.url, namespace=self.namespace, create=False)
        with closing(open_archived(log, self.archive)) as whole:
            yield whole


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --url or --url-file, --namespace, --archive and --json as one ``place``.

    They may also be given before the command's name; those after it win.
    """
    return placed_by(
        url_help=f"Where the log is; else EVENTQ_URL. [default: {DEFAULT_URL}]",
        namespace_help="Queue within the log; else EVENTQ_NAMESPACE. [default: default]",
    )(command)


def placed_by(
    *, url_help: str, namespace_help: str, **defaults: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As `placed`, for a command with other help, and ``defaults`` that beat the environment."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_place(
            *,
            url: str | None,
            url_file: str | None,
            namespace: str | None,
            archive: str | None,
            as_json: bool,
            **arguments: Any,  # noqa: ANN401 - those of the command
        ) -> None:
            words = {"url": _given_url(url, url_file), "namespace": namespace, "archive": archive}
            given = {name: word for name, word in words.items() if word is not None}
            context = click.get_current_context()
            # A group's commands inherit what was given to the group.
            context.obj = {**(context.obj or {}), **given, **({"as_json": True} if as_json else {})}
            command(place=Place(**{**_surroundings(), **defaults, **context.obj}), **arguments)

        for option in (
            click.option(
                "--json", "as_json", is_flag=True, help="Answer in JSON, one object a line."
            ),
            click.option(
                "--archive", metavar="DIR", help="Folder of its archive; else EVENTQ_ARCHIVE."
            ),
            click.option("--namespace", metavar="NAME", help=namespace_help),
            click.option(
                "--url-file", metavar="FILE", help="A file that holds the URL, with its password."
            ),
            click.option("--url", metavar="URL", help=url_help),
        ):
            with_place = option(with_place)
        return with_place

    return decorate


def catalog_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command --catalog, which its ``place`` has then; inside of `placed`."""

    def keep(context: click.Context, _: click.Parameter, path: str | None) -> None:
        if path is not None:
            context.obj = {**(context.obj or {}), "catalog": path}

    return click.option(
        "--catalog",
        metavar="PATH",
        expose_value=False,
        callback=keep,
        help="Its catalog, NAME.catalog; else EVENTQ_CATALOG. [default: beside the log, or in "
        "your cache folder]",
    )(command)


def given_place() -> list[str]:
    """The options among --url, --namespace and --archive that this command was given."""
    given = click.get_current_context().obj or {}
    return [f"--{name}" for name in ("url", "namespace", "archive") if name in given]


def answering(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command that has no place --json alone, as ``as_json``; see `placed`."""

    @functools.wraps(command)
    def with_answer(*, as_json: bool, **arguments: Any) -> None:  # noqa: ANN401 - the command's
        inherited = (click.get_current_context().obj or {}).get("as_json", False)
        command(as_json=as_json or inherited, **arguments)

    text = "Answer in JSON, one object a line."
    return click.option("--json", "as_json", is_flag=True, help=text)(with_answer)


def expect_command() -> None:
    """Shows a group's help and ends it as wrongly called, unless a command of it was named."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        with suppress(OSError):
            click.echo(context.get_help(), err=True)
        context.exit(EXIT_MISUSED)


def say_done(place: Place, queue: Queue, done: dict[str, Any]) -> None:
    """Says what a command has done, and at which position the log ends now."""
    answer = done | {"seq": queue.log.head().seq}
    say_record(answer, plain_pairs, as_json=place.as_json)


def log_time(log: EventLog) -> int:
    """Now, by this host's clock corrected by the log's; microseconds since 1970."""
    return SystemClock().now_us() + log.clock_offset_us()


def point_of(log: EventLog, word: str, argument: str) -> Point:
    """The point of the log that a word means. Raises ArgumentError as `find_point` does."""
    now = log_time(log)
    if is_local(word) and (at := read_instant(word, now=now)) is not None:
        note(f"{argument}: {word} here is {time_text(at)}")
    return find_point(log, word, now=now, argument=argument)


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


def _given_url(url: str | None, file: str | None) -> str | None:
    """The URL that a command was given, itself or in a file; warns of a password that others see.

    Raises OSError for a file that cannot be read.
    """
    if file is None:
        if url is not None and PASSWORD.search(url):
            note(SEEN)
        return url
    if url is not None:
        misuse("--url and --url-file: take one of them")
    try:
        return Path(check_path_text(file, "url-file", "a file")).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        misuse("--url-file: expected a file that holds a URL, as UTF-8")


def _surroundings() -> dict[str, str | None]:
    """What the environment says of the place, or else the defaults; an empty word says nothing."""
    return {
        "url": os.environ.get("EVENTQ_URL") or DEFAULT_URL,
        "namespace": os.environ.get("EVENTQ_NAMESPACE") or "default",
        "archive": os.environ.get("EVENTQ_ARCHIVE") or None,
        "catalog": os.environ.get("EVENTQ_CATALOG") or None,
    }
