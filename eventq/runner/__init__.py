"""Running workers: `make_runner` puts a runner together; `Runner` does the rest."""

from eventq.runner.context import AsyncContext, Context
from eventq.runner.runner import Runner, RunReport
from eventq.runner.setup import make_runner

__all__ = ["AsyncContext", "Context", "RunReport", "Runner", "make_runner"]
