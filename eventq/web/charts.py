"""Pictures made on the server, as SVG without style: the script and the browser add nothing."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from markupsafe import Markup, escape

from eventq.core.durations import brief_duration
from eventq.web.pages.flows import FlowStepRow
from eventq.web.showing import safe_text

BOX_WIDTH, BOX_HEIGHT = 190, 46
GAP_X, GAP_Y = 46, 16
MARGIN = 8
LABEL_CHARACTERS, SMALL_CHARACTERS = 24, 28
# A larger graph is a list: nobody reads a thousand boxes.
MOST_BOXES = 200


def flow_chart(steps: Sequence[FlowStepRow], link: Callable[[str], str]) -> Markup:
    """The tasks of a flow from left to right, each behind what it comes after."""
    if not steps or len(steps) > MOST_BOXES:
        return Markup()
    places = _places(steps)
    columns = max(x for x, _ in places.values()) + 1
    rows = max(y for _, y in places.values()) + 1
    width = columns * (BOX_WIDTH + GAP_X) - GAP_X + 2 * MARGIN
    height = rows * (BOX_HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN
    label = "The tasks of the flow; the table below says the same"
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [f'<svg class="flow" {size} role="group" aria-label="{label}">']
    critical = {step.task.number for step in steps if step.is_critical}
    for step in steps:
        parts += [_line(places, each, step.task.number, critical) for each in _before(step, places)]
    parts += [_box(step, places[step.task.number], link) for step in steps]
    # Each part is escaped where it is made.
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704


def _places(steps: Sequence[FlowStepRow]) -> dict[int, tuple[int, int]]:
    """Column and row of each task; a task's number is larger than that of what is before it."""
    columns: dict[int, int] = {}
    rows: dict[int, int] = {}
    places = {}
    for step in sorted(steps, key=lambda each: each.task.number):
        column = max((columns[n] + 1 for n in _before(step, columns)), default=0)
        columns[step.task.number] = column
        rows[column] = rows.get(column, -1) + 1
        places[step.task.number] = column, rows[column]
    return places


def _before(step: FlowStepRow, known: Container[int]) -> list[int]:
    numbers = [*step.after, *([] if step.made_by is None else [step.made_by])]
    return [number for number in numbers if number in known]


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    column, row = place
    return MARGIN + column * (BOX_WIDTH + GAP_X), MARGIN + row * (BOX_HEIGHT + GAP_Y)


def _line(places: dict[int, tuple[int, int]], before: int, after: int, critical: set[int]) -> str:
    (x1, y1), (x2, y2) = _corner(places[before]), _corner(places[after])
    x1, y1, y2 = x1 + BOX_WIDTH, y1 + BOX_HEIGHT // 2, y2 + BOX_HEIGHT // 2
    middle = (x1 + x2) // 2
    kind = "line critical" if {before, after} <= critical else "line"
    return f'<path class="{kind}" d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"/>'


def _box(step: FlowStepRow, place: tuple[int, int], link: Callable[[str], str]) -> str:
    x, y = _corner(place)
    task = step.task
    name = escape(safe_text(_cut(task.name or task.key)))
    took = "" if step.took_us is None else f", {brief_duration(step.took_us)}"
    of_name = f" · {task.key}" if task.name else ""
    state = escape(safe_text(_cut(f"{task.state}{took}{of_name}", SMALL_CHARACTERS)))
    whole = escape(safe_text(f"{task.key}: {task.state}{took}"))
    kind = f"box state-{task.state}" + (" critical" if step.is_critical else "")
    where = escape(link(task.key))
    return (
        f'<a href="{where}"><title>{whole}</title><rect class="{kind}" x="{x}" y="{y}" rx="6" '
        f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}"/>'
        f'<text class="name" x="{x + 10}" y="{y + 19}">{name}</text>'
        f'<text class="state" x="{x + 10}" y="{y + 36}">{state}</text></a>'
    )


def _cut(text: str, most: int = LABEL_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
