"""Running workers: `run_worker` puts a runner together; `Runner` does the rest."""

from eventq.runner.context import AsyncContext, Context
from eventq.runner.runner import Runner, RunReport
from eventq.runner.setup import run_worker
from eventq.runner.signals import stopping_on_signals

__all__ = ["AsyncContext", "Context", "RunReport", "Runner", "run_worker", "stopping_on_signals"]
