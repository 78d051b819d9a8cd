"""A run lowers how long threads wait for Python's lock, and puts it back."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from eventq import Queue, Task
from eventq.host.switching import SWITCH_S, quick_switching
from eventq.runner.context import Context


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    """Python's own interval before and after."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


def test_a_run_switches_quickly_while_it_lasts() -> None:
    """Its workers see the low interval, and afterwards it is as before."""
    seen: list[float] = []

    def work(_ctx: Context, _task: Task) -> None:
        seen.append(sys.getswitchinterval())

    with Queue("memory://") as queue:
        queue.new()
        queue.run(work, until="idle")

    assert seen == [pytest.approx(SWITCH_S)]
    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_the_last_of_several_runs_puts_it_back() -> None:
    """Two runs in one process may end in any order."""
    first, second = quick_switching(), quick_switching()
    first.__enter__()
    second.__enter__()

    first.__exit__(None, None, None)
    between = sys.getswitchinterval()
    second.__exit__(None, None, None)

    assert between == pytest.approx(SWITCH_S)
    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_a_lower_interval_stays() -> None:
    """A program that has set a lower one keeps it."""
    sys.setswitchinterval(0.0001)

    with quick_switching():
        inside = sys.getswitchinterval()

    assert inside == pytest.approx(0.0001, rel=0.02)
    assert sys.getswitchinterval() == pytest.approx(0.0001, rel=0.02)


def test_an_interval_set_meanwhile_stays() -> None:
    """What a worker sets itself is not undone."""
    with quick_switching():
        sys.setswitchinterval(0.002)

    assert sys.getswitchinterval() == pytest.approx(0.002)
