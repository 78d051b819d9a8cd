"""A child that a worker forked, and that comes back to the run: there it must end.

The run is its parent's. Nothing here knows attempts or logs.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress

# This process; asking the system for each attempt costs more than all the rest of `end_child`.
_process = os.getpid()


def _after_fork() -> None:
    global _process  # noqa: PLW0603 - the child is another one
    _process = os.getpid()


os.register_at_fork(after_in_child=_after_fork)


def end_child(parent: int) -> None:
    """Ends this process, unless it is ``parent``, as its main thread's end would.

    What is being handled is what ended it: an exit has its own code, and any other error is
    reported on standard error. Else the child would wait for ever beside a run of its own making,
    and whoever waits for the child would wait as long.
    """
    if _process == parent:
        return
    code = 1
    # Whatever the error or the streams raise, the process ends.
    with suppress(BaseException):
        code = _code_of(sys.exc_info()[1])
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os._exit(code)


def _code_of(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
        return 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1
