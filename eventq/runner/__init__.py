"""Running workers: `make_runner` puts a runner together; `Runner` does the rest."""

from eventq.runner.context import AsyncContext, Context
from eventq.runner.runner import Runner, RunReport
from eventq.runner.setup import make_runner
from eventq.runner.signals import stopping_on_signals

__all__ = ["AsyncContext", "Context", "RunReport", "Runner", "make_runner", "stopping_on_signals"]
