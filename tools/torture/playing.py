"""One round: all open a new log at once, are harmed again and again, and all work must then end."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import eventq
from eventq.contrib import Outbox
from tools.folders import own_folder
from tools.rough.callers import Callers
from tools.rough.play import runs
from tools.rough.worker import SLOW_S, Journal
from tools.torture.judging import judge, judge_orders
from tools.torture.roles import SHOP
from tools.torture.small_disk import SmallDisk
from tools.torture.stage import LOG, ROLES, Stage

KILLS_A_ROUND = 50
# How often a process may stand still where all others wait for it.
TRIALS = 4
# What has not come by then never will.
PATIENCE_S = 120.0
# Where nothing happens for so long, nothing will.
QUIET_S = 40.0
FOLDERS = ("begun", "calls", "workers", "broken", "errors")
MOST_SAID = 8


def play(seed: int, *, kills: int = KILLS_A_ROUND, keep: Path | None = None) -> Counter[str]:
    """What came of one round. Raises AssertionError for what must not be.

    What failed is copied to ``keep``: log, journals, and what the processes said.

    Of three rounds the first has no faults and right clocks, the second has clocks that jump, the
    third a disk that is full or broken, and processes without descriptors.
    """
    chance = Random(seed)
    with own_folder("eventq-torture") as folder:
        for name in FOLDERS:
            (folder / name).mkdir()
        with SmallDisk(folder / "disk") as disk:
            stage = Stage(folder, disk, chance, has_faults=seed % 3 == 2)
            if seed % 3 == 1:
                stage.let_clocks_jump()
            try:
                _go_on(stage, folder, disk, kills)
                _end(stage, folder, has_one_clock=seed % 3 != 1)
                _lose(stage, disk)
            except BaseException:
                if keep is not None:
                    shutil.copytree(
                        folder, keep / str(seed), ignore=shutil.ignore_patterns("*-bell")
                    )
                raise
            finally:
                stage.kill_all()
    return stage.outcomes


def _go_on(stage: Stage, folder: Path, disk: SmallDisk, kills: int) -> None:
    """All open the log at once, one stands still in an attempt, then comes harm after harm."""
    for role in ROLES:
        stage.start(role, plain=True)
    _await((disk.folder / LOG).exists, "none of eight processes has made the log")
    with eventq.Queue(stage.url) as queue:
        queue.set_limit("two", running=2)
        queue.set_limit("rated", rate="5/500ms")
        queue.set_limit("hosted", running=1, per="host")
        queue.set_turns(weights={"big": 3})
        _await(lambda: queue.stats().completed > 0, "no task was completed")
        with closing(Journal(folder / "calls")) as journal:
            _overtake(stage, queue, Callers(queue, journal, name="m"), folder / "workers")
    while stage.outcomes["kills"] < kills:
        stage.harm()


def _overtake(stage: Stage, queue: eventq.Queue, callers: Callers, workers: Path) -> None:
    """A process stands still until another has its task, and then comes with its own outcome."""
    for trial in range(TRIALS):
        # Tasks that ask for nothing while they are at work.
        numbers = [-3 * (4 * trial + number) for number in range(1, 5)]
        made = [callers.make({"what": "slow", "number": each}, priority=9) for each in numbers]
        pid = runs(workers, made, PATIENCE_S)
        keys = [task.key for task in made if task is not None]
        done_s = time.monotonic() + SLOW_S
        if stage.stand_still(pid, lambda: time.monotonic() > done_s and _is_taken(queue, keys)):  # noqa: B023
            _await(lambda: _is_over(queue, keys), "slow tasks do not end")  # noqa: B023
            stage.outcomes["overtaken"] += 1
            return
    raise AssertionError("the tasks of a process that stands still are not taken by others")


def _is_taken(queue: eventq.Queue, keys: list[str]) -> bool:
    """Whether one of the tasks has been leased twice."""
    return any([e.kind for e in queue.history(key)].count("leased") > 1 for key in keys)


def _is_over(queue: eventq.Queue, keys: list[str]) -> bool:
    """Whether each has come to an outcome."""
    ends = {"completed", "refused"}
    return all(ends & {event.kind for event in queue.history(key)} for key in keys)


def _end(stage: Stage, folder: Path, *, has_one_clock: bool) -> None:
    """No more is asked for, workers without faults do what is left, and all is judged."""
    stage.set_clocks_right()
    stage.end("caller", "console")
    stage.end()
    stage.start("threads", plain=True)
    with eventq.Queue(stage.url) as queue:
        _relay(queue, folder / SHOP)
        _await(lambda: _pause(queue), "no worker has planned its schedule")
        _drain(queue)
        stage.end()
        stats = queue.stats()
        stage.outcomes.update(events=stats.seq, tasks=stats.total, attempts=stats.attempts)
        found = [str(each) for each in judge(queue, folder, has_one_clock=has_one_clock)]
    stage.outcomes["refused outcomes"] += stats.refused
    found = [*stage.broken, *found]
    assert not found, f"{len(found)} findings: " + "; ".join(found[:MOST_SAID])


def _lose(stage: Stage, disk: SmallDisk) -> None:
    """The log is removed under a process, which must not go on with it."""
    stage.start("threads", plain=True)
    with eventq.Queue(stage.url) as queue:
        before = queue.stats().seq
        _await(lambda: queue.stats().seq > before, "a worker has not begun")
    for path in disk.folder.glob(f"{LOG}*"):
        if path.is_file():
            path.unlink()
    _await(stage.has_ended, "a worker goes on without its log")
    said = stage.last_words()
    assert "LogLostError" in said, f"a worker whose log was removed ended with {said}"
    stage.outcomes["logs removed"] += 1


def _drain(queue: eventq.Queue) -> None:
    """Waits until all has ended, also for the follower, or nothing has happened for long."""
    seq, changed_s = 0, time.monotonic()
    while time.monotonic() < changed_s + QUIET_S:
        stats = queue.stats()
        if not stats.open and not any(each.lag_events for each in queue.followers()):
            return
        if stats.seq != seq:
            seq, changed_s = stats.seq, time.monotonic()
        time.sleep(0.05)


def _relay(queue: eventq.Queue, shop: Path) -> None:
    """Has the orders relayed that nobody has come to."""
    outbox = Outbox(queue, at=f"sqlite:///{shop}")
    with outbox.relaying():
        _await(lambda: not list(judge_orders(queue, shop)), "orders are not relayed")
    outbox.close()


def _pause(queue: eventq.Queue) -> bool:
    """Pauses the one schedule, once it is there."""
    try:
        queue.schedules["beats"].pause()
    except eventq.ArgumentError:
        return False
    return True


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    """Waits for it. Raises AssertionError."""
    ends_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends_s, otherwise
        time.sleep(0.05)
