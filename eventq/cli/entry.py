"""The ``eventq`` command: all its commands under their headings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from eventq import __version__
from eventq.cli import output
from eventq.cli.commands.anchor import anchor_group
from eventq.cli.commands.archive import archive, export, import_
from eventq.cli.commands.bisect import bisect_command
from eventq.cli.commands.bulk import group as bulk
from eventq.cli.commands.bulk import undo
from eventq.cli.commands.catalog import group as catalog
from eventq.cli.commands.console import console
from eventq.cli.commands.copy import copy, fork
from eventq.cli.commands.diff import diff
from eventq.cli.commands.find import find_command
from eventq.cli.commands.flow import flow_command
from eventq.cli.commands.followers import group as followers
from eventq.cli.commands.health import handlers, health
from eventq.cli.commands.history import history, state, why_command
from eventq.cli.commands.limit import fair, limit, limits
from eventq.cli.commands.ls import ls, show, sql, stats, tail
from eventq.cli.commands.metrics import metrics
from eventq.cli.commands.new import new
from eventq.cli.commands.pause import pause, pauses, resume
from eventq.cli.commands.relay import outbox_group, relay
from eventq.cli.commands.replay import replay
from eventq.cli.commands.report import report_command
from eventq.cli.commands.rerun import rerun
from eventq.cli.commands.run import run
from eventq.cli.commands.schedules import group as schedules
from eventq.cli.commands.snapshot import group as snapshot
from eventq.cli.commands.update import cancel, repeat, retry, update
from eventq.cli.commands.verify import verify_command
from eventq.cli.commands.whatif import whatif
from eventq.cli.demo.command import demo
from eventq.cli.ending import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_MISUSED, ending
from eventq.cli.logs import log_to_stderr
from eventq.cli.place import Place, expect_command, placed

HELP_WIDTH = 100

# How the help groups the commands: each has one heading.
HEADINGS = {
    "Work": (
        demo,
        new,
        run,
        cancel,
        retry,
        repeat,
        update,
        bulk,
        undo,
        schedules,
        relay,
        outbox_group,
    ),
    "Who may run when": (limit, limits, fair, pause, resume, pauses),
    "Look": (
        *(ls, show, stats, tail, flow_command, followers, catalog, console),
        *(sql, handlers, health, metrics),
    ),
    "Debug": (
        find_command,
        report_command,
        history,
        why_command,
        state,
        replay,
        diff,
        bisect_command,
    ),
    "Try": (rerun, fork, whatif),
    "Prove and keep": (verify_command, anchor_group, snapshot, archive, export, import_, copy),
}

# They call a user's code, which may configure logging itself.
LOGGING_BY_THEMSELVES = {"demo", "rerun", "run"}


class CommandLine(click.Group):
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
        output.end_notes()
        sys.exit(code if isinstance(code, int) else 0)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Shows the commands under their headings, each with its whole first sentence."""
        del ctx
        width = max(map(len, self.commands))
        for heading, commands in HEADINGS.items():
            with formatter.section(heading):
                rows = [(str(each.name), each.get_short_help_str(HELP_WIDTH)) for each in commands]
                formatter.write_dl(
                    [(name.ljust(width), text.removesuffix(".")) for name, text in rows]
                )

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Runs the parsed command, and turns what it raises into a message and an exit code."""
        with ending():
            super().invoke(ctx)
            output.flush()

    def make_context(self, *args: Any, **extra: Any) -> click.Context:  # noqa: ANN401
        """Parses the command line; --help and --version print here."""
        with ending():
            return super().make_context(*args, **extra)


@click.group(
    cls=CommandLine,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": HELP_WIDTH,
        "show_default": True,
    },
    epilog="Try it: eventq demo",
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="eventq", message="%(prog)s %(version)s")
@placed
def main(*, place: Place) -> None:
    """A durable task queue that can tell the whole story of every task.

    Options here may also stand behind the command. Exit codes: 0 fine, 1 refused, failed, or
    something was found, 2 wrongly called.
    """
    del place
    expect_command()
    if click.get_current_context().invoked_subcommand not in LOGGING_BY_THEMSELVES:
        log_to_stderr(verbose=False)


for _commands in HEADINGS.values():
    for _command in _commands:
        main.add_command(_command)
