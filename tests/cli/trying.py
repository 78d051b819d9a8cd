"""What the tests of rerun, fork and whatif share: a queue whose tasks have ended, and workers."""

from __future__ import annotations

import sys

import pytest

from tests.cli.harness import Cli

JOBS = """\
import sys
from eventq import Cancel, Handlers, Retry

handlers = Handlers()

@handlers.task("double")
def double(n: int) -> int:
    return 2 * n

def work(ctx, task):
    if task.tags["n"] == 1:
        raise ValueError("bad input")
    if task.tags["n"] == 2:
        raise Cancel("pointless")
    return task.tags["n"]

def fixed(ctx, task):
    print("the worker speaks")
    return task.tags["n"]

async def waits(ctx, task):
    print("begun", file=sys.stderr, flush=True)
    await ctx.sleep("1h")

def blocks(ctx, task):
    print("begun", file=sys.stderr, flush=True)
    ctx.sleep("1h")

def interrupted(ctx, task):
    raise KeyboardInterrupt

def nasty(ctx, task):
    raise ValueError(task.tags["text"])
"""


@pytest.fixture
def ran(cli: Cli) -> Cli:
    """The command beside a queue whose four tasks have ended: completed, expired, cancelled."""
    name = f"trying_{cli.folder.name}".replace("-", "_")
    (cli.folder / f"{name}.py").write_text(JOBS)
    for n in range(4):
        cli.ok("new", f"n:={n}", "--key", f"t{n}", "--max-retries", "0")
    sys.modules.pop(name, None)
    done = cli("run", f"{name}:work", "--until-idle", "--workers", "1")
    # One of them expires, which is a finding.
    assert done.exit_code == 1, done.output
    return cli


def worker(cli: Cli, function: str) -> list[str]:
    """The option that names a worker of the folder."""
    return ["--worker", f"trying_{cli.folder.name}:{function}".replace("-", "_")]
