"""The stepper's screen: two panes over a cursor, keys that move it, long moves in a thread.

The only part of eventq that needs textual. All text from a log goes through panes.py; what
moves the cursor and takes long runs in one thread at a time, during which nothing else moves it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from eventq import EventqError
from eventq.audit.expression.parser import parse_expression
from eventq.audit.expression.view import View
from eventq.audit.stepper.cursor import Cursor, Progress
from eventq.cli.output import NOTE_CHARACTERS
from eventq.cli.stepper.keys import HINTS, KEYS
from eventq.cli.stepper.panes import (
    Lines,
    Scene,
    detail_lines,
    event_lines,
    state_lines,
    title_line,
)
from eventq.cli.text import short, visible
from eventq.core.values import NODE
from eventq.eventlog import EventLog
from eventq.host.clock import Clock

# More than the tallest terminal shows on either side of the cursor.
SIDE_EVENTS = 200
LISTED_TASKS = 60
# How often the screen looks for news of a search, and of the log when it follows.
LOOK_S = 0.1
FOLLOW_S = 0.25


class Stopped(Exception):  # noqa: N818 - no error: a person asked for it
    """Ends a long move; never leaves this module."""


class Pane(Widget):
    """Lines, redrawn for the room there is."""

    def __init__(self, draw: Callable[[int, int], Lines], *, name: str) -> None:
        super().__init__(id=name)
        self._draw = draw

    def render(self) -> Text:
        """See Widget.render."""
        return Text("\n").join(self._draw(self.size.width, self.size.height))


class Page(ModalScreen[None]):
    """Text on the whole screen, which can be scrolled and closed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "close", "close")
    ]

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        """See Screen.compose."""
        with VerticalScroll(id="page"):
            yield Static(Text("\n").join(self._lines), markup=False)

    def action_close(self) -> None:
        """Goes back to the panes."""
        # Not awaited: textual forbids it to the screen that goes.
        _ = self.dismiss()


class Stepper(App[None]):
    """The stepper, on an open log."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #title { height: 1; background: $panel; }
    #panes { height: 1fr; }
    #events { width: 45%; height: 100%; }
    #state { width: 1fr; height: 100%; padding: 0 0 0 1; border-left: solid $panel; }
    #message { height: 1; }
    #hints { height: 1; }
    #prompt { height: 1; border: none; padding: 0; display: none; }
    #prompt:focus { border: none; }
    .asking #prompt { display: block; }
    .asking #hints { display: none; }
    #page { width: 100%; height: 100%; padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key.keys, key.action, key.does, show=False) for key in KEYS
    ]

    def __init__(self, log: EventLog, *, clock: Clock, start: str) -> None:
        super().__init__()
        self.cursor = Cursor(log, now=clock.now_us() + log.clock_offset_us())
        self.message = ""
        self.busy = False
        self._events_log = log
        self._clock = clock
        self._start = start
        self._scene = self._take_scene()
        self._changes_only = False
        self._following = False
        self._asking: Callable[[str], None] | None = None
        self._stop = threading.Event()
        self._reached = 0
        self._doing = ""

    def compose(self) -> ComposeResult:
        """See App.compose."""

        def title(width: int, _height: int) -> Lines:
            place = f"{self._events_log.namespace}  {self._events_log.url}"
            return [title_line(self._scene, place=place, width=width)]

        def events(width: int, height: int) -> Lines:
            return event_lines(self._scene, width=width, height=height)

        def state(width: int, height: int) -> Lines:
            view, changes_only = self._scene.view, self._changes_only
            return state_lines(view, changes_only=changes_only, width=width, height=height)

        yield Pane(title, name="title")
        with Horizontal(id="panes"):
            yield Pane(events, name="events")
            yield Pane(state, name="state")
        yield Pane(lambda width, _: [_bar(self.message, "yellow", width)], name="message")
        yield Pane(lambda width, _: [_bar(HINTS, "dim", width)], name="hints")
        yield Input(id="prompt", select_on_focus=False)

    def on_mount(self) -> None:
        """Goes to where it was asked to start."""
        self.set_interval(LOOK_S, self._look)
        self.set_interval(FOLLOW_S, self._follow)
        self.query_one(Input).disabled = True
        self.action_go(self._start)

    def action_step(self, count: int) -> None:
        """Goes on, or back, by ``count`` events."""

        def move(_progress: Progress) -> str:
            if self.cursor.forward(count) if count > 0 else self.cursor.backward(-count):
                return ""
            return "the log ends here; f follows it" if count > 0 else "before the first event"

        if self.cursor.is_near(count):
            self._following = False
            self._at_once(move)
        else:
            self._at_length("going back", move)

    def action_go(self, point: str) -> None:
        """Goes to a point."""

        def jump(progress: Progress) -> str:
            self.cursor.now = self._clock.now_us() + self._events_log.clock_offset_us()
            self.cursor.jump(point, progress=progress)
            return ""

        self._at_length(f"going to {visible(point)}", jump)

    def action_start(self) -> None:
        """Goes to where the log starts."""

        def move(_progress: Progress) -> str:
            self.cursor.backward(self.cursor.seq)
            return ""

        self._at_length("going to the start", move)

    def action_jump(self) -> None:
        """Asks for a point and goes there."""
        self._ask("go to (1041, 2030-01-31T12:00:00Z, -2h, -500, end):", self.action_go)

    def action_condition(self) -> None:
        """Asks for a condition and runs to the next event after which it holds."""
        self._ask("run to where this holds (expired > 0, leased == 0, ...):", self._run_to)

    def action_find(self, what: str, direction: str) -> None:
        """Goes to the next or the previous event of the same task or kind."""
        event, is_back = self._scene.view.step.event, direction == "previous"
        if event is None or (what == "task" and event.task == NODE):
            self._say(f"the event here has no {what} to look for")
            return
        task = event.task if what == "task" else None
        kind = event.kind if what == "kind" else None
        name = f"event of task {task}" if kind is None else f"{visible(kind)} event"

        def search(progress: Progress) -> str:
            found = self.cursor.find(kind=kind, task=task, back=is_back, progress=progress)
            return "" if found else f"there is no {'earlier' if is_back else 'later'} {name}"

        self._at_length(f"looking for the {direction} {name}", search)

    def action_changes(self) -> None:
        """Shows only what the last event changed, or all again."""
        self._changes_only = not self._changes_only
        self._say("only what the event changed; c shows all" if self._changes_only else "")

    async def action_details(self) -> None:
        """Shows the whole event and its task."""
        await self.push_screen(Page(detail_lines(self._scene.view.step)))

    async def action_help(self) -> None:
        """Shows the keys."""
        await self.push_screen(Page([Text(f"{key.shown:<16} {key.does}") for key in KEYS]))

    def action_follow(self) -> None:
        """Stays at the end of the log while it grows, or no longer."""
        self._following = not self._following
        self._say("follows the log; f stops" if self._following else "follows no longer")

    def action_escape(self) -> None:
        """Closes the question, or stops what runs."""
        if self._asking is not None:
            self._answered()
        elif self.busy:
            self._stop.set()
        else:
            self._say("")

    async def action_quit(self) -> None:
        """Stops what runs, and quits."""
        self._stop.set()
        self.exit()

    def on_input_submitted(self, answer: Input.Submitted) -> None:
        """Passes what was typed to the action that asked."""
        asking, text = self._asking, answer.value.strip()
        self._answered()
        if asking is not None and text:
            asking(text)

    def _run_to(self, text: str) -> None:
        def run(progress: Progress) -> str:
            asked = parse_expression(text, "condition")
            view = View(self._events_log, self.cursor.projection, keys=asked.keys)
            condition = view.condition(asked.holds)
            found = self.cursor.find(condition=condition, progress=progress)
            return "" if found else f"it held nowhere up to the end: {visible(text)}"

        self._at_length(f"running to {visible(text)}", run)

    def _ask(self, question: str, then: Callable[[str], None]) -> None:
        if self.busy:
            return
        self._asking = then
        self._say(question)
        prompt = self.query_one(Input)
        prompt.value = ""
        prompt.disabled = False
        self.screen.add_class("asking")
        prompt.focus()

    def _answered(self) -> None:
        self._asking = None
        prompt = self.query_one(Input)
        prompt.disabled = True
        self.screen.remove_class("asking")
        self.set_focus(None)
        self._say("")

    def _at_once(self, move: Callable[[Progress], str]) -> None:
        """Does what is quick, and shows the outcome."""
        if not self.busy:
            self._done(*self._outcome(move))

    def _at_length(self, doing: str, move: Callable[[Progress], str]) -> None:
        """Does in a thread what may take long; escape stops it at its next ``progress``."""
        self._following = False
        if self.busy:
            return
        self.busy, self._doing, self._reached = True, doing, self.cursor.seq
        self._stop.clear()

        def run() -> None:
            self.call_from_thread(self._done, *self._outcome(move))

        self.run_worker(run, thread=True, exit_on_error=True)

    def _outcome(self, move: Callable[[Progress], str]) -> tuple[Scene, str]:
        """Makes the move; returns the scene after it, or the last one where the log is away."""
        try:
            message = move(self._progress)
        except Stopped:
            message = "stopped"
        except EventqError as error:
            message = str(error)
        try:
            return self._take_scene(), message
        except EventqError as error:
            return self._scene, str(error)

    def _progress(self, seq: int) -> None:
        self._reached = seq
        if self._stop.is_set():
            raise Stopped

    def _done(self, scene: Scene, message: str) -> None:
        self.busy = False
        self._scene = scene
        self._say(message)

    def _look(self) -> None:
        """Shows how far a long move has come."""
        if self.busy:
            share = f"at {self._reached:,} of {self._scene.end:,}"
            self.message = f"{self._doing}: {share}; escape stops"
            self.query_one("#message").refresh()

    def _follow(self) -> None:
        if not self._following or self.busy:
            return
        try:
            end = self._events_log.head().seq
        except EventqError as error:
            self._say(str(error))
            return
        if end > self.cursor.seq:
            message = self.message
            self._at_once(lambda _: message if self.cursor.forward(end) else "")

    def _say(self, message: str) -> None:
        self.message = short(visible(message), NOTE_CHARACTERS)
        for pane in self.query(Pane):
            pane.refresh()

    def _take_scene(self) -> Scene:
        events = self.cursor.events(before=SIDE_EVENTS, after=SIDE_EVENTS)
        log, view = self._events_log, self.cursor.view(limit=LISTED_TASKS)
        return Scene(view, events, log.start().seq, log.head().seq)


def _bar(text: str, style: str, width: int) -> Text:
    return Text(f" {short(text, width - 1)}", style=style, no_wrap=True)
