"""The ways to call workers: ``def`` in threads, ``async def`` in an event loop, or in processes."""

from eventq.runner.executors.aio import AsyncExecutor
from eventq.runner.executors.contract import Executor
from eventq.runner.executors.process import ProcessExecutor
from eventq.runner.executors.thread import ThreadExecutor

__all__ = ["AsyncExecutor", "Executor", "ProcessExecutor", "ThreadExecutor"]
