"""How a command ends: the exit code for each kind of ending, and no traceback where it is expected.

0 is fine, 1 refused, failed or a finding, 2 wrongly called; 130 after Ctrl-C, 141 when the reader
of the pipe has closed it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click
from click.exceptions import Exit

from eventq import ArgumentError, EventqError
from eventq.cli.output import flush, give_up, note

EXIT_FAILED = 1
EXIT_MISUSED = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_PIPE = 128 + signal.SIGPIPE


def end_with_finding() -> NoReturn:
    """Ends the command with exit code 1, after it has reported its findings."""
    flush()
    raise Exit(EXIT_FAILED)


def refuse(message: str) -> NoReturn:
    """Ends the command as refused: exit code 1."""
    raise click.ClickException(message)


def misuse(message: str) -> NoReturn:
    """Ends the command as wrongly called: exit code 2."""
    raise click.UsageError(message)


@contextmanager
def ending() -> Iterator[None]:
    """Turns what the block raises into a message and an exit code."""
    try:
        yield
    except BrokenPipeError:
        give_up(sys.stdout)
        raise Exit(EXIT_PIPE) from None
    except KeyboardInterrupt:
        raise Exit(EXIT_INTERRUPTED) from None
    except EventqError as error:
        note(str(error))
        raise Exit(EXIT_MISUSED if isinstance(error, ArgumentError) else EXIT_FAILED) from None
    except OSError as error:
        note(f"{error.filename or 'output'}: {error.strerror or error}")
        give_up(sys.stdout)
        raise Exit(EXIT_FAILED) from None
