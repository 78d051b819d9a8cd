"""Transactions in an event loop whose threads all wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import eventq
from eventq.eventlog.contract import Guest
from eventq.node.visit import Visit
from tests.support import wait_until

INSERT = "INSERT INTO rows VALUES (?)"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file with a table of the user's beside the log's."""
    url = f"sqlite:///{tmp_path}/own.db"
    with eventq.Queue(url) as queue, queue.transaction() as tx:
        tx.execute("CREATE TABLE rows (number INTEGER)")
    return url


async def stored(queue: eventq.AsyncQueue) -> list[int]:
    """The rows that are stored."""
    found = await queue.sql("SELECT number FROM rows ORDER BY number")
    return [number for (number,) in found.rows]


def run(main: Coroutine[Any, Any, list[int]]) -> list[int]:
    """Runs it in a loop whose pool has one thread."""

    async def awaited() -> list[int]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        return await main

    return asyncio.run(awaited())


def test_those_that_wait_for_a_block_do_not_hold_it_up(url: str) -> None:
    """Neither others' blocks nor calls of the queue, which wait until it has ended."""

    async def main() -> list[int]:
        begun = asyncio.Event()
        async with eventq.AsyncQueue(url) as queue:

            async def insert(number: int) -> None:
                await begun.wait()
                async with queue.transaction() as tx:
                    await tx.execute(INSERT, [number])

            async def make() -> None:
                await begun.wait()
                await queue.new()

            waiting = [asyncio.create_task(each) for each in (insert(1), insert(2), make())]
            await asyncio.sleep(0)
            async with queue.transaction() as tx:
                begun.set()
                await asyncio.sleep(0)
                await tx.execute(INSERT, [0])
            await asyncio.gather(*waiting)
            return await stored(queue)

    assert run(main()) == [0, 1, 2]


def test_an_attempt_completes_although_all_threads_wait_for_it(url: str) -> None:
    """Its transaction ends with it."""

    async def main() -> list[int]:
        making: list[asyncio.Task[eventq.Task]] = []
        async with eventq.AsyncQueue(url, max_retries=0) as queue:

            async def insert(ctx: eventq.AsyncContext, _task: eventq.Task) -> None:
                async with ctx.transaction() as tx:
                    await tx.execute(INSERT, [7])
                making.append(asyncio.create_task(queue.new(name="other")))
                await asyncio.sleep(0)

            await queue.new()
            await queue.run(insert, until="idle", signals=False)
            await asyncio.gather(*making)
            return await stored(queue)

    assert run(main()) == [7]


def test_one_that_is_cancelled_as_it_begins_holds_up_nobody(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is over when its turn comes, and does not wait for its timeout."""
    ended: list[BaseException] = []
    stay = Visit.stay

    def watched(visit: Visit, guest: Guest) -> object:
        try:
            return stay(visit, guest)
        except BaseException as error:
            ended.append(error)
            raise

    monkeypatch.setattr(Visit, "stay", watched)

    async def main() -> list[int]:
        begun = asyncio.Event()
        async with eventq.AsyncQueue(url) as queue:

            async def insert() -> None:
                await begun.wait()
                async with queue.transaction() as tx:
                    await tx.execute(INSERT, [1])

            waiting = asyncio.create_task(insert())
            await asyncio.sleep(0)
            async with queue.transaction(timeout="10s") as tx:
                begun.set()
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await tx.execute(INSERT, [0])
            await queue.new()
            return await stored(queue)

    assert run(main()) == [0]
    wait_until(lambda: ended)
    assert [type(error) for error in ended] == [eventq.TransactionError]
