"""The public face: the queue for threads with an ``_async`` twin of every method for asyncio.

Nothing is decided here; each twin has the rules, arguments and errors of its original.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, Unpack

from eventq.blocking import BlockingQueue, Worker
from eventq.core.durations import Duration
from eventq.core.events import Event
from eventq.core.new_task import TaskOptions, TaskSpec
from eventq.core.task import Task
from eventq.core.validation import States, check_count, check_flag
from eventq.eventlog import EventLog, Rows
from eventq.replay.query import FOLLOW_S, Stats, read_events

if TYPE_CHECKING:
    from datetime import datetime

    from eventq.runner import RunReport

# Events that `events_async` reads at a time.
PAGE = 1_000

P = ParamSpec("P")
R = TypeVar("R")


class Queue(BlockingQueue):
    """A task queue on an event log, for threads and for asyncio.

    Every method but `stop`, which never waits, has an ``_async`` twin with the same arguments,
    rules and errors. A twin runs its original in a thread, so the event loop goes on meanwhile;
    when the awaiting task is cancelled, what was begun is still done. `run_async` calls async
    workers in the caller's own loop.
    """

    async def new_async(
        self, tags: Mapping[str, Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> Task:
        """See `new`."""
        return await _in_thread(self.new, tags, **options)

    async def new_many_async(
        self, tasks: Iterable[Mapping[str, Any] | TaskSpec], /, **options: Unpack[TaskOptions]
    ) -> list[Task]:
        """See `new_many`."""
        return await _in_thread(self.new_many, tasks, **options)

    async def get_async(self, key: str) -> Task | None:
        """See `get`."""
        return await _in_thread(self.get, key)

    async def tasks_async(
        self,
        *,
        state: States | None = None,
        tags: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> list[Task]:
        """See `tasks`."""
        return await _in_thread(self.tasks, state=state, tags=tags, limit=limit)

    async def history_async(self, key: str) -> list[Event]:
        """See `history`."""
        return await _in_thread(self.history, key)

    async def stats_async(self) -> Stats:
        """See `stats`."""
        return await _in_thread(self.stats)

    async def sql_async(self, query: str, values: Sequence[Any] = ()) -> Rows:
        """See `sql`."""
        return await _in_thread(self.sql, query, values)

    async def cancel_async(self, key: str, *, reason: str = "", by: str | None = None) -> Task:
        """See `cancel`."""
        return await _in_thread(self.cancel, key, reason=reason, by=by)

    async def retry_async(self, key: str, *, by: str | None = None) -> Task:
        """See `retry`."""
        return await _in_thread(self.retry, key, by=by)

    async def update_async(
        self,
        key: str,
        *,
        priority: int | None = None,
        tags: Mapping[str, Any] | None = None,
        scheduled_at: datetime | None = None,
        delay: Duration | None = None,
        by: str | None = None,
    ) -> Task:
        """See `update`."""
        return await _in_thread(
            self.update,
            key,
            priority=priority,
            tags=tags,
            scheduled_at=scheduled_at,
            delay=delay,
            by=by,
        )

    async def close_async(self) -> None:
        """See `close`."""
        await _in_thread(self.close)

    async def events_async(self, *, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        """See `events`."""
        import asyncio  # noqa: PLC0415 - costs more to import than the rest of eventq

        check_count(after, "after", least=0, most=2**63)
        check_flag(follow, "follow")
        loop = asyncio.get_running_loop()
        more = asyncio.Event()
        log = self._node.log

        def wake() -> None:
            # A ring may come while the loop is being closed; nobody waits for it any more.
            if not loop.is_closed():
                loop.call_soon_threadsafe(more.set)

        watch = log.watch(wake) if follow else None
        try:
            while True:
                more.clear()
                for event in await _in_thread(_page, log, after):
                    after = event.seq
                    yield event
                    more.set()
                if watch is None and not more.is_set():
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(more.wait(), FOLLOW_S)
        finally:
            if watch is not None:
                await _in_thread(watch.close)

    async def run_async(
        self,
        worker: Worker,
        *,
        until: Literal["idle"] | None = None,
        grace: Duration = "30s",
        lease_ttl: Duration = "30s",
    ) -> RunReport:
        """See `run`; an ``async def`` worker runs in this event loop.

        Cancelling the awaiting task is a forced stop: attempts are cancelled and given back.
        """
        import asyncio  # noqa: PLC0415 - see events_async
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - as well

        from eventq.runner import run_worker, stopping_on_signals  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        runner = run_worker(
            self._node,
            worker,
            workers=self.workers,
            until=until,
            grace=grace,
            lease_ttl=lease_ttl,
            loop=loop,
        )
        with self._running(runner), stopping_on_signals(runner.stop):
            # A thread of its own: the loop's pool is small, and workers may need it.
            pool = ThreadPoolExecutor(1, thread_name_prefix="eventq-run")
            running = loop.run_in_executor(pool, runner.run)
            pool.shutdown(wait=False)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                runner.stop()
                runner.stop()
                while not running.done():
                    # However often it is cancelled: the run must end before its loop does.
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([running])
                raise


def _page(log: EventLog, after: int) -> list[Event]:
    return list(islice(read_events(log, after), PAGE))


async def _in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    import asyncio  # noqa: PLC0415 - see events_async

    return await asyncio.to_thread(function, *args, **kwargs)
