"""The one kind of task, as a function, a coroutine, and a function in a process of its own.

Whoever has the handlers says in the environment where their journals are.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import eventq
from tools.rough.worker import SLOW_S, Journal, act, conclude, length_s

# The folder of the journals of those who work.
JOURNALS = "TORTURE_JOURNALS"
BEAT_S = 0.9

threads, coroutines, apart = eventq.Handlers(), eventq.Handlers(), eventq.Handlers()
HANDLERS = {"threads": threads, "async": coroutines, "isolated": apart}


@threads.task("does")
def does(ctx: eventq.Context, what: str, number: int, host: int = 0) -> int:  # noqa: ARG001
    """Does what the tags say, in a thread."""
    with journal().attempt(ctx):
        act(ctx, what, number)
    return number


@coroutines.task("does")
async def does_async(
    ctx: eventq.AsyncContext,
    what: str,
    number: int,
    host: int = 0,  # noqa: ARG001
) -> int:
    """Does it in the event loop."""
    with journal().attempt(ctx):
        if what == "slow":
            # It minds nothing that it is told, as those in threads.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(SLOW_S)
        else:
            await ctx.sleep(length_s(number))
        conclude(ctx, what, number)
    return number


@apart.task("does", isolate=True, recycle=20, kill_after="1s")
def does_apart(ctx: eventq.Context, what: str, number: int, host: int = 0) -> int:  # noqa: ARG001
    """Does it in a process of its own."""
    with journal().attempt(ctx):
        act(ctx, what, number)
    return number


@threads.task("beats")
def beats(ctx: eventq.Context) -> None:
    """What a schedule makes takes longer than until the next one."""
    with journal().attempt(ctx):
        ctx.sleep(BEAT_S)


@threads.follow("ends", kinds=["completed", "expired", "cancelled"])
def ends(event: eventq.Event) -> None:
    """Writes down that it was called."""
    journal().write("called", follower="ends", seq=event.seq)


threads.every("400ms", beats)


def journal() -> Journal:
    """That of this process."""
    return _journal(os.getpid())


@cache
def _journal(_process: int) -> Journal:
    return Journal(Path(os.environ[JOURNALS]))
