"""``console``: the queue in a browser; serves until it is stopped."""

from __future__ import annotations

import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eventq.cli.ending import misuse, refuse
from eventq.cli.output import flush, is_terminal, note, say
from eventq.cli.person import by_option
from eventq.cli.place import Place, note_if_empty, placed
from eventq.core.sizes import parse_size

if TYPE_CHECKING:
    from eventq.web.serve import ConsoleServer

INSTALL = "pip install 'eventq[web]'"
PARTS = {"anyio", "jinja2", "markupsafe", "starlette", "uvicorn"}
PORT = 8017


@click.command(
    epilog="""\b
Examples:
  eventq console
  eventq console --url mongodb://db1,db2/jobs?replicaSet=rs0 --read-only
  eventq console --bind 0.0.0.0 --tls-cert cert.pem --tls-key key.pem --host queue.example.org"""
)
@click.option("--bind", default="127.0.0.1", metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=int, default=PORT, metavar="N", help="0 takes any that is free.")
@by_option
@click.option("--read-only", is_flag=True, help="Look only; nothing is changed.")
@click.option("--require-reason", is_flag=True, help="Nothing is done without a reason.")
@click.option(
    "--redact", multiple=True, metavar="TAG", help="Show no values of this tag; may be repeated."
)
@click.option(
    "--cache-size",
    default="1GiB",
    metavar="SIZE",
    help="For snapshots of the past, in the user's cache folder.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A host name that it answers to, with its port if that is not the usual; may be repeated.",
)
@click.option("--root-path", default="", metavar="PATH", help="Where a proxy has it.")
@click.option("--trusted-proxy", metavar="ADDRESS", help="The proxy before it, which has TLS.")
@click.option(
    "--tls-cert", type=click.Path(dir_okay=False), metavar="FILE", help="Its certificate."
)
@click.option("--tls-key", type=click.Path(dir_okay=False), metavar="FILE", help="The key of that.")
@click.option("--no-open", is_flag=True, help="Open no browser.")
@placed
def console(
    *,
    place: Place,
    bind: str,
    port: int,
    by: str,
    read_only: bool,
    require_reason: bool,
    redact: tuple[str, ...],
    cache_size: str,
    hosts: tuple[str, ...],
    root_path: str,
    trusted_proxy: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    no_open: bool,
) -> None:
    """Show the queue in a browser: now, and at any moment of its past.

    Prints an address that lets one browser in, once, within a minute; Enter prints another. It ends
    with Ctrl-C.
    """
    if place.as_json:
        misuse("the console shows pages, so --json has no meaning with it; it has JSON at /api")
    try:
        # Imported here: an optional part, which other commands do without.
        from eventq.core.validation import check_by  # noqa: PLC0415
        from eventq.web.access import Person  # noqa: PLC0415
        from eventq.web.console import Options  # noqa: PLC0415
        from eventq.web.serve import Address, ConsoleServer, check_address  # noqa: PLC0415
        from eventq.web.showing import check_redact  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in PARTS:
            raise
        refuse(f"the console needs {error.name}, which is not installed: {INSTALL}")
    address = Address(
        bind=bind,
        port=port,
        hosts=hosts,
        root_path=root_path,
        trusted_proxy=trusted_proxy,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    check_address(address)
    options = Options(
        read_only=read_only,
        require_reason=require_reason,
        redact=check_redact(redact),
        cache_bytes=parse_size(cache_size, "cache_size"),
    )
    who = Person(check_by(by) or "", authenticated=False)
    with place.open(create=False) as queue:
        note_if_empty(queue.log)
        server = ConsoleServer(queue, who, options, address)
        with _opened(server, opens=not no_open):
            server.run()


@contextmanager
def _opened(server: ConsoleServer, *, opens: bool) -> Iterator[None]:
    """Says where the console is, opens a browser there, and says it again at each Enter."""
    with tempfile.TemporaryDirectory(prefix="eventq-console-") as folder:
        url = server.start_url()
        say(url)
        flush()
        if opens and is_terminal():
            # By a file that only this user can read: a code is no argument of a process.
            page = Path(folder) / "start.html"
            page.touch(mode=0o600)
            page.write_text(_leading_to(url), encoding="utf-8")
            threading.Thread(
                target=webbrowser.open, args=(page.as_uri(),), name="eventq-browser", daemon=True
            ).start()
        if is_terminal(sys.stdin):
            note("Ctrl-C ends it; Enter prints a new address")
            threading.Thread(
                target=_answer, args=(server,), name="eventq-enter", daemon=True
            ).start()
        yield


def _answer(server: ConsoleServer) -> None:
    """A new address for each Enter."""
    for _ in sys.stdin:
        say(server.start_url())
        flush()


def _leading_to(url: str) -> str:
    return (
        '<!doctype html><meta charset="utf-8"><title>eventq</title>'
        f'<meta http-equiv="refresh" content="0;url={escape(url)}">'
        f'<p><a href="{escape(url)}">To the console</a></p>'
    )
