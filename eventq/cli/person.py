"""Who runs a command and why, for the log: the options that commands share which change something.

Nothing here checks them; the library does.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable

import click

from eventq.cli.text import short, visible


def person() -> str:
    """Who runs this command: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid{os.getuid()}"
    return visible(short(f"{user}@{socket.gethostname()}", 200))


by_option = click.option(
    "--by",
    default=person,
    show_default=False,
    metavar="NAME",
    help="Who does it; kept in the log.  [default: USER@HOST]",
)
reason_option = click.option(
    "--reason", default="", show_default=False, metavar="TEXT", help="Kept in the log."
)


def told(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --by and --reason."""
    return by_option(reason_option(command))
