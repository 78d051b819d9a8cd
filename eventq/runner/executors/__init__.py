"""The ways to call workers: `ThreadExecutor` for ``def``, `AsyncExecutor` for ``async def``."""

from eventq.runner.executors.aio import AsyncExecutor
from eventq.runner.executors.contract import Executor
from eventq.runner.executors.thread import ThreadExecutor

__all__ = ["AsyncExecutor", "Executor", "ThreadExecutor"]
