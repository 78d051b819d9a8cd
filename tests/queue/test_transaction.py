"""`queue.transaction()` and `ctx.transaction()`: own rows and tasks are stored together or not."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import eventq
from eventq.host.clock import SystemClock
from eventq.verify import verify

SETUP = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT UNIQUE)",
    "CREATE TABLE items (ordered INTEGER REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED)",
)
FOREVER = (
    "WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter) "
    "INSERT INTO orders (name) SELECT n FROM counter"
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file of the test's own."""
    return f"sqlite:///{tmp_path}/own.db"


@pytest.fixture
def queue(url: str) -> Iterator[eventq.Queue]:
    """A queue with tables of the user's beside the log's."""
    with eventq.Queue(url, workers=2) as opened:
        with opened.transaction() as tx:
            for statement in SETUP:
                tx.execute(statement)
        yield opened


def names(queue: eventq.Queue) -> list[str]:
    """The orders that are stored."""
    return [name for (name,) in queue.sql("SELECT name FROM orders ORDER BY id").rows]


def test_rows_and_tasks_are_stored_together(queue: eventq.Queue) -> None:
    """When the block ends, both are there, and the tasks are told."""
    with queue.transaction() as tx:
        rows = tx.execute("INSERT INTO orders (name) VALUES (?) RETURNING id", ["a"]).rows
        ref = tx.new({"order": rows[0][0]})
        tx.new_many([{"order": 2}, {"order": 3}])
        tx.execute_many("INSERT INTO orders (name) VALUES (?)", [["b"], ["c"]])
        assert queue.sql("SELECT count(*) FROM orders").rows == [(0,)]

    assert names(queue) == ["a", "b", "c"]
    assert [task.tags["order"] for task in tx.tasks] == [1, 2, 3]
    assert [task.number for task in queue.tasks()] == [task.number for task in tx.tasks]
    assert tx.tasks[ref.index].tags == {"order": 1}
    assert verify(queue.log).ok


def test_a_block_that_raises_stores_nothing(queue: eventq.Queue) -> None:
    """Neither rows nor tasks; the error goes through, and the queue goes on."""
    with pytest.raises(ZeroDivisionError), queue.transaction() as tx:  # noqa: PT012 - the block is what ends
        tx.execute("INSERT INTO orders (name) VALUES ('a')")
        tx.new({"order": 1})
        raise ZeroDivisionError

    assert names(queue) == []
    assert queue.tasks() == []
    assert queue.new({"order": 2}).number == 1


def test_what_the_commit_refuses_takes_the_rows_along(queue: eventq.Queue) -> None:
    """A key that belongs to another task is found at the end; no row is stored then."""
    queue.new({"order": 1}, key="one")

    with pytest.raises(eventq.KeyConflictError), queue.transaction() as tx:  # noqa: PT012 - the block is what ends
        tx.execute("INSERT INTO orders (name) VALUES ('a')")
        tx.new({"order": 2}, key="one")

    assert names(queue) == []
    with queue.transaction() as tx:
        tx.new({"order": 1}, key="one")
    assert [task.number for task in tx.tasks] == [1]


def test_a_block_that_takes_too_long_is_rolled_back(queue: eventq.Queue) -> None:
    """Whatever it does then: others may append, and its end tells it."""
    with pytest.raises(eventq.TransactionTimeoutError), queue.transaction(timeout=0.05) as tx:  # noqa: PT012 - the block is what ends
        tx.execute("INSERT INTO orders (name) VALUES ('a')")
        other = threading.Thread(target=queue.new)
        other.start()
        other.join()

    assert names(queue) == []
    assert len(queue.tasks()) == 1


def test_a_statement_that_takes_too_long_is_broken_off(queue: eventq.Queue) -> None:
    """SQLite is interrupted in the middle of it, and nothing is left of the transaction."""
    with pytest.raises(eventq.TransactionTimeoutError), queue.transaction(timeout=0.05) as tx:  # noqa: PT012 - the block is what ends
        tx.new({"order": 1})
        tx.execute(FOREVER)

    assert names(queue) == []
    assert queue.new().number == 1


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE events ADD COLUMN more",
        "ALTER TABLE orders RENAME TO starts",
        "ANALYZE",
        "ATTACH 'other.db' AS other",
        "COMMIT",
        "CREATE INDEX mine ON events (at)",
        "CREATE TABLE Kept (id INTEGER)",
        "CREATE TABLE eventq_next (id INTEGER)",
        "CREATE TEMP TABLE events (id INTEGER)",
        "CREATE TEMP TRIGGER mine AFTER INSERT ON orders BEGIN SELECT 1; END",
        "CREATE TEMP VIEW history AS SELECT 1",
        "CREATE TRIGGER mine AFTER INSERT ON events BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE mine USING fts5 (text)",
        "DELETE FROM EVENTS",
        "DETACH main",
        "DROP INDEX events_by_key",
        "DROP TABLE events",
        "DROP TRIGGER events_no_update",
        "DROP VIEW history",
        "INSERT INTO namespaces (name) VALUES ('x')",
        "INSERT OR REPLACE INTO main.events (place, at, task, body) VALUES (1, 1, 1, '')",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA writable_schema = ON",
        "REINDEX events",
        "RELEASE mine",
        "ROLLBACK",
        "SAVEPOINT mine",
        "SELECT 1; SELECT 2",
        "UPDATE events SET at = 0",
        "UPDATE sqlite_master SET sql = ''",
        "VACUUM",
        "not SQL",
    ],
)
def test_the_log_cannot_be_touched(queue: eventq.Queue, statement: str) -> None:
    """Nor what would change how it is read; the transaction stores nothing."""
    before = queue.sql("SELECT name, sql FROM sqlite_schema ORDER BY name").rows
    queue.new({"order": 1})

    with pytest.raises(eventq.ArgumentError, match="query"), queue.transaction() as tx:  # noqa: PT012 - the block is what ends
        tx.execute("INSERT INTO orders (name) VALUES ('a')")
        tx.execute(statement)

    assert names(queue) == []
    assert queue.sql("SELECT name, sql FROM sqlite_schema ORDER BY name").rows == before
    assert queue.new({"order": 2}).number == 2
    assert verify(queue.log).ok


def test_a_trigger_of_ones_own_cannot_touch_the_log(queue: eventq.Queue) -> None:
    """It is refused where it would fire."""
    with queue.transaction() as tx:
        tx.execute("CREATE TRIGGER mine AFTER INSERT ON orders BEGIN DELETE FROM events; END")

    with pytest.raises(eventq.ArgumentError), queue.transaction() as tx:
        tx.execute("INSERT INTO orders (name) VALUES ('a')")

    assert names(queue) == []


def test_constraints_are_told_and_the_block_may_go_on(queue: eventq.Queue) -> None:
    """A statement that breaks one has changed nothing, and the rest is stored."""
    with queue.transaction() as tx:
        tx.execute("INSERT INTO orders (name) VALUES ('a')")
        with pytest.raises(eventq.StatementError) as caught:
            tx.execute("INSERT INTO orders (name) VALUES ('b'), ('a')")

    assert caught.value.code == "SQLITE_CONSTRAINT_UNIQUE"
    assert names(queue) == ["a"]


def test_foreign_keys_hold_at_the_end(queue: eventq.Queue) -> None:
    """One that is deferred may be broken meanwhile, and rolls all back where it stays so."""
    with queue.transaction() as tx:
        tx.execute("INSERT INTO items VALUES (1)")
        tx.execute("INSERT INTO orders (id, name) VALUES (1, 'a')")

    with pytest.raises(eventq.StatementError), queue.transaction() as tx:  # noqa: PT012 - the block is what ends
        tx.new({"order": 7})
        tx.execute("INSERT INTO items VALUES (7)")

    assert queue.sql("SELECT * FROM items").rows == [(1,)]
    assert queue.tasks() == []


@pytest.mark.parametrize(
    "call",
    [
        lambda queue: queue.new(),
        lambda queue: queue.get("1"),
        lambda queue: queue.transaction().__enter__(),
        lambda queue: eventq.Queue(queue.url).new(),
    ],
    ids=["new", "get", "transaction", "another queue"],
)
def test_the_queue_is_not_used_inside(
    queue: eventq.Queue, call: Callable[[eventq.Queue], object]
) -> None:
    """It would wait for the block's own end; that is told at once, and the block goes on."""
    with queue.transaction() as tx:
        with pytest.raises(eventq.TransactionError):
            call(queue)
        tx.execute("INSERT INTO orders (name) VALUES ('a')")

    assert names(queue) == ["a"]


def test_it_is_used_once_and_by_one_thread(queue: eventq.Queue) -> None:
    """Not before its block, nor after it, nor by another thread."""
    unbegun = queue.transaction()
    with pytest.raises(eventq.TransactionError):
        unbegun.execute("SELECT 1")
    met: list[BaseException] = []

    def use() -> None:
        try:
            tx.execute("INSERT INTO orders (name) VALUES ('a')")
        except eventq.TransactionError as error:
            met.append(error)

    with queue.transaction() as tx:
        other = threading.Thread(target=use)
        other.start()
        other.join()

    assert len(met) == 1
    for again in (lambda: tx.execute("SELECT 1"), tx.new, tx.__enter__):
        with pytest.raises(eventq.TransactionError):
            again()
    assert names(queue) == []


def test_a_fork_in_its_block_ends_it(queue: eventq.Queue) -> None:
    """It is rolled back; neither process can go on with it, and the queue goes on in both."""
    tx = queue.transaction(timeout="10s")
    with pytest.raises(eventq.TransactionError, match="forked"), tx:  # noqa: PT012 - the block is what ends
        tx.execute("INSERT INTO orders (name) VALUES ('a')")
        child = os.fork()
        if not child:
            try:
                tx.execute("INSERT INTO orders (name) VALUES ('b')")
            except eventq.TransactionError:
                os._exit(7)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7
    assert names(queue) == []
    assert queue.new().number == 1


@pytest.mark.parametrize("timeout", [0, "11s", -1, "soon"])
def test_the_timeout_is_bounded(queue: eventq.Queue, timeout: float | str) -> None:
    """It holds up everybody, so that 10 seconds are the most."""
    with pytest.raises(eventq.ArgumentError, match="timeout"):
        queue.transaction(timeout=timeout)


def test_other_logs_have_none() -> None:
    """There an outbox stands beside the user's database."""
    with eventq.Queue("memory://") as queue:
        with pytest.raises(eventq.ArgumentError, match="outbox"), queue.transaction():
            pass

        assert queue.new().number == 1


def test_threads_take_turns(queue: eventq.Queue) -> None:
    """Blocks and plain calls of many threads are all served, each whole."""
    failed: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for turn in range(20):
                with queue.transaction(timeout="10s") as tx:
                    tx.execute("INSERT INTO orders (name) VALUES (?)", [f"{thread}-{turn}"])
                    tx.new({"order": f"{thread}-{turn}"})
                queue.new({"order": ""})
        except BaseException as error:  # noqa: BLE001 - the test raises it
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    ordered = [task.tags["order"] for task in queue.tasks() if task.tags["order"]]
    assert sorted(ordered) == sorted(names(queue))
    assert len(ordered) == 80
    assert len(queue.tasks()) == 160


def test_it_is_awaited_in_an_event_loop(url: str) -> None:
    """The loop goes on meanwhile; the plain form is refused there."""

    async def main() -> list[str]:
        async with eventq.AsyncQueue(url) as queue:
            async with queue.transaction() as tx:
                await tx.execute(SETUP[0])
                await tx.execute_many("INSERT INTO orders (name) VALUES (?)", [["a"], ["b"]])
                tx.new({"order": 1})
                with pytest.raises(eventq.TransactionError):
                    await queue.new()
                with pytest.raises(eventq.TransactionError):
                    await asyncio.create_task(tx.execute("SELECT 1"))
            with pytest.raises(eventq.EventLoopError), queue.queue.transaction():
                pass
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what ends
                async with queue.transaction() as tx:
                    await tx.execute("INSERT INTO orders (name) VALUES ('c')")
                    raise ZeroDivisionError
            found = await queue.sql("SELECT name FROM orders")
            assert len(await queue.tasks()) == 1
            return [name for (name,) in found.rows]

    assert asyncio.run(main()) == ["a", "b"]


def test_an_attempt_completes_with_its_rows(queue: eventq.Queue) -> None:
    """The rows, the result and the tasks that it makes are one commit; a failure stores none."""

    @queue.task("pay")
    def pay(ctx: eventq.Context, order: str, *, ends: str = "well") -> str:
        with ctx.transaction() as tx:
            tx.execute("INSERT INTO orders (name) VALUES (?)", [order])
            tx.new({"mail": order}, name="mail")
            if ends == "inside":
                raise eventq.Fail
        if ends == "behind":
            raise eventq.Fail
        return f"paid {order}"

    @queue.task("refund")
    async def refund(ctx: eventq.AsyncContext, order: str) -> str:
        async with ctx.transaction() as tx:
            await tx.execute("INSERT INTO orders (name) VALUES (?)", [order])
        return f"refunded {order}"

    made = [pay.new("a"), pay.new("b", ends="inside"), pay.new("c", ends="behind"), refund.new("d")]

    report = queue.run(until="idle", signals=False)

    found = [queue.get(task.key) for task in made]
    assert [each and each.result for each in found] == ["paid a", None, None, "refunded d"]
    assert (report.completed, report.failed, report.refused, report.left) == (2, 2, 0, 1)
    assert sorted(names(queue)) == ["a", "d"]
    assert [task.tags for task in queue.tasks()] == [{"mail": "a"}]
    events = list(queue.events())
    done = next(event for event in events if event.kind == "completed" and event.task == 1)
    assert [event.seq for event in events if event.at == done.at and event.kind == "created"]
    assert verify(queue.log).ok


def test_an_attempt_that_lost_its_lease_stores_nothing(queue: eventq.Queue) -> None:
    """Its rows go with the completion that comes too late; the next attempt's are there once."""
    begun, go_on = threading.Event(), threading.Event()

    @queue.task("pay", max_retries=0)
    def pay(ctx: eventq.Context) -> None:
        begun.set()
        go_on.wait(60)
        with ctx.transaction() as tx:
            tx.execute("INSERT INTO orders (name) VALUES ('a')")

    task = pay.new()
    run = threading.Thread(target=queue.run, kwargs={"until": "idle", "signals": False})
    run.start()
    begun.wait(60)
    with eventq.Queue(queue.url) as other:
        other.cancel(task.key)
    go_on.set()
    run.join()

    found = queue.get(task.key)
    assert found is not None
    assert found.state is eventq.TaskState.CANCELLED
    assert names(queue) == []


def test_an_attempt_whose_transaction_is_late_fails(queue: eventq.Queue) -> None:
    """Its time runs until the worker has returned; nothing of it is stored."""

    @queue.task("pay", max_retries=0)
    def pay(ctx: eventq.Context) -> None:
        with ctx.transaction(timeout=0.05) as tx:
            tx.execute("INSERT INTO orders (name) VALUES ('a')")
        other = threading.Thread(target=queue.new)
        other.start()
        other.join()

    task = pay.new()
    queue.run(until="idle", signals=False)

    error = queue.attempts(task.key)[0].error
    assert error is not None
    assert error.type == "eventq.TransactionTimeoutError"
    assert names(queue) == []


def test_isolated_attempts_have_none(queue: eventq.Queue) -> None:
    """Their process never writes the log; so it is with any that no run of its own has."""
    context = eventq.Context(queue.new(), SystemClock())

    with pytest.raises(eventq.ArgumentError, match="own process"):
        context.transaction()


def test_its_time_counts_against_no_lease(queue: eventq.Queue) -> None:
    """A node that could not renew meanwhile keeps its task, though its ttl has passed twice."""
    begun, goes_on, held = threading.Event(), threading.Event(), threading.Event()

    def work(_ctx: eventq.Context, _task: eventq.Task) -> None:
        begun.set()
        goes_on.wait(60)

    def run(one: eventq.Queue) -> None:
        one.run(work, until="idle", signals=False, lease_ttl="1s")

    task = queue.new()
    with eventq.Queue(queue.url, workers=1) as judge, eventq.Queue(queue.url) as holder:
        runs = [threading.Thread(target=run, args=(each,)) for each in (queue, judge)]
        runs[0].start()
        begun.wait(60)
        runs[1].start()
        with holder.transaction(timeout="10s") as tx:
            tx.execute("INSERT INTO orders (name) VALUES ('a')")
            # Nobody ends it sooner: it holds the file for longer than leases last.
            held.wait(2.4)
        goes_on.set()
        for each in runs:
            each.join()

    assert [attempt.outcome for attempt in queue.attempts(task.key)] == ["completed"]
