"""The live stack of an attempt: where it stands, in whatever it runs, and nothing of its values."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import eventq
from eventq.runner.standing import stack_of
from eventq.web.access import Right
from tests.runner import isolated
from tests.support import wait_until
from tests.web.desk import SECRET, Desk

PATIENT_S = 60.0


@pytest.mark.parametrize("is_async", [False, True])
def test_where_a_running_attempt_stands(desk: Desk, queue: eventq.Queue, *, is_async: bool) -> None:
    """The page shows the worker's own calls, the last one last; no value of a variable."""
    begun, goes_on = threading.Event(), threading.Event()

    def deep(token: str) -> None:
        assert token
        begun.set()
        goes_on.wait(PATIENT_S)

    async def later(token: str) -> None:
        assert token
        begun.set()
        await asyncio.to_thread(goes_on.wait, PATIENT_S)

    def work(_ctx: eventq.Context, task: eventq.Task) -> None:
        deep(task.tags["token"])

    async def work_async(_ctx: eventq.Context, task: eventq.Task) -> None:
        await later(task.tags["token"])

    task = queue.new({"token": SECRET}, key="slow")
    worker = work_async if is_async else work
    run = threading.Thread(target=lambda: queue.run(worker, until="idle", signals=False))
    run.start()
    begun.wait(PATIENT_S)
    shown = desk.json("/tasks/slow")["stack"]
    page = desk.get("/tasks/slow")
    desk.may(Right.RETRY)
    hidden = desk.json("/tasks/slow")["stack"]
    goes_on.set()
    run.join(PATIENT_S)

    names = [line["function"] for line in shown]
    assert names[0] == worker.__name__
    assert ("later" if is_async else "deep") in names
    assert "Where it stands now" in page
    assert SECRET not in str(shown)
    assert hidden is None
    assert stack_of(task.number) is None


def test_an_attempt_elsewhere_has_none(desk: Desk, queue: eventq.Queue) -> None:
    """It is said where one would be seen."""
    queue.new({"n": 1}, key="done")
    queue.run(lambda _ctx, _task: None, until="idle", signals=False)

    assert desk.json("/tasks/done")["stack"] is None
    assert stack_of(12345) is None


def test_where_there_is_no_stack_the_page_says_why(
    desk: Desk, queue: eventq.Queue, tmp_path: Path
) -> None:
    """Of an attempt in another process, of one in the past, and for who sees no values."""
    task = queue.new({"n": 1}, key="far")
    code = """
import os, sys, eventq
eventq.Queue(sys.argv[1], workers=1).run(lambda ctx, task: os._exit(0), signals=False)
"""
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{tmp_path}/queue.db"], check=True)
    model = desk.json("/tasks/far")
    page = desk.get("/tasks/far")
    past = desk.json(f"/tasks/far?at={queue.log.head().seq}")
    desk.may()

    assert model["row"]["state"] == "leased"
    assert model["stack"] is None
    assert "in a process of its own" in page
    assert "the log does not hold it" in past["stack_lack"]
    assert "may see values" in desk.json("/tasks/far")["stack_lack"]
    assert desk.json(f"/tasks/far?at={task.number}")["stack_lack"] is None


@pytest.mark.parametrize("is_async", [False, True])
def test_where_an_isolated_attempt_stands(tmp_path: Path, *, is_async: bool) -> None:
    """Its own process says it; while that does not answer, the page says so."""
    begun = tmp_path / "begun"
    handler = isolated.wait_async if is_async else isolated.finish_when
    url = f"sqlite:///{tmp_path}/isolated.db"
    with eventq.Queue(url, workers=1, handlers=[isolated.handlers]) as queue:
        desk = Desk(queue, tmp_path / "cache")
        task = queue.new(handler, str(begun))
        run = threading.Thread(target=lambda: queue.run(until="idle", signals=False))
        run.start()
        wait_until(begun.exists)
        shown = desk.json(f"/tasks/{task.key}")["stack"]
        pid = int(begun.read_text())
        os.kill(pid, signal.SIGSTOP)
        stat = Path(f"/proc/{pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        silent = [desk.json(f"/tasks/{task.key}") for _ in range(2)]
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: desk.json(f"/tasks/{task.key}")["stack"] is not None)
        (tmp_path / "begun.go").touch()
        if is_async:
            queue.cancel(task.key)
        run.join(PATIENT_S)
        desk.close()

    assert handler.function.__name__ in [line["function"] for line in shown]
    assert shown[-1]["text"]
    assert [model["stack"] for model in silent] == [None, None]
    assert "does not answer" in silent[0]["stack_lack"]
