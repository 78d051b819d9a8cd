"""What the stepper's panes show, as lines of rich text for a given room; nothing here moves.

Texts are made from plain strings that are safe to print, so that nothing in a log is taken for
markup or for a command to the terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from eventq import Event, Task
from eventq.audit.stepper.standing import Change, CursorStep, CursorView
from eventq.cli.output import KIND_COLOURS
from eventq.cli.text import (
    iso_text,
    json_text,
    short,
    tag_text,
    time_text,
    visible,
    visible_lines,
)
from eventq.cli.views.tasks import backoff_text, error_text, event_text, task_pairs
from eventq.core.durations import brief_duration
from eventq.core.events import Unknown

# What an event's line takes besides its numbers and its instant, which stands there in
# milliseconds, in seconds, or not at all, as there is room.
EVENT_COLUMNS = 13
TIME_COLUMNS = (12, 8)
# A pane lower than this shows no nodes.
NODES_FROM_ROWS = 30
FIELD_COLUMNS = 12
VALUE_CHARACTERS = 200

CHANGED = "bold yellow"
HEADING = "bold"
CURSOR = "reverse"
QUIET = "dim"

STATES = ("ready", "scheduled", "leased", "completed", "expired", "cancelled")
TOTALS = ("attempts", "failures", "refused")

# What showing an absurd value may raise; a log that somebody altered can hold one.
UNSHOWABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

Lines = list[Text]


def title_line(view: CursorView, *, place: str, end: int, width: int) -> Text:
    """Where the cursor is, and in which log."""
    right = f"{view.seq:,} of {end:,}  {_shown(time_text, view.at) if view.seq else '-'} "
    room = max(0, width - cell_len(right) - 1)
    return Text(_fitted(f" {visible(place)}", room) + " " + right, no_wrap=True)


def event_lines(
    events: list[Event], step: CursorStep, *, seq: int, end: int, width: int, height: int
) -> Lines:
    """The events around the cursor, with its own in the middle if both sides have enough."""
    digits = len(str(max(end, 1)))
    task = step.event.task if step.event is not None else 0
    rows: list[Event | str] = [*events]
    if not events or events[0].seq == 1:
        rows.insert(0, f" {0:>{digits}} the beginning")
    if (events[-1].seq if events else 0) < end:
        rows.append(" what follows cannot be read or is further on")
    index = next((i for i, row in enumerate(rows) if isinstance(row, Event) and row.seq == seq), 0)
    begin = max(0, min(index - height // 2, len(rows) - height))
    lines = [
        _line(row, QUIET, width)
        if isinstance(row, str)
        else _event_line(row, task=task, digits=digits, width=width)
        for row in rows[begin : begin + height]
    ]
    if index - begin < len(lines):
        lines[index - begin] = _marked(lines[index - begin])
    return lines


def state_lines(view: CursorView, *, changes_only: bool, width: int, height: int) -> Lines:
    """The projection at the cursor; what the last event changed comes first, highlighted."""
    if view.step.event is None and not view.seq:
        return [_line("before the first event", QUIET, width)]
    lines = [*_count_lines(view, changes_only=changes_only, width=width)]
    room = max(2, (height - len(lines)) // 2) if not changes_only else height
    lines += _task_lines(view.step, changes_only=changes_only, width=width, room=room)
    if changes_only:
        return lines[:height]
    blocks = _blocks(view, with_nodes=height >= NODES_FROM_ROWS)
    return [*lines, *_shared(blocks, view, width=width, height=height - len(lines))][:height]


def detail_lines(step: CursorStep) -> Lines:
    """The whole event and the whole task after it, for a page of their own."""
    event = step.event
    if event is None:
        return [Text("There is no event here.")]
    pairs = [
        ("seq", str(event.seq)),
        ("at", _shown(iso_text, event.at)),
        ("task", str(event.task) if event.task else "- (about a node)"),
        ("kind", visible(event.kind)),
    ]
    lines = [Text("event", style=HEADING), *_pair_lines(pairs), Text()]
    lines += [Text("body", style=HEADING), *map(Text, _body_lines(event)), Text()]
    if step.task is not None:
        lines.append(Text("task after it", style=HEADING))
        lines += _pair_lines(_shown_pairs(step.task))
    return lines


def _event_line(event: Event, *, task: int, digits: int, width: int) -> Text:
    kind = visible(event.kind)
    line = Text(f" {event.seq:>{digits}} ", no_wrap=True)
    room = width - EVENT_COLUMNS - 2 * digits
    columns = next((columns for columns in TIME_COLUMNS if columns < room), 0)
    if columns:
        line.append(f"{_shown(time_text, event.at)[11 : 11 + columns]} ", style=QUIET)
    line.append(f"{short(kind, 9):<9} ", style=KIND_COLOURS.get(kind, ""))
    number = str(event.task) if event.task else "-"
    line.append(number.rjust(digits), style="bold" if event.task and event.task == task else "")
    line.append(f" {short(_shown(event_text, event), VALUE_CHARACTERS)}", style=QUIET)
    line.truncate(width, overflow="ellipsis", pad=True)
    return line


def _marked(line: Text) -> Text:
    """The line of the cursor, with its mark in the first column."""
    line.stylize(CURSOR)
    return Text(">", style=CURSOR) + line[1:]


def _count_lines(view: CursorView, *, changes_only: bool, width: int) -> Lines:
    deltas = {
        change.name: int(str(change.after)) - int(str(change.before))
        for change in view.step.count_changes
    }
    names = [n for n in (*STATES, *TOTALS) if not changes_only or n in deltas]
    cells = [_count_cell(name, getattr(view.stats, name), deltas.get(name, 0)) for name in names]
    if changes_only:
        return cells
    # The open states stand left, the final ones right, what happened so far in a third column.
    columns = [cells[0:3], cells[3:6], cells[6:9]]
    column_width = max(cell.cell_len for cell in cells) + 2
    fitting = columns[: max(1, (width + 2) // column_width)]
    lines = []
    for row in zip(*fitting, strict=True):
        line = Text(no_wrap=True)
        for cell in row:
            line.append_text(cell)
            line.append(" " * (column_width - cell.cell_len))
        line.truncate(width)
        lines.append(line)
    return lines


def _count_cell(name: str, count: int, delta: int) -> Text:
    cell = Text(f"{name:<9} ", style="").append(f"{count:>5}", style=CHANGED if delta else "")
    return cell.append(f" {delta:+}" if delta else "", style=CHANGED)


def _task_lines(step: CursorStep, *, changes_only: bool, width: int, room: int) -> Lines:
    if step.task is None:
        return _node_lines(step, width)
    task = step.task
    what = "new task" if step.before is None else "task"
    lines = [Text(), _line(f"{what} {_named(task)}", HEADING, width)]
    changes = [change for change in step.task_changes if change.after is not None or step.before]
    lines += [_change_line(change, width, new=step.before is None) for change in changes]
    if not changes:
        lines.append(_line("  nothing changes for the task", QUIET, width))
    if not changes_only and step.before is not None:
        changed = {change.name for change in changes}
        lines += [
            _field_line(name, value, "", width)
            for name, value in _fields_of(task)
            if name not in changed and value is not None
        ]
    return lines[:room]


def _node_lines(step: CursorStep, width: int) -> Lines:
    event = step.event
    if event is None:
        return []
    if event.task:
        return [Text(), _line(f"task {event.task} is not open", QUIET, width)]
    return [Text(), _line(f"a node: {_shown(event_text, event)}", CHANGED, width)]


def _change_line(change: Change, width: int, *, new: bool) -> Text:
    after = field_text(change.name, change.after)
    value = after if new else f"{field_text(change.name, change.before)} -> {after}"
    return _field_line(change.name, value, CHANGED, width, is_text=True)


def _field_line(name: str, value: object, style: str, width: int, *, is_text: bool = False) -> Text:
    text = str(value) if is_text else field_text(name, value)
    return _line(f"  {_word(name):<{FIELD_COLUMNS}} {text}", style, width)


def _fields_of(task: Task) -> list[tuple[str, object]]:
    names = ("priority", "attempt", "retry_count", "worker", "scheduled_at_us", "expires_at_us")
    return [
        ("state", task.state),
        *((n, getattr(task, n)) for n in names),
        ("tags_json", _tags(task)),
    ]


def _tags(task: Task) -> bytes | None:
    return None if task.tags_json == b"{}" else task.tags_json


def field_text(name: str, value: Any) -> str:  # noqa: ANN401 - any field of a task
    """A field's value on one line, safe to print."""
    return short(_shown(lambda given: _field_text(name, given), value), VALUE_CHARACTERS)


def _field_text(name: str, value: Any) -> str:  # noqa: ANN401 - see field_text
    if value is None:
        return "-"
    return _FIELD_TEXTS.get(name, lambda given: visible(str(given)))(value)


_FIELD_TEXTS: dict[str, Callable[[Any], str]] = {
    "created_at_us": time_text,
    "scheduled_at_us": time_text,
    "expires_at_us": time_text,
    "policy": backoff_text,
    "last_error": error_text,
    "tags_json": lambda text: tag_text(msgspec.json.decode(text)) or "-",
    "result_json": lambda text: json_text(msgspec.json.decode(text)),
}
_WORDS = {
    "caller_key": "key",
    "retry_count": "retries",
    "last_error": "error",
    "result_missing": "no result",
    "final_reason": "reason",
    "created_at_us": "created",
    "scheduled_at_us": "scheduled",
    "expires_at_us": "expires",
    "tags_json": "tags",
    "result_json": "result",
}


def _word(name: str) -> str:
    return _WORDS.get(name, name)


Block = tuple[str, list[tuple[int, str]], int]
"""A heading, rows (the task's number, its text), and how many there are in all."""


def _blocks(view: CursorView, *, with_nodes: bool) -> list[Block]:
    """What runs next, runs now and comes later, and the nodes where there is room."""

    def away(task: Task) -> str:
        return _ago(abs(view.at - task.scheduled_at_us))

    def rows(tasks: list[Task], text: Callable[[Task], str]) -> list[tuple[int, str]]:
        return [(task.number, f"{_named(task)}  {text(task)}") for task in tasks]

    stats = view.stats
    ready = rows(view.ready, lambda task: f"priority {task.priority}  due for {away(task)}")
    leased = rows(view.leased, _attempt_text)
    waiting = rows(view.waiting, lambda task: f"in {away(task)}  priority {task.priority}")
    blocks = [
        ("next to run", ready, stats.ready),
        ("leases", leased, stats.leased),
        ("schedule", waiting, stats.scheduled),
    ]
    if with_nodes:
        nodes = [
            (-1, f"{visible(n.worker)}  {n.lease_count} leases, heard {heard} ago")
            for n in view.nodes
            for heard in [_ago(view.at - n.seen_at)]
        ]
        blocks.append(("nodes", nodes, len(stats.nodes)))
    return blocks


def _attempt_text(task: Task) -> str:
    return f"attempt {task.attempt} on {visible(task.worker or '-')}"


def _ago(duration_us: int) -> str:
    return _shown(brief_duration, duration_us)


def _shared(blocks: list[Block], view: CursorView, *, width: int, height: int) -> Lines:
    """The blocks with their headings; they share the rows, and what one leaves, others get."""
    # Two rows of each go to an empty line and the heading.
    room = max(0, height - 2 * len(blocks))
    wanted = [max(1, len(rows)) for _, rows, _ in blocks]
    shares = [0] * len(blocks)
    while room and any(share < want for share, want in zip(shares, wanted, strict=True)):
        for index, want in enumerate(wanted):
            if room and shares[index] < want:
                shares[index] += 1
                room -= 1
    touched = view.step.event.task if view.step.event is not None else 0
    lines: Lines = []
    for (heading, rows, count), share in zip(blocks, shares, strict=True):
        lines += [Text(), _line(f"{heading}  {count:,}", HEADING, width)]
        shown = rows[:share]
        lines += [
            _line(f"  {text}", CHANGED if number == touched else "", width)
            for number, text in shown
        ]
        if not rows and share:
            lines.append(_line("  none", QUIET, width))
    return lines


def _named(task: Task) -> str:
    return short(visible(task.key), 40)


def _body_lines(event: Event) -> list[str]:
    if isinstance(event.body, Unknown):
        return ["  " + visible(event.body.raw)]
    text = msgspec.json.format(msgspec.json.encode(event.body), indent=2).decode()
    return visible_lines(text, indent="  ")


def _shown_pairs(task: Task) -> list[tuple[str, str]]:
    try:
        return task_pairs(task)
    except UNSHOWABLE:
        return [(n, visible(repr(getattr(task, n)))) for n in Task.__struct_fields__]


def _pair_lines(pairs: list[tuple[str, str]]) -> Lines:
    return [Text(f"  {name:<15} {value}") for name, value in pairs]


def _line(text: str, style: str, width: int) -> Text:
    line = Text(text, style=style, no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line


def _fitted(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else _cut(text, width)


def _cut(text: str, width: int) -> str:
    return set_cell_size(text, max(0, width - 1)) + "…" if width else ""


def _shown(show: Callable[[Any], str], value: Any) -> str:  # noqa: ANN401 - whatever is shown
    """The value as text, or a mark that it cannot be shown."""
    try:
        return show(value)
    except UNSHOWABLE:
        return f"unreadable: {short(visible(repr(value)), 60)}"
