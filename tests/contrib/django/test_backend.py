"""What the backend does beyond the reference: transactions, options, connections, schedules."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connections, transaction
from django.test import override_settings

import eventq
from eventq.contrib import Outbox
from eventq.contrib.django import Backend, running
from eventq.contrib.django.framework import (
    InvalidTaskError,
    TaskResultStatus,
    task_backends,
    task_enqueued,
)
from eventq.contrib.django.models import OutboxRecord
from eventq.contrib.django.results import WorkerDiedError
from tests.contrib.django.conftest import Work
from tests.contrib.django.hearing import heard
from tests.contrib.django.site.shop import tasks
from tests.contrib.django.site.shop.models import Done, Order
from tests.contrib.postgres import Postgres

READY, SUCCESSFUL = TaskResultStatus.READY, TaskResultStatus.SUCCESSFUL


@pytest.fixture(params=["default", "pg"])
def database(
    request: pytest.FixtureRequest, backend: Backend, tasks_setting: dict[str, Any]
) -> Iterator[str]:
    """The alias of a database with the outbox of the default backend: SQLite, and PostgreSQL."""
    alias: str = request.param
    if alias == "default":
        yield alias
        return
    server: Postgres = request.getfixturevalue("postgres")
    parts = urlsplit(server.new_url())
    known: Any = connections.settings
    own = {"ENGINE": "django.db.backends.postgresql", "NAME": parts.path[1:], "OPTIONS": {}}
    place = {"USER": parts.username, "HOST": parts.hostname, "PORT": parts.port}
    known[alias] = {**known["default"], **own, **place}
    try:
        options = tasks_setting["default"]["OPTIONS"] | {"outbox": alias}
        with override_settings(TASKS={"default": {**tasks_setting["default"], "OPTIONS": options}}):
            own_backend: Any = task_backends["default"]
            own_backend.outbox.create()
            yield alias
    finally:
        connections[alias].close()
        del known[alias], connections[alias]
        assert backend.alias == "default"


def test_committed_tasks_are_made_and_others_are_not(database: str) -> None:
    """Also of savepoints: what is rolled back takes its tasks along."""
    with heard(task_enqueued) as made, transaction.atomic(using=database):
        kept = tasks.add.enqueue(1)
        with transaction.atomic(using=database):
            lost = tasks.add.enqueue(2)
            transaction.set_rollback(True, using=database)
        assert made == []
    with transaction.atomic(using=database):
        also_lost = tasks.add.enqueue(3)
        transaction.set_rollback(True, using=database)
    backend: Any = task_backends["default"]
    backend.queue.run(until="idle", signals=False)

    assert [each.id for _, each in made] == [kept.id]
    assert [task.tags["left"] for task in backend.queue.tasks(state="completed")] == [1]
    assert tasks.add.get_result(kept.id).status == SUCCESSFUL
    for result in (lost, also_lost):
        with pytest.raises(Exception, match=result.id):
            tasks.add.get_result(result.id)


def test_a_result_is_there_before_the_relay(database: str) -> None:
    """Inside of the transaction it is the row that is found, as it was made."""
    with transaction.atomic(using=database):
        result = tasks.mail.using(priority=9).enqueue(order=5)
        found = tasks.mail.get_result(result.id)

        assert (found.status, found.args, found.kwargs) == (READY, [], {"order": 5})
        assert found.task == result.task


def test_who_asks_for_a_result_hears_that_the_table_is_missing(database: str) -> None:
    """With the command that makes it."""
    rename = "ALTER TABLE {} RENAME TO {}"
    with connections[database].cursor() as cursor:
        cursor.execute(rename.format("eventq_outbox", "eventq_away"))
        try:
            with pytest.raises(
                eventq.OutboxError, match=f"manage.py migrate --database {database}"
            ):
                tasks.mail.get_result("nobody")
        finally:
            cursor.execute(rename.format("eventq_away", "eventq_outbox"))


def test_the_process_relays_its_own_rows_at_once(database: str) -> None:
    """No run, and no other relay: the commit wakes the one of this process."""
    backend: Any = task_backends["default"]
    with transaction.atomic(using=database):
        result = tasks.add.enqueue(1)
    patience = threading.Event()
    for _ in range(500):
        if backend.queue.get(result.id) is not None:
            break
        patience.wait(0.02)

    assert backend.queue.get(result.id).name == tasks.add.module_path


def test_outside_of_transactions_tasks_are_there_at_once(backend: Backend) -> None:
    """With autocommit there is nothing to wait for; so also in another database's transaction."""
    one = tasks.add.enqueue(1)
    with transaction.atomic(using="other"):
        two = tasks.add.enqueue(2)

        assert [task.key for task in backend.queue.tasks()] == [one.id, two.id]
        assert not OutboxRecord.objects.exists()


def test_a_view_makes_both_or_none(backend: Backend, work: Work) -> None:
    """The order and its task are one, whatever becomes of the transaction."""
    from django.test import Client  # noqa: PLC0415 - once Django is set up

    client = Client()
    for number, rest in (("a", ""), ("b", "?fails"), ("c", "")):
        assert client.get(f"/order/{number}/{rest}").status_code == 200
    work()

    assert sorted(each.number for each in Order.objects.all()) == ["a", "c"]
    assert sorted(each.number for each in Done.objects.all()) == ["a", "c"]
    assert backend.queue.stats().completed == 2


def test_handlers_of_eventq_use_the_outbox_as_well(backend: Backend, work: Work) -> None:
    """`Outbox.new` takes a connection of Django's; without a transaction it is refused."""
    outbox = backend.outbox
    assert outbox is not None

    @backend.queue.task("own")
    def own(number: int) -> int:
        return number

    with transaction.atomic():
        key = outbox.new(own, 7, on=connections["default"])
        proxied = outbox.new(own, 8, on=transaction.get_connection())
    with pytest.raises(eventq.ArgumentError, match="connection in a transaction"):
        outbox.new(own, 9, on=connections["default"])
    work()

    found = [backend.queue.get(each) for each in (key, proxied)]
    assert [each.result for each in found if each is not None] == [7, 8]


def test_the_log_is_no_place_for_an_outbox(backend: Backend, tmp_path: Any) -> None:  # noqa: ANN401
    """The file of the log as a database of Django's is refused."""
    known: Any = connections.settings
    known["log"] = {**known["default"], "NAME": tmp_path / "tasks.db"}
    try:
        backend.queue.stats()
        with pytest.raises(eventq.ArgumentError, match=r"queue.transaction\(\)"):
            Outbox(backend.queue, connections["log"])
    finally:
        del known["log"]


def test_options_of_the_decorator_are_those_of_the_task(backend: Backend) -> None:
    """`@task(max_retries=..., backoff=...)`, and `options` below it, say what eventq does."""
    results = tasks.insist.enqueue(1), tasks.charge.enqueue(1)
    insist, charge = (backend.queue.get(each.id) for each in results)

    assert insist is not None
    assert charge is not None
    assert (insist.policy.max_retries, insist.policy.backoff_us) == (2, 1_000_000)
    assert (charge.policy.max_retries, charge.unique is not None) == (1, True)
    assert tasks.charge.enqueue(order=1).id == results[1].id
    assert tasks.charge.enqueue(2).id != results[1].id


def test_using_takes_options_of_one_task(backend: Backend) -> None:
    """A key, a deadline, what comes before: all that `Queue.new` takes."""
    first: Any = tasks.add
    one = first.using(key="first", deadline="5s").enqueue(1)
    two = first.using(after=[one.id]).enqueue(2)
    found = backend.queue.get(two.id)

    assert one.id == "first"
    assert first.using(key="first", deadline="5s").enqueue(1).id == "first"
    assert found is not None
    assert (found.state, len(found.after), found.priority) == ("waiting", 1, 0)
    with pytest.raises(InvalidTaskError, match="deadline"):
        first.using(deadline="soon")
    with pytest.raises(InvalidTaskError, match="isolate=True beside it"):
        first.using(memory="1GiB")


def test_a_task_runs_as_it_was_defined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever module holds a copy with other options, and was imported before its own."""
    early = ModuleType("early")
    insist: Any = tasks.insist
    vars(early)["hurried"] = insist.using(max_retries=0, priority=9)
    modules = {"early": early, **sys.modules}
    monkeypatch.setattr(running, "sys", SimpleNamespace(modules=modules))

    [found] = [each for each in running.found_tasks() if each.func is tasks.insist.func]

    assert found is tasks.insist


def test_an_error_ends_a_task_unless_somebody_says_otherwise(
    tasks_setting: dict[str, Any], backend: Backend, work: Work
) -> None:
    """Without max_retries, backoff or retry there is one attempt; the backend may say more."""
    once = tasks.fail.enqueue("no")
    work()
    options = tasks_setting["default"]["OPTIONS"] | {"max_retries": 1, "backoff": 0}
    with override_settings(TASKS={"default": {**tasks_setting["default"], "OPTIONS": options}}):
        twice = tasks.fail.enqueue("no")
        own: Any = task_backends["default"]
        own.queue.run(until="idle", signals=False)
        twice.refresh()

        assert twice.attempts == 2
        assert tasks.fail.get_result(once.id).attempts == 1
    assert backend.alias == "default"


def test_a_process_that_dies_ends_nothing(backend: Backend) -> None:
    """A lapse is an attempt whose error is told; the task is run again."""
    from eventq.testing import harness  # noqa: PLC0415 - loads pytest's things

    with harness([backend.handlers.collection]) as t:
        backend.handlers.load()
        backend.handlers.queue = t.queue
        made = t.queue.new({"left": 4}, name=tasks.add.module_path)
        t.crash_node(tasks.add.module_path)
        t.forward("5m")
        found = t.queue.get(made.key)
        assert found is not None
        from eventq.contrib.django.results import result_of  # noqa: PLC0415 - as above

        result = result_of("default", found, t.queue.history(made.key))

    assert (result.status, result.return_value) == (SUCCESSFUL, 5)
    assert [error.exception_class for error in result.errors] == [WorkerDiedError]
    assert len(result.worker_ids) == 2


def test_connections_are_as_fresh_as_those_of_a_request(work: Work) -> None:
    """With CONN_MAX_AGE 0, each attempt opens its own, and leaves none behind."""
    results = [tasks.connected.enqueue() for _ in range(4)]
    work()

    assert [tasks.connected.get_result(each.id).return_value for each in results] == [False] * 4


def test_schedules_are_planned_by_runs(backend: Backend, work: Work) -> None:
    """`@task(cron=...)` goes by the clock of TIME_ZONE, and makes tasks of Django's."""
    work()
    [schedule] = list(backend.queue.schedules)
    made = schedule.trigger(by="ada")
    work()

    assert schedule.name == tasks.report.module_path
    assert "Europe/Berlin" in str(schedule.state)
    assert made is not None
    result = tasks.report.get_result(made.key)
    assert (result.return_value, result.args, result.kwargs) == (0, [], {})


def test_other_backends_tasks_run_where_they_are_sent(backend: Backend, work: Work) -> None:
    """`using(backend=...)` sends a task to another log; its runs know all tasks."""
    result = tasks.add.using(backend="plain").enqueue(20)
    work()
    result.refresh()
    waits = result.status
    other: Any = task_backends["plain"]
    other.queue.run(until="idle", signals=False)
    result.refresh()

    assert (waits, result.return_value) == (READY, 21)
    assert backend.queue.stats().completed == 0


def test_threads_share_one_queue(backend: Backend) -> None:
    """Django makes a backend for each thread; there is one queue in the process."""
    found: list[object] = []

    def look() -> None:
        other: Any = task_backends["default"]
        found.extend([other, other.queue])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert found[0] is not backend
    assert found[1] is backend.queue


def test_tags_are_the_arguments_by_name(backend: Backend) -> None:
    """So that limits, turns and searches go by them, however they were given."""
    for result in (tasks.add.enqueue(1, 2), tasks.add.enqueue(left=1, right=2)):
        found = backend.queue.get(result.id)
        assert found is not None
        assert (found.tags["left"], found.tags["right"]) == (1, 2)
    assert len(backend.queue.tasks(tags={"left": 1})) == 2
