"""One run of rough processes: what is done to them, in which order, and what is looked at then."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path

import eventq
from tools.history.facts import Finding
from tools.history.journals import read_folder
from tools.rough.callers import Callers
from tools.rough.judging import judge
from tools.rough.processes import STOP_S, Processes, pid_of
from tools.rough.waiting import wait_for
from tools.rough.worker import DEADLINE_S, Journal, boot_us

# A task that could begin has begun by then.
BEGIN_S = 4.0
# When no attempt has begun for so long, none will: longer than a lapse takes.
QUIET_S = 6.0
PROBES, DELAY_S, SILENT_S = 9, 2.5, 1.5
# What is made while a process rests begins so soon; half of the time that it would be polled.
PROMPT_S = 0.25
BACKLOG = 80


class StuckError(Exception):
    """What must happen does not."""


def play(folder: Path, *, seconds: float, most: float) -> list[Finding]:
    """Plays it in an empty folder; returns what was found."""
    ends_s = time.monotonic() + most
    url, workers, calls = f"sqlite:///{folder / 'tasks.db'}", folder / "workers", folder / "calls"
    workers.mkdir()
    calls.mkdir()
    processes = Processes(url, workers, calls)
    is_drained, slow = False, list[Finding]()
    try:
        with eventq.Queue(url, backoff="50ms") as queue, closing(Journal(calls)) as journal:
            queue.set_limit("two", running=2)
            queue.set_limit("rated", rate="5/500ms")
            queue.set_limit("hosted", running=1, per="host")
            queue.set_turns(weights={"big": 3})
            callers = Callers(queue, journal)
            try:
                go_on(callers, processes, workers, seconds)
                # Nothing but what is made is to wake the process that is left.
                queue.schedules["beats"].pause()
                is_drained = drain(queue, ends_s)
                if is_drained:
                    slow = probe(callers, workers)
                    is_drained = drain(queue, ends_s)
                else:
                    print("it was not all done in time, and is not judged for that")
            except (StuckError, eventq.EventqError) as error:
                slow = [Finding("broke", None, f"{type(error).__name__}: {error}")]
            finally:
                callers.stop()
        processes.stop_all()
    finally:
        processes.end()
    broken = [*callers.broken, *processes.broken]
    found = [Finding("broke", None, text) for text in broken]
    found += slow
    return found + judge(url, workers, calls, processes, is_drained=is_drained)


def go_on(callers: Callers, processes: Processes, workers: Path, seconds: float) -> None:
    """Has callers call and processes work; each fault strikes one amid a long task."""

    def busy() -> int:
        slow = [
            callers.make({"what": "slow", "number": callers.next()}, priority=9) for _ in "1234"
        ]
        return runs(workers, slow)

    processes.start()
    processes.start()
    callers.start()
    time.sleep(seconds * 0.3)
    processes.kill(busy())
    processes.start()
    time.sleep(seconds * 0.2)
    processes.stall(busy())
    time.sleep(seconds * 0.2)
    late = {"what": "late", "number": callers.next()}
    callers.make(late, priority=9, deadline=DEADLINE_S, max_retries=0)
    told = busy()
    time.sleep(seconds * 0.1)
    # It must begin none of these, though it has slots for them.
    for number in range(BACKLOG):
        limits = [] if number % 4 else ["rated"]
        callers.make({"what": "does", "number": callers.next()}, limits=limits)
    stops = threading.Thread(target=processes.stop, args=(told,))
    stops.start()
    time.sleep(seconds * 0.2)
    callers.stop()
    stops.join()


def runs(workers: Path, tasks: list[eventq.Task | None], most_s: float = STOP_S) -> int:
    """The process that has begun one of these tasks first. Raises StuckError."""
    numbers = {task.number for task in tasks if task is not None}

    def found() -> int | None:
        for line in read_folder(workers):
            if line["what"] == "start" and line["task"] in numbers:
                return pid_of(line["node"])
        return None

    pid = wait_for(found, most_s)
    if pid is None:
        raise StuckError(f"none of {numbers} has begun")
    return pid


def probe(callers: Callers, workers: Path) -> list[Finding]:
    """How soon tasks begin that are made while the one process that is left has nothing to do."""
    waits: list[float] = []
    # The last one comes when nothing else has happened for a while, and is due a little later.
    for delay_s in (*[0.0] * PROBES, DELAY_S):
        time.sleep(SILENT_S if delay_s else 0.05)
        options = {"delay": delay_s} if delay_s else {}
        begun_us = boot_us()
        task = callers.make({"what": "does", "number": callers.next()}, priority=50, **options)
        assert task is not None, "nothing refuses it"
        started = wait_for(lambda task=task: started_at(workers, task.number), BEGIN_S)  # type: ignore[misc]
        if started is None:
            return [Finding(14, task.number, f"it has not begun after {BEGIN_S} s")]
        waits.append((started - begun_us) / 1_000_000 - delay_s)
    median_s = sorted(waits)[PROBES // 2]
    if median_s > PROMPT_S:
        return [Finding(14, None, f"half of all tasks that could begin wait {median_s:.2f} s")]
    return []


def started_at(workers: Path, number: int) -> int | None:
    """When a task has begun, by the journals."""
    for line in read_folder(workers):
        if line["what"] == "start" and line["task"] == number:
            return int(line["clock"])
    return None


def drain(queue: eventq.Queue, ends_s: float) -> bool:
    """Waits until all has ended, also for the follower, or nothing more begins.

    Returns False where time is up before: then nobody can say what would have ended.
    """
    attempts, changed_s = 0, time.monotonic()
    while time.monotonic() < max(ends_s, changed_s + QUIET_S):
        stats = queue.stats()
        if not stats.open and not any(each.lag_events for each in queue.followers()):
            return True
        if stats.attempts != attempts:
            if time.monotonic() > ends_s:
                return False
            attempts, changed_s = stats.attempts, time.monotonic()
        elif time.monotonic() > changed_s + QUIET_S:
            return True
        time.sleep(0.05)
    return True
