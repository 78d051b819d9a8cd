"""``eventq replay --step``: opens the log and hands it to the full-screen stepper.

Only what the stepper needs to start is here; textual is loaded on use.
"""

from __future__ import annotations

import sys

from eventq.cli.ending import misuse, refuse
from eventq.cli.output import is_terminal
from eventq.cli.place import Place, point_of
from eventq.host.clock import SystemClock
from eventq.replay.points import END

INSTALL = "pip install 'eventq[step]'"


def step(place: Place, *, at: str | None) -> None:
    """Steps through the log at the place, from a point on, by default the first event.

    Ends the command with a message where there is no terminal, no textual, or no such point.
    """
    if place.as_json:
        misuse("--step shows a screen, so --json has no meaning with it")
    # Textual draws on standard error.
    if not all(is_terminal(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)):
        misuse("--step needs a terminal for its screen; without one, leave it out")
    try:
        # Imported here: an optional part, which other commands do without.
        from eventq.cli.stepper.app import Stepper  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "textual":
            raise
        refuse(f"--step needs textual, which is not installed: {INSTALL}")
    with place.open_log() as log:
        # An invalid point is reported before the screen opens.
        begin = log.start().seq
        start = at or (str(begin + 1) if log.head().seq > begin else END)
        point_of(log, start, "--from")
        Stepper(log, clock=SystemClock(), start=start).run()
