"""A run lowers how long threads wait for Python's lock next to long tasks, and puts it back."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from eventq import Queue, Task
from eventq.handlers.context import Context
from eventq.host.switching import SWITCH_S, Switching
from tests.support import running, wait_until


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    """Python's own interval before and after."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


def is_quick() -> bool:
    """Whether threads get the lock soon."""
    return sys.getswitchinterval() == pytest.approx(SWITCH_S)


def test_a_run_switches_quickly_next_to_a_long_task() -> None:
    """Once a task has run for a while; afterwards all is as before."""
    leave = threading.Event()

    def work(_ctx: Context, _task: Task) -> None:
        leave.wait(60)

    with Queue("memory://") as queue, running(queue, work) as run:
        queue.new()
        wait_until(is_quick)

        leave.set()
        queue.stop()
        run.result()

    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_short_tasks_are_not_switched_quickly() -> None:
    """Switching sooner would only cost them time."""
    seen: set[bool] = set()

    with Queue("memory://") as queue:
        queue.new_many([{}] * 100)
        queue.run(lambda _ctx, _task: seen.add(is_quick()), until="idle")

    assert seen == {False}


def test_the_last_of_several_runs_puts_it_back() -> None:
    """Two runs in one process may end in any order, and end twice."""
    first, second = Switching(), Switching()
    first.hurry()
    second.hurry()

    first.relax()
    first.relax()
    between = is_quick()
    second.relax()

    assert between
    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_a_lower_interval_stays() -> None:
    """A program that has set a lower one keeps it."""
    sys.setswitchinterval(0.0001)
    wish = Switching()

    wish.hurry()
    inside = sys.getswitchinterval()
    wish.relax()

    assert inside == pytest.approx(0.0001, rel=0.02)
    assert sys.getswitchinterval() == pytest.approx(0.0001, rel=0.02)


def test_an_interval_set_meanwhile_stays() -> None:
    """What a worker sets itself is not undone."""
    wish = Switching()

    wish.hurry()
    sys.setswitchinterval(0.002)
    wish.relax()

    assert sys.getswitchinterval() == pytest.approx(0.002)


@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_child_has_the_usual_interval() -> None:
    """It has none of its parent's runs."""
    wish = Switching()
    wish.hurry()

    child = os.fork()
    if child == 0:
        os._exit(0 if sys.getswitchinterval() == pytest.approx(0.005) else 1)
    _, status = os.waitpid(child, 0)

    wish.relax()
    assert status == 0
