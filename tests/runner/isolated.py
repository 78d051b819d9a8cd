"""Handlers that run in processes of their own; another process finds them here by their names."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eventq
from eventq import Context

handlers = eventq.Handlers()
wrapped = eventq.Handlers()


@handlers.task(isolate=True)
def double(number: int) -> int:
    """Returns something."""
    return 2 * number


@handlers.task(isolate=True)
async def double_async(ctx: Context, number: int) -> int:
    """Returns something, in an event loop."""
    await asyncio.sleep(0)
    assert eventq.current() is ctx
    return 2 * number


@handlers.task(isolate=True)
def plain_coroutine(number: int) -> int:
    """Hands out a coroutine, as a plain decorator does."""
    return double_async.function(eventq.current(), number)  # type: ignore[return-value]


@handlers.task(isolate=True)
def pid() -> int:
    """Returns which process this is."""
    return os.getpid()


@handlers.task(isolate=True, recycle=2)
def pid_recycled() -> int:
    """Returns which process this is; another one after two attempts."""
    return os.getpid()


@handlers.task(isolate=True, memory="1GiB")
def pid_limited() -> int:
    """Returns which process this is, one with a limit."""
    return os.getpid()


@handlers.task(isolate=True)
def facts(ctx: Context) -> dict[str, Any]:
    """Returns what the context says."""
    remaining = ctx.remaining()
    ctx.check()
    return {
        "key": ctx.task.key,
        "attempt": ctx.task.attempt,
        "fence": ctx.fence,
        "cancelled": ctx.cancelled,
        "deadline": None if ctx.deadline is None else ctx.deadline.isoformat(),
        "remaining": remaining,
        "is_current": eventq.current() is ctx,
        "pid": os.getpid(),
        "group": os.getpgid(0),
    }


@handlers.task(isolate=True, deadline="5m")
def extend(ctx: Context, by: str) -> list[float | None]:
    """Returns what remained before and after it took more time."""
    before = ctx.remaining()
    ctx.extend(by)
    return [before, ctx.remaining()]


@handlers.task(isolate=True, max_retries=1, backoff=0)
def kill_itself(ctx: Context, number: int) -> int:
    """Dies by a signal, the first time."""
    if ctx.task.attempt == 1:
        os.kill(os.getpid(), number)
    return ctx.task.attempt


@handlers.task(isolate=True, max_retries=0)
def leave(code: int) -> None:
    """Ends its process."""
    os._exit(code)


@handlers.task(isolate=True, max_retries=0, retry=[(eventq.ProcessDiedError, eventq.Fail)])
def leave_for_good() -> None:
    """Ends its process, for which there is a rule."""
    os._exit(1)


@handlers.task(isolate=True, kill_after="500ms", max_retries=1, backoff=0)
def run_away(ctx: Context, path: str) -> int:
    """Computes without end, and ignores that it should end; the second time it returns."""
    if ctx.task.attempt == 2:
        return os.getpid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild = subprocess.Popen([sys.executable, "-c", IGNORING], stdout=subprocess.PIPE)
    assert grandchild.stdout is not None
    grandchild.stdout.read(1)
    tell(path, f"{os.getpid()} {grandchild.pid}")
    while True:
        pass


@handlers.task(isolate=True, kill_after="10m", max_retries=0)
def run_away_long(ctx: Context, path: str) -> int:
    """The same with a long time to end."""
    return run_away.function(ctx, path)


@handlers.task(isolate=True)
def finish_when(path: str) -> str:
    """Ends when a file is there."""
    tell(path, str(os.getpid()))
    while not Path(f"{path}.go").exists():
        threading.Event().wait(0.005)
    return "finished"


@handlers.task(isolate=True, kill_after="20s", max_retries=0)
def wait(ctx: Context, path: str) -> None:
    """Waits as a handler should, and notes that it was told to end."""
    tell(path, str(os.getpid()))
    try:
        ctx.sleep("10m")
    finally:
        tell(f"{path}.ended", str(ctx.cancelled))


@handlers.task(isolate=True, kill_after="20s", max_retries=0)
async def wait_async(ctx: Context, path: str) -> None:
    """Waits in an event loop, and notes that it was told to end."""
    tell(path, str(os.getpid()))
    try:
        await asyncio.sleep(600)
    finally:
        tell(f"{path}.ended", str(ctx.cancelled))


@handlers.task(isolate=True, kill_after="2s", max_retries=0)
def block(path: str) -> None:
    """Never looks at its context, yet cleans up when SIGTERM comes."""
    tell(path, str(os.getpid()))
    try:
        threading.Event().wait(600)
    finally:
        tell(f"{path}.ended", "cleaned up")


@handlers.task(isolate=True, kill_after="20s", max_retries=0)
def return_late(ctx: Context, path: str) -> str:
    """Returns after its parent has told it to end."""
    tell(path, str(os.getpid()))
    while ctx.stopped_why is None:
        threading.Event().wait(0.001)
    return "late"


@handlers.task(isolate=True, memory="300MiB", max_retries=0)
def eat(size_bytes: int) -> int:
    """Takes memory."""
    return len(bytearray(size_bytes))


@handlers.task(isolate=True, max_retries=0)
def eat_and_die(size_bytes: int) -> None:
    """Takes memory, touches it, and dies as if the system had killed it."""
    eaten = b"x" * size_bytes
    os.kill(os.getpid(), signal.SIGKILL)
    assert eaten


@handlers.task(isolate=True, max_retries=0)
def fail_chained() -> None:
    """Raises one error from another."""
    try:
        {}["missing"]  # type: ignore[index]
    except KeyError as error:
        raise WrongError("no such thing") from error


class WrongError(Exception):
    """One of its own."""


def raise_wrong() -> None:
    """Raises it."""
    raise WrongError("met")


@handlers.task(isolate=True, max_retries=5, retry=[(WrongError, eventq.Fail)])
def fail_by_rule() -> None:
    """Raises what there is a rule for."""
    raise WrongError("for good")


@handlers.task(isolate=True, max_retries=1)
def ask_for(ctx: Context, what: str) -> int:
    """Asks for something else than success or failure, the first time."""
    if ctx.task.snoozes or ctx.task.attempt > 1:
        return ctx.task.attempt
    ends = {
        "retry": eventq.Retry("again", delay=0),
        "snooze": eventq.Snooze(0, "later"),
        "fail": eventq.Fail("never"),
        "cancel": eventq.Cancel("pointless"),
    }
    raise ends[what] from WrongError("met")


@handlers.task(isolate=True, max_retries=0)
def exit_politely() -> None:
    """Raises SystemExit, which ends the attempt alone."""
    sys.exit(3)


@handlers.task(isolate=True)
def return_object() -> Any:  # noqa: ANN401 - what cannot be kept
    """Returns what JSON cannot hold."""
    return threading.Lock()


@handlers.task(isolate=True, result="strict", max_retries=0)
def return_much() -> str:
    """Returns more than can be kept."""
    return "x" * 10_000_000


@handlers.task(isolate=True)
def flood(lines_count: int) -> int:
    """Prints and logs a lot."""
    for number in range(lines_count):
        sys.stdout.write(f"{number:99}\n")
        logging.getLogger("tests.flood").info("line %s", number)
    return lines_count


@handlers.task(isolate=True)
def log(ctx: Context) -> None:
    """Logs by its context, and by a logger of its own."""
    ctx.log.warning("half done", extra={"share": 0.5, "path": Path("a")})
    try:
        raise_wrong()
    except WrongError:
        logging.getLogger("tests.own").exception("met an error")
    logging.getLogger("tests.own").debug("too much detail")


@handlers.task(isolate=True)
def fork_away() -> int:
    """Forks a child that comes back into eventq's own code."""
    forked = os.fork()
    if forked == 0:
        return -1
    os.waitpid(forked, 0)
    return 1


@handlers.task(isolate=True)
def leave_one_behind(path: str) -> None:
    """Begins a process, and ends without it."""
    grandchild = subprocess.Popen([sys.executable, "-c", IGNORING], stdout=subprocess.PIPE)
    assert grandchild.stdout is not None
    grandchild.stdout.read(1)
    tell(path, str(grandchild.pid))


@handlers.task(isolate=True)
def leave_one_behind_and_wait(path: str) -> None:
    """Begins a process that ignores SIGTERM, and waits."""
    leave_one_behind.function(path)
    tell(f"{path}.both", f"{os.getpid()} {Path(path).read_text()}")
    threading.Event().wait(600)


@wrapped.around
def note(_: Context) -> Iterator[None]:
    """Notes where it runs."""
    seen.append(f"inner in {os.getpid()}")
    yield
    seen.append("inner after")


def note_outer(_: Context) -> Iterator[None]:
    """Notes where it runs; a queue's own."""
    seen.append(f"outer in {os.getpid()}")
    yield


@wrapped.task(isolate=True)
def show_arounds() -> list[str]:
    """Returns what was noted."""
    return [*seen, f"handler in {os.getpid()}"]


seen: list[str] = []
IGNORING = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print(1, flush=True); time.sleep(600)"
)


def tell(path: str, text: str) -> None:
    """Writes a file whole."""
    Path(f"{path}.new").write_text(text)
    Path(f"{path}.new").replace(path)


@handlers.task(isolate=True, keep_logs="info")
def tells(ctx: Context) -> Any:  # noqa: ANN401 - what was kept before
    """Tells all that an attempt can, and fails the first time."""
    ctx.log.info("attempt %d", ctx.task.attempt)
    ctx.progress(ctx.task.attempt, 2, "attempts")
    before = ctx.saved
    ctx.save({"attempt": ctx.task.attempt})
    if ctx.task.attempt == 1:
        raise ValueError("not yet")
    ctx.new({"from": "a process"}, key="child", delay="1h")
    return before


@handlers.task(isolate=True)
def tells_in_a_row(ctx: Context) -> None:
    """Tells twice, one right behind the other, and nothing more for long."""
    ctx.progress(1)
    ctx.progress(2)
    ctx.sleep("1h")
