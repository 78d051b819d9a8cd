"""The ``eventq`` command: its parts put together, and how each kind of ending becomes an exit code.

0 is fine, 1 refused, failed or a finding, 2 wrongly called; 130 after Ctrl-C, 141 when the reader
of the pipe has gone. No expected error shows a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from typing import Any, NoReturn

import click

from eventq import ArgumentError, EventqError
from eventq.cli import output
from eventq.cli.commands import archive as archiving
from eventq.cli.commands import ask as asking
from eventq.cli.commands import compare as comparing
from eventq.cli.commands import copy as copying
from eventq.cli.commands import look as looking
from eventq.cli.commands import manage as managing
from eventq.cli.commands import new as creating
from eventq.cli.commands import replay as replaying
from eventq.cli.commands import rerun as trying
from eventq.cli.commands import run as running
from eventq.cli.commands import snapshot as snapshots
from eventq.cli.commands import verify as verifying
from eventq.cli.demo import command as demo_command
from eventq.cli.logs import log_to_stderr
from eventq.cli.options import EXIT_FAILED, EXIT_MISUSED, Place, hand_down, placed

EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_PIPE = 128 + signal.SIGPIPE

HELP_WIDTH = 100

# What the help shows together. Each command stands under one heading.
HEADINGS = {
    "Work": ("demo", "new", "run", "cancel", "retry", "update"),
    "Look": ("ls", "show", "stats", "tail", "sql"),
    "Debug": ("history", "why", "state", "replay", "diff", "bisect"),
    "Try": ("rerun", "fork", "whatif"),
    "Prove and keep": ("verify", "anchor", "snapshot", "archive", "export", "import", "copy"),
}

# They call other people's code, which may have its own wishes about logging.
LOGGING_BY_THEMSELVES = {"demo", "rerun", "run"}


class Command(click.Group):
    """A group of commands with our exit codes and messages instead of click's."""

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,  # noqa: ANN401
    ) -> NoReturn:
        """Runs the command line and ends the process."""
        output.prepare_streams()
        extra["standalone_mode"] = False
        try:
            code = super().main(args, prog_name, **extra)
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else "eventq"
            output.note(f"{error.format_message()} (see: {path} --help)")
            code = EXIT_MISUSED
        except click.ClickException as error:
            output.note(error.format_message())
            code = EXIT_FAILED
        except click.Abort:
            code = EXIT_INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Shows the commands under their headings, each with its whole first sentence."""
        del ctx
        width = max(map(len, self.commands))
        for heading, names in HEADINGS.items():
            with formatter.section(heading):
                rows = [(name.ljust(width), _first_sentence(self.commands[name])) for name in names]
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Runs the parsed command; what it raises becomes a message and an exit code."""
        try:
            super().invoke(ctx)
            output.flush()
        except BrokenPipeError:
            _give_up_output()
            ctx.exit(EXIT_PIPE)
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)
        except ArgumentError as error:
            output.note(str(error))
            ctx.exit(EXIT_MISUSED)
        except EventqError as error:
            output.note(str(error))
            ctx.exit(EXIT_FAILED)
        except OSError as error:
            output.note(f"{error.filename or 'output'}: {error.strerror or error}")
            _give_up_output()
            ctx.exit(EXIT_FAILED)


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("eventq")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


@click.group(
    cls=Command,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH},
    epilog="Try it: eventq demo",
    invoke_without_command=True,
)
@click.version_option(version(), prog_name="eventq", message="%(prog)s %(version)s")
@placed
def main(*, place: Place) -> None:
    """A durable task queue that can tell the whole story of every task.

    Options here may also stand behind the command. Exit codes: 0 fine, 1 refused, failed, or
    something was found, 2 wrongly called.
    """
    hand_down(place)
    if click.get_current_context().invoked_subcommand not in LOGGING_BY_THEMSELVES:
        log_to_stderr(verbose=False)


for _command in (
    demo_command.demo,
    creating.new,
    running.run,
    copying.copy,
    *looking.COMMANDS,
    *asking.COMMANDS,
    *replaying.COMMANDS,
    *comparing.COMMANDS,
    *managing.COMMANDS,
    *snapshots.COMMANDS,
    *archiving.COMMANDS,
    *verifying.COMMANDS,
    *trying.COMMANDS,
):
    main.add_command(_command)


def _first_sentence(command: click.Command) -> str:
    return command.get_short_help_str(limit=HELP_WIDTH).removesuffix(".")


def _give_up_output() -> None:
    """Points standard output to nowhere, so that the flush at exit cannot complain again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
