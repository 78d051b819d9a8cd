"""The stepper's keys: one table that the screen binds, its help shows and the docs are held to."""

from __future__ import annotations

from msgspec import Struct

HINTS = "left/right step  g go  t/k same task/kind  / run to  enter all  ? keys  q quit"


class Key(Struct, frozen=True):
    """Keys that do the same."""

    keys: str
    """As textual names them, separated by commas."""
    shown: str
    """As people name them."""
    action: str
    does: str


KEYS = (
    Key("right,down,l,n", "right down l n", "step(1)", "one event on"),
    Key("left,up,h,p", "left up h p", "step(-1)", "one event back"),
    Key("pagedown", "page down", "step(100)", "100 events on"),
    Key("pageup", "page up", "step(-100)", "100 events back"),
    Key("home", "home", "start", "before the first event"),
    Key("end", "end", "go('end')", "to the end of the log"),
    Key("g", "g", "jump", "go to a point: a position, an instant, a time ago, end"),
    Key("t", "t", "find('task', 'next')", "next event of this task"),
    Key("T", "T", "find('task', 'previous')", "previous event of this task"),
    Key("k", "k", "find('kind', 'next')", "next event of this kind"),
    Key("K", "K", "find('kind', 'previous')", "previous event of this kind"),
    Key("slash", "/", "condition", "run to where a condition holds, such as expired > 0"),
    Key("c", "c", "changes", "only what the event changed, or all again"),
    Key("f", "f", "follow", "follow the end of the log, or no longer"),
    Key("enter", "enter", "details", "the whole event and its task"),
    Key("question_mark", "?", "help", "these keys"),
    Key("escape", "escape", "escape", "stop a search, close a question"),
    Key("q", "q", "quit", "quit"),
)
