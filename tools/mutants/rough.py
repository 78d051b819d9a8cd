"""``python -m tools.mutants.rough``: real processes on one file, some of which are killed.

Threads of one process call for tasks of many kinds, two others work. One is killed, one is told to
stop, and in the end all must be done. The history checker judges the log, and the journals of all;
what no journal can show is looked at here. It imports eventq only to call it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import eventq
from tools.history.checker import Checker
from tools.history.clients import judge_clients
from tools.history.facts import Finding
from tools.history.journals import Line, calls_of, read_folder
from tools.history.reading import read_log
from tools.history.workers import judge_workers
from tools.mutants.worker import DEADLINE_S, TTL_S, boot_us

CALLERS = 4
GAP_S = 0.03
# So often all callers ask for the same at the same moment.
RUSH_S = 0.3
COME_BACK_S = 1.0
PAUSE_S = 0.4
# A stopped process has ended by then, and a task that could begin has begun.
STOP_S, BEGIN_S = 20.0, 4.0
# When no attempt has begun for so long, none will: longer than a lapse takes.
QUIET_S = 6.0
# A process that stands still comes back so long after its leases are over.
STALL_S = 1.0
PROBES, DELAY_S, SILENT_S = 9, 2.5, 1.5
# What is made while a process rests begins so soon; half of the time that it would be polled.
PROMPT_S = 0.25
# How much later than it should anything may come here, on a machine that does other things.
SLACK_US = 1_500_000
# Who is told to stop hears of it within this.
STOP_US = 600_000
BACKLOG = 80
MOST_SAID = 5


class StuckError(Exception):
    """What must happen does not."""


class Callers:
    """Threads that ask one queue for all sorts of things, and write down what they were told."""

    def __init__(self, queue: eventq.Queue) -> None:
        self.lines: list[Line] = []
        self.broken: list[str] = []
        """What no caller should ever be told."""
        self._queue = queue
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._calls = self._numbers = 0
        self._keys: list[str] = []
        self._threads = [
            threading.Thread(target=self._go_on, args=(random.Random(number),))
            for number in range(CALLERS)
        ]

    def start(self) -> None:
        """Starts them."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends them."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def next(self) -> int:
        """A number that no other task has in its tags."""
        self._numbers -= 1
        return self._numbers

    def make(self, tags: dict[str, Any], **options: Any) -> eventq.Task | None:  # noqa: ANN401
        """One call for a task, written down."""
        asked = {"op": "new", "tags": tags, "key": options.get("key")}
        asked["unique"] = "unique" in options
        made = self._told([asked], lambda: [self._queue.new(tags, name="does", **options)])
        return made[0] if made else None

    def _go_on(self, chance: random.Random) -> None:
        asks = [
            *[self._plain] * 4,
            self._governed,
            self._governed,
            self._linked,
            self._linked,
            self._keyed,
            self._unique,
            self._flow,
            self._manage,
            self._manage,
            self._come_back,
        ]
        rushed = 0
        while not self._is_over.wait(chance.random() * 2 * GAP_S):
            rush = int(time.monotonic() / RUSH_S)
            try:
                if rush > rushed:
                    rushed = rush + 1
                    time.sleep((rush + 1) * RUSH_S - time.monotonic())
                    self._rush(rush)
                else:
                    chance.choice(asks)(chance)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is to be reported
                self.broken.append(f"{type(error).__name__}: {error}")

    def _told(
        self, asked: list[dict[str, Any]], ask: Callable[[], list[eventq.Task]]
    ) -> list[eventq.Task]:
        with self._lock:
            names = [f"c{self._calls + index}" for index in range(len(asked))]
            self._calls += len(asked)
        for name, each in zip(names, asked, strict=True):
            self.lines.append({"call": name, "state": "invoked", "clock": boot_us(), **each})
        state, made = "ok", []
        try:
            made = ask()
        except eventq.LogOutcomeUnknownError:
            state = "unknown"
        except (eventq.KeyConflictError, eventq.DuplicateTaskError, eventq.NotAllowedError):
            state = "failed"
        clock = boot_us()
        for place, name in enumerate(names):
            answer: Line = {"call": name, "state": state, "clock": clock}
            if made:
                answer["task"] = made[place].number
            self.lines.append(answer)
        self._keys += [task.key for task in made]
        return made

    def _tags(self, chance: random.Random, what: str | None = None) -> dict[str, Any]:
        kinds = ("does", "does", "fails", "hopeless", "snoozes", "makes", "calls")
        return {"what": what or chance.choice(kinds), "number": chance.randrange(10**9)}

    def _some(self, chance: random.Random) -> list[str]:
        known = self._keys[-30:]
        return list(dict.fromkeys(chance.choices(known, k=2))) if known else []

    def _plain(self, chance: random.Random) -> None:
        options: dict[str, Any] = {"priority": chance.randrange(3)}
        if chance.random() < 0.3:
            options["delay"] = chance.choice((0.1, 0.4, 1.0))
        options["max_retries"] = chance.randrange(4)
        if chance.random() < 0.2:
            options["max_age"] = chance.choice((0.5, 2.0))
            options.pop("delay", None)
        if chance.random() < 0.2:
            options["backoff"] = eventq.Backoff.exponential("20ms", cap="30ms")
        self.make(self._tags(chance), **options)

    def _governed(self, chance: random.Random) -> None:
        tags = {**self._tags(chance, chance.choice(("does", "fails"))), "host": chance.randrange(2)}
        options: dict[str, Any] = {"limits": [chance.choice(("two", "rated", "hosted"))]}
        if chance.random() < 0.3:
            options = {"exclusive": ["x"]}
        self.make(tags, max_retries=3, share=chance.choice(("big", "small", None)), **options)

    def _linked(self, chance: random.Random) -> None:
        if some := self._some(chance):
            self.make(
                self._tags(chance),
                after=some,
                if_failed=chance.choice(("cancel", "run")),
                max_retries=2,
            )

    def _keyed(self, chance: random.Random) -> None:
        # Twice the same, or something else; by several threads at a time.
        key = f"k{int(time.monotonic() * 10)}"
        self.make({"what": "does", "number": chance.randrange(2)}, key=key)

    def _unique(self, chance: random.Random) -> None:
        self.make(self._tags(chance), unique=f"u{chance.randrange(3)}", max_retries=2)

    def _flow(self, chance: random.Random) -> None:
        tags = [self._tags(chance) for _ in range(3)]
        ends = [{"what": "does", "number": chance.randrange(10**9)} for _ in range(2)]

        def ask() -> list[eventq.Task]:
            with self._queue.flow() as flow:
                first = flow.new(tags[0], name="does", max_retries=1)
                flow.new(tags[1], name="does", after=[first], max_retries=1)
                flow.new(tags[2], name="does", max_retries=1)
                flow.on_failure(ends[0], name="does")
                flow.finally_(ends[1], name="does")
            return flow.tasks

        self._told([{"op": "new", "tags": each} for each in (*tags, *ends)], ask)

    def _come_back(self, chance: random.Random) -> None:
        """What the end of a task has cancelled comes back with it, or by itself."""
        made = self.make({**self._tags(chance, "hopeless")}, max_retries=0)
        chain = [made]
        for _ in range(2):
            if made is not None:
                made = self.make(self._tags(chance, "does"), after=[made])
                chain.append(made)
        first, second, last = (None if each is None else each.key for each in chain)
        if first is None or second is None or last is None:
            return
        wait_for(lambda: self._ended_at(last), COME_BACK_S)
        with suppress(eventq.NotAllowedError):
            if chance.random() < 0.5:
                self._queue.retry(second)
                self._queue.cancel(second)
            self._queue.retry(first)

    def _ended_at(self, key: str) -> int | None:
        task = self._queue.get(key)
        return None if task is None else task.finished_at_us

    def _rush(self, number: int) -> None:
        """All callers come here at the same moment, so that they share a commit."""
        kind = number % 3
        if kind == 0:
            self.make({"what": "does", "number": number}, key=f"rush-{number}")
        elif kind == 1:
            self.make({"what": "does", "number": number}, unique="rush")
        elif self._keys:
            with suppress(eventq.NotAllowedError):
                self._queue.cancel(self._keys[-1])

    def _manage(self, chance: random.Random) -> None:
        keys = self._some(chance)
        by = f"c{self._calls}-{chance.randrange(10**9)}"
        asks: list[Callable[[], object]] = [
            lambda: self._queue.set_limit("two", running=1 + chance.randrange(2)),
            lambda: self._queue.pause(tags={"host": 1}, until=PAUSE_S),
            lambda: self._queue.pause(limit="two", until=PAUSE_S),
        ]
        if keys:
            old = chance.choice(self._keys[-150:])
            asks += [lambda: self._queue.cancel(keys[0], by=by)]
            asks += [lambda: self._queue.retry(old, by=by)] * 2
            asks += [lambda: self._queue.update(keys[0], priority=chance.randrange(3), by=by)]
        # Where the machine is slow, a pause would have ended before it begins.
        with suppress(eventq.NotAllowedError, eventq.ArgumentError):
            chance.choice(asks)()


class Processes:
    """The processes of workers, and what was done to them."""

    def __init__(self, url: str, folder: Path, calls: Path) -> None:
        self.silenced: set[int] = set()
        """Those that were killed, or stood still for longer than their leases."""
        self.told: dict[int, int] = {}
        """By process, when it was told to stop; microseconds since boot."""
        self.broken: list[str] = []
        self._command = [sys.executable, "-m", "tools.mutants.worker", url]
        self._command += [str(folder), str(calls)]
        self._errors = (folder / "errors").open("w+", encoding="utf-8")
        self._live: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts one more."""
        self._live.append(subprocess.Popen(self._command, stderr=self._errors))

    def kill(self, pid: int) -> None:
        """SIGKILL for one."""
        process = self._take(pid)
        self.silenced.add(pid)
        self._note_end(process.poll())
        process.kill()
        process.wait()

    def stall(self, pid: int) -> None:
        """SIGSTOP for one, and SIGCONT when its leases are long over."""
        self.silenced.add(pid)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(TTL_S + STALL_S)
        os.kill(pid, signal.SIGCONT)

    def stop(self, pid: int) -> None:
        """SIGTERM for one, which must end well."""
        process = self._take(pid)
        self.told[pid] = boot_us()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            self.broken.append("a process did not stop when it was told to")
            return
        self._note_end(code)

    def stop_all(self) -> None:
        """SIGTERM for each."""
        for process in self._live.copy():
            self.stop(process.pid)

    def end(self) -> None:
        """Kills what is left."""
        for process in self._live.copy():
            self.kill(process.pid)

    def _take(self, pid: int) -> subprocess.Popen[bytes]:
        process = next(each for each in self._live if each.pid == pid)
        self._live.remove(process)
        return process

    def _note_end(self, code: int | None) -> None:
        if code:
            self._errors.seek(0)
            said = [line for line in self._errors if "Error: " in line] or ["nothing said"]
            self.broken.append(f"a process ended with {code}: {said[-1].strip()[-200:]}")


def main() -> int:
    """Plays it, and prints what was found."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants.rough", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of calls")
    parser.add_argument("--most", type=float, default=60.0, help="in all, about")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rough-") as temporary:
        found = play(Path(temporary), seconds=arguments.seconds, most=arguments.most)
    for finding in found[:MOST_SAID]:
        print(f"    {finding.invariant} at {finding.seq or 0}: {finding.text}")
    if not found:
        print("nothing found")
    return 1 if found else 0


def play(folder: Path, *, seconds: float, most: float) -> list[Finding]:
    """Plays it in an empty folder; returns what was found."""
    ends_s = time.monotonic() + most
    url, workers, calls = f"sqlite:///{folder / 'tasks.db'}", folder / "workers", folder / "calls"
    workers.mkdir()
    calls.mkdir()
    processes = Processes(url, workers, calls)
    is_drained, slow = False, list[Finding]()
    try:
        with eventq.Queue(url, backoff="50ms") as queue:
            queue.set_limit("two", running=2)
            queue.set_limit("rated", rate="5/500ms")
            queue.set_limit("hosted", running=1, per="host")
            queue.set_turns(weights={"big": 3})
            callers = Callers(queue)
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
    callers.lines += read_folder(calls)
    return found + judge(url, workers, callers, processes, is_drained=is_drained)


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


def runs(workers: Path, tasks: list[eventq.Task | None]) -> int:
    """The process that has begun one of these tasks first."""
    numbers = {task.number for task in tasks if task is not None}

    def found() -> int | None:
        for line in read_folder(workers):
            if line["what"] == "start" and line["task"] in numbers:
                return pid_of(line["node"])
        return None

    pid = wait_for(found, STOP_S)
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


def wait_for(ask: Callable[[], int | None], most_s: float) -> int | None:
    """The answer, once there is one."""
    ends_s = time.monotonic() + most_s
    while (found := ask()) is None and time.monotonic() < ends_s:
        time.sleep(0.01)
    return found


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


def judge(
    url: str, workers: Path, callers: Callers, processes: Processes, *, is_drained: bool
) -> list[Finding]:
    """All that log and journals show."""
    checker = Checker("default", retries_by_policy=True)
    for commit in read_log(url, "default"):
        checker.add(commit, true_at=commit.at)
    found = checker.finish(drained_at=checker.chain.at if is_drained else None).copy()
    lines = read_folder(workers)
    return [
        *found,
        *judge_clients(checker, calls_of(callers.lines)),
        *judge_workers(checker, lines),
        *judge_lapses(checker, processes),
        *judge_stops(lines, processes),
        *(judge_follower(checker) if is_drained else ()),
    ]


def judge_lapses(checker: Checker, processes: Processes) -> Iterator[Finding]:
    """Only what was silenced lapses, and soon."""
    signs: dict[str, int] = {}
    for event in checker.events:
        body = event.body
        if body["kind"] in {"leased", "renewed"}:
            signs[body["worker"]] = event.at
        elif body["kind"] == "failed" and body["error"]["type"] == "LeaseLapsed":
            node = checker.events[body["fence"] - 1].body["worker"]
            if pid_of(node) not in processes.silenced:
                yield Finding(13, event.seq, f"{node} lives, and its lease has lapsed")
            late_us = event.at - signs[node] - int(TTL_S * 1_000_000) - 2_000_000
            if late_us > SLACK_US:
                yield Finding(13, event.seq, f"{node} is judged {late_us} us too late")


def judge_stops(lines: list[Line], processes: Processes) -> Iterator[Finding]:
    """Who was told to stop begins nothing more."""
    for line in lines:
        if line["what"] == "start":
            told_us = processes.told.get(pid_of(line["node"]))
            if told_us is not None and line["clock"] > told_us + STOP_US:
                yield Finding("stop", line["fence"], "it began after its process was told to stop")


def judge_follower(checker: Checker) -> Iterator[Finding]:
    """The follower has come to the end."""
    ends = [e.seq for e in checker.events if e.body["kind"] in {"completed", "expired"}]
    come = [e.body["seq"] for e in checker.events if e.body["kind"] == "followed"]
    if ends and max(come, default=0) < ends[-1]:
        yield Finding("follower", ends[-1], f"it has come to {max(come, default=0)} only")


def pid_of(node: str) -> int:
    """The process of a node, by its name."""
    return int(node.rsplit("-", 2)[1])


if __name__ == "__main__":
    sys.exit(main())
