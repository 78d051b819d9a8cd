"""The stepper: keys do what its help says, and nothing in a log is taken for anything but text.

Each test runs the real app without a terminal, by textual's own pilot.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from eventq import Queue
from eventq.archive import archive_events, delete_archived
from eventq.cli.stepper.app import Stepper
from eventq.cli.stepper.keys import HINTS, KEYS
from eventq.errors import LogUnavailableError
from eventq.eventlog import EventLog
from eventq.eventlog.contract import Head
from eventq.eventlog.memory import MemoryLog
from eventq.replay.points import Point, find_end
from tests.audit.nasty import nasty_log
from tests.audit.screens import (
    SMALL,
    Story,
    press,
    recording,
    screen,
    settled,
    stepper,
    story,
)
from tests.audit.screens import (
    stepping as stepping_on,
)
from tests.cli.harness import FORBIDDEN
from tests.docs.test_docs import DOCS, blocks

PAGE = DOCS / "how-to" / "step-through.md"

Act = Callable[[Pilot[None]], Awaitable[None]]


def on(log: EventLog, act: Act, *, size: tuple[int, int] = SMALL, start: str = "0") -> None:
    """Runs the stepper on a log and does something with it."""

    async def run() -> None:
        async with stepping_on(log, size=size, start=start) as pilot:
            await act(pilot)

    asyncio.run(run())


def place(pilot: Pilot[None]) -> int:
    """The position the cursor stands at."""
    return stepper(pilot).cursor.seq


# Where each key leads from position 6 of the story, the first lease of "dog".
LEADS = {
    "right": 7,
    "down": 7,
    "l": 7,
    "n": 7,
    "left": 5,
    "up": 5,
    "h": 5,
    "p": 5,
    "pagedown": 18,
    "pageup": 0,
    "home": 0,
    "end": 18,
    "t": 14,
    "T": 2,
    "k": 7,
    "K": 5,
}


def follow(app: Stepper) -> None:
    """Has the screen look at the log now, not when its timer next rings."""
    app._follow()


@pytest.mark.parametrize("key", LEADS)
def test_a_key_leads_where_help_says(key: str) -> None:
    """From one position, each key that moves leads to another one, and the screen shows it."""

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, key)

        assert place(pilot) == LEADS[key]
        assert re.search(rf"^> ?{LEADS[key]} ", screen(pilot), re.MULTILINE)
        assert f"{LEADS[key]} of 18" in screen(pilot)

    on(story(), act, start="6")


def test_every_key_has_a_test() -> None:
    """Keys that move are in the table above; the others are tried below."""
    moving = {name for key in KEYS for name in key.keys.split(",")} - set(LEADS)

    assert moving == {"g", "slash", "c", "f", "enter", "question_mark", "escape", "q"}


def test_help_shows_every_key() -> None:
    """The page of keys has them all, and goes when asked."""

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "question_mark")
        shown = screen(pilot)
        await press(pilot, "escape")

        assert all(key.shown in shown and key.does in shown for key in KEYS)
        assert KEYS[0].does not in screen(pilot)

    on(story(), act, size=(100, 40))


def test_the_page_shows_every_key() -> None:
    """The table of the docs is the help's."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    shown = [(re.sub(r"[`,]", "", keys), does.rstrip(".")) for keys, does in rows[1:]]

    assert shown == [(key.shown, key.does) for key in KEYS]


def test_the_page_shows_the_screens() -> None:
    """The recording in the docs is what the stepper shows; see tests/audit/screens.py."""
    shown = [block.text for block in blocks(PAGE) if block.kind == "text"]

    assert shown == recording()


def test_the_hints_fit_a_small_screen() -> None:
    """The last line is not cut, and its keys are there."""
    assert len(HINTS) < SMALL[0] - 1


def test_going_to_a_point_is_asked_for() -> None:
    """Typed letters are not taken for keys; a point that is none is told and moves nothing."""

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "g", *"-5", "enter")
        assert place(pilot) == 13
        await press(pilot, "g", *"tq", "enter")
        assert place(pilot) == 13
        assert "expected a position like 1041" in stepper(pilot).message
        await press(pilot, "g", *"14", "escape")
        assert place(pilot) == 13
        assert pilot.app.query_one(Input).disabled
        await press(pilot, "g", "enter")
        assert place(pilot) == 13
        await press(pilot, "right")

        assert place(pilot) == 14

    on(story(), act)


def test_a_condition_is_run_to() -> None:
    """Also one about a task that is final by then; what is no condition moves nothing."""

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "slash", *'task("cat").state == "completed"', "enter")
        assert place(pilot) == 13
        await press(pilot, "slash", *"leased >", "enter")
        assert place(pilot) == 13
        assert "condition: expected" in stepper(pilot).message
        await press(pilot, "slash", *'task("cow").attempt > 0', "enter")
        assert place(pilot) == 13
        assert "cow" in stepper(pilot).message
        await press(pilot, "slash", *"expired > 0", "enter")

        assert "it held nowhere up to the end: expired > 0" in stepper(pilot).message
        assert place(pilot) == 18

    on(story(), act)


def test_what_is_not_found_is_told() -> None:
    """The cursor stays, and the line at the bottom says so."""

    async def act(pilot: Pilot[None]) -> None:
        for key, told in (("t", "no later event of task 2"), ("k", "no later completed event")):
            await press(pilot, key)
            assert told in screen(pilot)
        await press(pilot, "right")
        assert "the log ends here" in screen(pilot)
        await press(pilot, "home", "left")
        assert "before the first event" in screen(pilot)
        await press(pilot, "k")

        assert "no kind to look for" in screen(pilot)
        assert place(pilot) == 0

    on(story(), act, start="end")


def test_only_changes_can_be_shown() -> None:
    """The panes hide what the event did not touch, and show it again."""

    async def act(pilot: Pilot[None]) -> None:
        assert "schedule" in screen(pilot)
        await press(pilot, "c")
        shown = screen(pilot)
        await press(pilot, "c")

        assert "expired" not in shown
        assert "leased        2 -1" in shown
        assert "leased -> failed" in shown
        assert "expired" in screen(pilot)

    on(story(), act, start="8")


def test_details_show_everything() -> None:
    """The body as it is stored, and the whole task; also where there is no event."""

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        shown = screen(pilot)
        await press(pilot, "enter", "home", "enter")

        assert '"message": "disk full"' in shown
        assert "task after it" in shown
        assert "There is no event here." in screen(pilot)

    on(story(), act, start="8", size=(100, 50))


def test_a_log_is_followed() -> None:
    """What is appended comes to the screen by itself, until a key moves the cursor."""
    tale = Story()
    tale.after(1, tale.orders("cat"))

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "f")
        tale.after(1, tale.orders("dog"))
        follow(stepper(pilot))
        assert place(pilot) == 2
        await press(pilot, "left")
        tale.after(1, tale.orders("fox"))
        follow(stepper(pilot))
        assert place(pilot) == 1
        await press(pilot, "f")
        follow(stepper(pilot))
        assert place(pilot) == 3
        await press(pilot, "f")
        tale.after(1, tale.orders("owl"))
        follow(stepper(pilot))

        assert place(pilot) == 3

    on(tale.log, act, start="end")


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (12, 4), (1, 1), (200, 60)])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    """No line is wider than the screen at any position, and a change of size is followed."""

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, "c", "g", "escape", "enter", "escape", "c")
        for _ in range(18):
            await press(pilot, "right")
        await pilot.resize_terminal(*SMALL)
        await settled(pilot)

        assert "18 of 18" in screen(pilot)
        assert max(map(len, screen(pilot).splitlines())) <= SMALL[0]

    on(story(), act, size=size)


def test_markup_and_commands_to_the_terminal_are_text() -> None:
    """Tags, keys, errors, kinds and names of nodes are shown as they are, escaped."""
    log = nasty_log()

    async def act(pilot: Pilot[None]) -> None:
        seen = ""
        while place(pilot) < log.head().seq:
            await press(pilot, "right")
            seen += screen(pilot)
            await press(pilot, "enter")
            seen += screen(pilot)
            await press(pilot, "escape", "k", "c")
            seen += screen(pilot)
            await press(pilot, "c", "g", *str(place(pilot)), "enter")

        assert "[bold]:smile:[/bold]" in seen
        assert [text for text in FORBIDDEN if text in seen] == []

    on(log, act, size=(250, 60))


def test_damage_is_told_where_it_is() -> None:
    """The error names the position; the cursor stands before it, and the way back is open."""
    log = story()
    assert isinstance(log, MemoryLog)
    commit = log.storage.commits[log.namespace][5]
    commit.bodies[0] = commit.bodies[0].replace("host-1", "host-9")
    damage = f"the log is damaged at position {commit.first}"

    async def act(pilot: Pilot[None]) -> None:
        assert damage in screen(pilot)
        assert place(pilot) == commit.first - 1
        await press(pilot, "left")
        assert damage not in screen(pilot)
        await press(pilot, "right", "right")

        assert damage in screen(pilot)
        assert place(pilot) == commit.first - 1

    on(log, act, start="end")


def test_a_long_way_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it goes other keys do nothing; escape ends it, and the screen says so."""
    log = story()

    async def act(pilot: Pilot[None]) -> None:
        app = stepper(pilot)
        read = log.read

        def stopping(*, after: int, limit: int = 10) -> object:
            app.call_from_thread(app.action_step, 1)
            app.call_from_thread(app._look)
            told.append(app.message)
            app.call_from_thread(app.action_escape)
            return read(after=after, limit=min(limit, 1))

        monkeypatch.setattr("eventq.audit.stepper.cursor.STEPWISE_EVENTS", 1)
        monkeypatch.setattr(log, "read", stopping)
        monkeypatch.setattr(app.cursor, "_log", log)
        await press(pilot, "end")
        monkeypatch.undo()
        assert "stopped" in app.message
        assert "going to end: at" in told[0]
        await press(pilot, "end")

        assert place(pilot) == 18

    told: list[str] = []
    on(log, act)


def test_a_log_that_is_gone_is_told() -> None:
    """The screen keeps what it had, also while it follows, and goes on when the log is back."""
    log = story()

    async def act(pilot: Pilot[None]) -> None:
        app, before = stepper(pilot), screen(pilot)
        head = log.head
        log.head = unreachable  # type: ignore[method-assign]
        await press(pilot, "f")
        follow(app)
        assert "gone fishing" in app.message
        await press(pilot, "f", "end")
        assert "gone fishing" in app.message
        assert screen(pilot).splitlines()[:20] == before.splitlines()[:20]
        log.head = head  # type: ignore[method-assign]
        await press(pilot, "end")

        assert place(pilot) == 18

    on(log, act, start="5")


def unreachable() -> Head:
    """Stands in for a log whose server is away."""
    raise LogUnavailableError("gone fishing")


def test_q_ends_it() -> None:
    """Without an error."""

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("q")

        assert pilot.app.return_code == 0

    on(story(), act)


def test_a_log_of_which_the_beginning_is_gone(tmp_path: Path) -> None:
    """Keys lead to its start and no further; the screen says what stands there."""
    with Queue(f"sqlite:///{tmp_path}/queue.db") as queue:
        for _ in range(4):
            queue.new()
        until = find_end(queue.log, Point(2, 0))
        archive_events(queue.log, tmp_path / "archive", until=until)
        delete_archived(queue.log, tmp_path / "archive", until=until, now=queue.log.head().at)
        shown: list[str] = []
        places: list[int] = []

        async def act(pilot: Pilot[None]) -> None:
            for key in ("home", "right", "left", "left", "end"):
                await press(pilot, key)
                places.append(place(pilot))
                shown.append(screen(pilot))

        on(queue.log, act, start="4")

    assert places == [2, 3, 2, 2, 4]
    assert "2 archived up to here" in shown[0]
