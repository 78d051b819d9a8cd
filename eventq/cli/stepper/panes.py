"""What the stepper's panes show, as lines of rich text for a given room; nothing here moves.

Texts are made from plain strings that are safe to print, so that nothing in a log is taken for
markup or for a command to the terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct
from rich.cells import cell_len
from rich.text import Text

from eventq import Event, Task
from eventq.audit.stepper.standing import CursorStep, CursorView
from eventq.cli.output import KIND_COLOURS, Pairs, cell
from eventq.cli.text import iso_text, short, time_text, visible, visible_lines
from eventq.cli.views.tasks import event_text, field_text, task_pairs
from eventq.core.commits import Unknown
from eventq.core.durations import brief_duration
from eventq.core.secret_tags import shown_body, shown_tags_json

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

# The fields of a task that are shown even if they have not changed; below, what fields are called.
FIELDS = (
    "state", "priority", "attempt", "retry_count", "worker", "scheduled_at_us", "expires_at_us",
    "tags_json",
)  # fmt: skip
WORDS = {
    "caller_key": "key",
    "retry_count": "retries",
    "last_error": "error",
    "result_missing": "no result",
    "final_reason": "reason",
    "created_at_us": "created",
    "scheduled_at_us": "scheduled",
    "expires_at_us": "expires",
    "started_at_us": "started",
    "finished_at_us": "finished",
    "tags_json": "tags",
    "result_json": "result",
}

STATES = ("ready", "scheduled", "leased", "completed", "expired", "cancelled")
TOTALS = ("attempts", "failures", "refused")
# Told only where there are any.
RARE = ("waiting", "unknown", "limits", "pauses", "schedules")

# What showing an absurd value may raise; a log that somebody altered can hold one.
UNSHOWABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

Lines = list[Text]


class Scene(Struct, frozen=True):
    """All that the screen shows, taken from the cursor between moves."""

    view: CursorView
    events: list[Event]
    start: int
    """The position before the first event that the log holds."""
    end: int


def title_line(scene: Scene, *, place: str, width: int) -> Text:
    """Where the cursor is, and in which log."""
    view = scene.view
    right = f"{view.seq:,} of {scene.end:,}  {_shown(time_text, view.at) if view.seq else '-'} "
    room = max(0, width - cell_len(right) - 1)
    line = Text(f" {visible(place)}" if room else "", no_wrap=True)
    line.truncate(room, overflow="ellipsis", pad=True)
    return line.append(f" {right}")


def event_lines(scene: Scene, *, width: int, height: int) -> Lines:
    """The events around the cursor, with its own in the middle if both sides have enough."""
    events, step = scene.events, scene.view.step
    task = step.event.task if step.event is not None else 0
    digits = len(str(max(scene.end, 1)))
    rows: list[Event | str] = [*events]
    if not events or events[0].seq == scene.start + 1:
        what = "archived up to here" if scene.start else "the beginning"
        rows.insert(0, f" {scene.start:>{digits}} {what}")
    if (events[-1].seq if events else 0) < scene.end:
        rows.append(" what follows cannot be read or is further on")
    seqs = [scene.start if isinstance(row, str) else row.seq for row in rows]
    index = seqs.index(scene.view.seq) if scene.view.seq in seqs else 0
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
    rare = [
        _count_cell(name, getattr(view.stats, name), deltas.get(name, 0))
        for name in RARE
        if getattr(view.stats, name) or name in deltas
    ]
    if changes_only:
        return cells + rare
    column_width = max(each.cell_len for each in cells) + 2
    for each in cells:
        each.pad_right(column_width - each.cell_len)
    # The open states stand left, the final ones right, what happened so far in a third column.
    columns = [cells[0:3], cells[3:6], cells[6:9]][: max(1, (width + 2) // column_width)]
    lines = [Text(no_wrap=True).join(row) for row in zip(*columns, strict=True)]
    for line in lines:
        line.truncate(width)
    return lines + rare


def _count_cell(name: str, count: int, delta: int) -> Text:
    style = CHANGED if delta else ""
    line = Text(f"{name:<9} ").append(f"{count:>5}", style)
    return line.append(f" {delta:+}", style) if delta else line


def _task_lines(step: CursorStep, *, changes_only: bool, width: int, room: int) -> Lines:
    event, task, is_new = step.event, step.task, step.before is None
    if event is None:
        return []
    if task is None and event.task:
        return [Text(), _line(f"task {event.task} is not open", QUIET, width)]
    if task is None:
        return [Text(), _line(f"a node: {_shown(event_text, event)}", CHANGED, width)]
    lines = [Text(), _line(f"{'new task' if is_new else 'task'} {_named(task)}", HEADING, width)]
    changes = [change for change in step.task_changes if change.after is not None or not is_new]
    for change in changes:
        after = _value(change.name, change.after, task)
        text = after if is_new else f"{_value(change.name, change.before, task)} -> {after}"
        lines.append(_field_line(change.name, text, CHANGED, width))
    if not changes:
        lines.append(_line("  nothing changes for the task", QUIET, width))
    if not changes_only and not is_new:
        changed = {change.name for change in changes}
        for name in FIELDS:
            value = getattr(task, name)
            if name not in changed and value not in {None, b"{}"}:
                lines.append(_field_line(name, _value(name, value, task), "", width))
    return lines[:room]


def _field_line(name: str, text: str, style: str, width: int) -> Text:
    return _line(f"  {WORDS.get(name, name):<{FIELD_COLUMNS}} {text}", style, width)


def _value(name: str, value: Any, task: Task) -> str:  # noqa: ANN401 - any field of a task
    """A field's value on one line, safe to print; of tags, those that are not secret."""

    def text_of(given: Any) -> str:  # noqa: ANN401 - see above
        is_secret = name == "tags_json" and task.secret and given is not None
        shown = shown_tags_json(given, task.secret) if is_secret else given
        return field_text(name, shown)

    return short(_shown(text_of, value), VALUE_CHARACTERS)


Block = tuple[str, list[tuple[int, str]], int]
"""A heading, rows (the task's number, its text), and how many there are in all."""


def _blocks(view: CursorView, *, with_nodes: bool) -> list[Block]:
    """What runs next, runs now and comes later, and the nodes where there is room."""

    def ago(at: int) -> str:
        return _shown(brief_duration, view.at - at)

    def away(task: Task) -> str:
        return _shown(brief_duration, abs(view.at - task.scheduled_at_us))

    def rows(tasks: list[Task], text: Callable[[Task], str]) -> list[tuple[int, str]]:
        return [(task.number, f"{_named(task)}  {text(task)}") for task in tasks]

    stats = view.stats
    ready = rows(view.ready, lambda task: f"priority {task.priority}  due for {away(task)}")
    leased = rows(
        view.leased, lambda task: f"attempt {task.attempt} on {visible(task.worker or '-')}"
    )
    waiting = rows(view.waiting, lambda task: f"in {away(task)}  priority {task.priority}")
    blocks = [
        ("next to run", ready, stats.ready - sum(stats.held.values())),
        ("leases", leased, stats.leased),
        ("schedule", waiting, stats.scheduled),
    ]
    if stats.held:
        held = [(-1, f"{count} by {visible(what)}") for what, count in stats.held.items()]
        blocks.insert(1, ("held back", held, sum(stats.held.values())))
    if with_nodes:
        nodes = [
            (-1, f"{visible(n.worker)}  {n.lease_count} leases, heard {ago(n.seen_at)} ago")
            for n in view.nodes
        ]
        blocks.append(("nodes", nodes, len(stats.nodes)))
    return blocks


def _shared(blocks: list[Block], view: CursorView, *, width: int, height: int) -> Lines:
    """The blocks with their headings; they share the rows, and what one leaves, others get."""
    # Two rows of each go to an empty line and the heading.
    room = max(0, height - 2 * len(blocks))
    wanted = [max(1, len(rows)) for _, rows, _ in blocks]
    shares = [0] * len(blocks)
    while room and shares != wanted:
        for index, want in enumerate(wanted):
            if room and shares[index] < want:
                shares[index] += 1
                room -= 1
    touched = view.step.event.task if view.step.event is not None else 0
    lines: Lines = []
    for (heading, rows, count), share in zip(blocks, shares, strict=True):
        lines += [Text(), _line(f"{heading}  {count:,}", HEADING, width)]
        for number, text in rows[:share]:
            lines.append(_line(f"  {text}", CHANGED if number == touched else "", width))
        if not rows and share:
            lines.append(_line("  none", QUIET, width))
    return lines


def _named(task: Task) -> str:
    return short(visible(task.key), 40)


def _body_lines(event: Event) -> list[str]:
    if isinstance(event.body, Unknown):
        return ["  " + visible(event.body.raw)]
    text = msgspec.json.format(msgspec.json.encode(shown_body(event.body)), indent=2).decode()
    return visible_lines(text, indent="  ")


def _shown_pairs(task: Task) -> Pairs:
    try:
        return task_pairs(task)
    except UNSHOWABLE:
        return [(n, visible(repr(getattr(task, n)))) for n in Task.__struct_fields__]


def _pair_lines(pairs: Pairs) -> Lines:
    return [Text(f"  {name:<15} {cell(value)}") for name, value in pairs]


def _line(text: str, style: str, width: int) -> Text:
    line = Text(text, style=style, no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line


def _shown(show: Callable[[Any], str], value: Any) -> str:  # noqa: ANN401 - whatever is shown
    """The value as text, or a mark that it cannot be shown."""
    try:
        return show(value)
    except UNSHOWABLE:
        return f"unreadable: {short(visible(repr(value)), 60)}"
