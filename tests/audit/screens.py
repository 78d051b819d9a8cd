"""The stepper under test: a fixed story to step through, its screen as text, and its recording.

``python -m tests.audit.screens`` prints the recording that docs/how-to/step-through.md shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from eventq.cli.stepper.app import Stepper
from eventq.core.command import Draft
from eventq.core.create import NewTask
from eventq.core.durations import SECOND_US
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.core.settle import Outcome
from eventq.core.values import ErrorInfo, Policy
from eventq.eventlog import EventLog
from eventq.eventlog.memory import MemoryLog, MemoryStorage
from tests import deciding as decide
from tests.driver import record
from tests.support import ManualClock

# 2026-11-23T12:00:00Z in microseconds.
NOON = 1_795_435_200_000_000
TTL = 30 * SECOND_US
POLICY = Policy("linear", 10 * SECOND_US, max_retries=3)
# What a terminal has that nobody has made larger.
SMALL = (80, 24)


class Story:
    """A log that was written by hand: host-1 dies over a task, and host-2 does it again."""

    def __init__(self) -> None:
        self.log = MemoryLog(MemoryStorage(), url="sqlite:///thumbnails.db", namespace="default")
        self.projection = Projection("default")
        self.now = NOON

    def after(self, seconds: float, drafts: list[Draft]) -> None:
        """Appends what was decided, so many seconds later."""
        record(self.log, self.projection, drafts, now=self.now)
        self.now += round(seconds * SECOND_US)

    def orders(self, *names: str, priority: int = 0, delay_s: float | None = None) -> list[Draft]:
        """New tasks, one a name."""
        delay_us = None if delay_s is None else round(delay_s * SECOND_US)
        wanted = [
            NewTask(b'{"path":"%b.png"}' % name.encode(), POLICY, priority, name, None, delay_us)
            for name in names
        ]
        return decide.create(wanted, {}, now=self.now)[0]

    def leases(self, worker: str, count: int) -> list[Draft]:
        """The node takes what is next."""
        return decide.lease(
            self.projection,
            worker=worker,
            ttl_us=TTL,
            wanted=Vacancy(count),
            room=100,
            now=self.now,
        )

    def ends(self, worker: str, **kinds: str) -> list[Draft]:
        """Attempts of the node end, each in its way: a task's key, and the kind."""
        outcomes = [self.outcome(name, kind) for name, kind in kinds.items()]
        return decide.settle(self.projection, outcomes, worker=worker, now=self.now)

    def outcome(self, name: str, kind: str) -> Outcome:
        """The end of the live attempt at a task."""
        number = self.projection.number_of(name)
        assert number is not None
        error = ErrorInfo("OSError", "disk full") if kind == "failed" else None
        fence = self.projection.tasks[number].fence
        return Outcome(number, fence, kind, error=error, draw=0.5)  # type: ignore[arg-type]


def story() -> EventLog:
    """The log of the recording: 18 events in 12 commits."""
    tale = Story()
    tale.after(1, tale.orders("cat", "dog", "fox", priority=5))
    tale.after(2, tale.orders("owl", delay_s=60))
    tale.after(3, tale.leases("host-1", 2))
    late = tale.outcome("dog", "completed")
    tale.after(8, tale.leases("host-2", 1) + tale.ends("host-1", cat="failed"))
    tale.after(9, tale.ends("host-2", fox="completed"))
    tale.after(6, decide.renew(tale.projection, worker="host-1", ttl_us=TTL))
    seen = tale.projection.holders["host-1"].seen_seq
    tale.after(1, tale.leases("host-2", 1))
    tale.after(31, tale.ends("host-2", cat="completed"))
    tale.after(
        1,
        decide.lapse(tale.projection, worker="host-1", seen_seq=seen, room=9, now=tale.now),
    )
    tale.after(2, tale.leases("host-2", 1))
    tale.after(1, decide.settle(tale.projection, [late], worker="host-1", now=tale.now))
    tale.after(1, tale.ends("host-2", dog="completed"))
    return tale.log


@asynccontextmanager
async def stepping(
    log: EventLog, *, size: tuple[int, int] = SMALL, start: str = "0"
) -> AsyncIterator[Pilot[None]]:
    """The stepper on a log, standing at its start."""
    clock = ManualClock()
    clock.us = max(clock.us, log.head().at)
    app = Stepper(log, clock=clock, start=start)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        yield pilot


async def settled(pilot: Pilot[None]) -> None:
    """Returns once nothing moves any more."""
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Presses keys one after the other, each when the one before has done its work."""
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


def screen(pilot: Pilot[None]) -> str:
    """What stands on the screen, without colours."""
    strips = pilot.app.screen._compositor.render_strips()
    lines = ["".join(part.text for part in strip).rstrip() for strip in strips]
    return "\n".join(lines) + "\n"


def stepper(pilot: Pilot[None]) -> Stepper:
    """The app under test."""
    assert isinstance(pilot.app, Stepper)
    return pilot.app


# The keys of each screen that the page shows, pressed one screen after the other.
SCREENS = (["g", "1", "4", "enter"], ["t", "t", "t"], ["enter"])


async def _recorded() -> list[str]:
    screens = []
    async with stepping(story()) as pilot:
        for keys in SCREENS:
            await press(pilot, *keys)
            screens.append(screen(pilot))
    return screens


def recording() -> list[str]:
    """The screens of the page in the docs, in their order."""
    return asyncio.run(_recorded())


if __name__ == "__main__":
    for shown in recording():
        print(f"```text\n{shown}```\n")  # noqa: T201 - to be pasted into the page
