"""What the reference pages list is what the code has: names, fields, defaults, limits, commands.

Nothing is run here; test_docs.py runs the code of the pages.
"""

from __future__ import annotations

import inspect
import re
import sqlite3
import types
import typing
from pathlib import Path

import msgspec
import pytest
from msgspec import NODEFAULT, UNSET, Raw, Struct

import eventq
from eventq import errors
from eventq.core import commits, events, moves, task, values
from eventq.core import validation as checks
from eventq.core.durations import LONGEST_US, UNITS_US
from eventq.core.moves import MOVES
from eventq.core.task import TaskState
from eventq.eventlog.sqlite import schema as sqlite_schema
from eventq.eventlog.sqlite import snapshots as sqlite_snapshots
from eventq.eventlog.sqlite.views import VIEWS
from eventq.handlers.context import Context
from eventq.replay.query import Stats
from eventq.runner import lookout, pacing, settling
from eventq.runner.describing import MESSAGE_CHARACTERS
from eventq.runner.runner import RunReport

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KIB = 1024

Rows = list[list[str]]


def read(name: str) -> str:
    """A reference page."""
    return (REFERENCE / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next of its level or above."""
    level = heading.partition(" ")[0]
    found = re.search(
        rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"no heading {heading!r}"
    return found[1]


def table(text: str, *, index: int = 0) -> Rows:
    """The rows of a table in the text, without its head and without the marks of code."""
    tables = re.findall(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [
        [cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in tables[index].splitlines()
    ]


def column(rows: Rows, index: int = 0) -> list[str]:
    """One column; a cell may hold several names with commas."""
    return [name for row in rows for name in row[index].split(", ")]


def public(owner: type) -> set[str]:
    """A class's public attributes and methods."""
    names = {*dir(owner), *inspect.get_annotations(owner)}
    return {name for name in names if not name.startswith("_")}


def type_name(annotation: object) -> str:
    """A field's type in the words of the events page."""
    names: dict[object, str] = {
        int: "integer",
        bool: "boolean",
        float: "number",
        str: "text",
        Raw: "JSON",
    }
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(typing.get_args(annotation))
    if typing.get_origin(annotation) in {tuple, dict}:
        of = type_name(
            typing.get_args(annotation)[-1 if typing.get_origin(annotation) is dict else 0]
        )
        return f"{'object' if typing.get_origin(annotation) is dict else 'list'} of {of}"
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        kinds = set(typing.get_args(annotation)) - {types.NoneType, msgspec.UnsetType}
        return "number" if kinds == {int, float} else type_name(*kinds)
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return annotation.__name__.lower().removesuffix("info").removeprefix("process")
    return names[annotation]


def default_text(default: object) -> str:
    """A field's default as JSON has it."""
    if default is NODEFAULT:
        return "required"
    return "absent" if default is UNSET else msgspec.json.encode(default).decode()


def field_rows(struct: type[Struct]) -> Rows:
    """What the events page must say of a struct: field, type, default."""
    hints = typing.get_type_hints(struct)
    return [
        [
            field.name,
            type_name(hints[field.name]),
            "{}" if field.default_factory is dict else default_text(field.default),
        ]
        for field in msgspec.structs.fields(struct)
    ]


BODIES = [body for body in typing.get_args(commits.AnyBody) if body is not commits.Unknown]
PARTS = {
    "policy": values.Policy,
    "error": values.ErrorInfo,
    "exit": values.ProcessExit,
    "reopening": events.Reopening,
    "logline": values.LogLine,
}


def test_events_page_lists_every_kind() -> None:
    """The events page has a section for each kind and no other."""
    kinds = re.findall(r"^### `(\w+)`$", section(read("events.md"), "## Kinds"), re.MULTILINE)

    assert sorted(kinds) == sorted(commits.KINDS)


@pytest.mark.parametrize(
    "heading, struct",
    [
        *((str(body.__struct_config__.tag), body) for body in BODIES),
        *PARTS.items(),
    ],
)
def test_events_page_lists_every_field(heading: str, struct: type[Struct]) -> None:
    """Fields, types and defaults on the events page are those of the struct, in its order."""
    shown = table(section(read("events.md"), f"### `{heading}`"))

    assert [row[:3] for row in shown] == field_rows(struct)
    assert all(row[3] for row in shown)


def test_diagram_is_the_table_of_moves() -> None:
    """The drawn life cycle has exactly the arrows of task.MOVES, each to where the fold leads."""
    text = (DOCS / "explanation" / "life-cycle.md").read_text(encoding="utf-8")
    (diagram,) = [match[2] for match in FENCE.finditer(text) if match[1] == "mermaid"]
    arrows = re.findall(r"^ +(\S+) --> (\S+)(?: : (\w+))?$", diagram, re.MULTILINE)

    expected: set[tuple[str, str, str]] = {
        (start, move_end(kind, start), kind) for kind in MOVES for start in MOVES[kind]
    }
    expected |= {("[*]", "scheduled", "created"), ("completed", "[*]", "")}
    # The fold alone ends a wait.
    expected |= {("[*]", "waiting", "created"), ("waiting", "scheduled", "")}
    assert {(start, end, kind) for start, end, kind in arrows} == expected
    assert len(arrows) == len(diagram.splitlines()) - 1


def move_end(kind: str, start: TaskState) -> str:
    """The state in which the fold leaves a task that stood in ``start``."""
    recorded = moves.create("docs", 1, 0, events.Created(policy()))
    recorded = msgspec.structs.replace(
        recorded, recorded_state=start, fence=2 if start is TaskState.LEASED else 0
    )
    reopens = events.Reopening("expired", policy(), 0, 1)
    body: commits.AnyBody
    match kind:
        case "retried" if start in task.REOPENABLE:
            body = events.Retried(9, reopens=reopens)
            return moves.reopen("docs", 1, 9, 9, body).recorded_state
        case "leased":
            body = events.Leased(1, "node", 1)
        case "completed":
            body = events.Completed(2)
        case "failed":
            body = events.Failed(2, values.ErrorInfo("Error"))
        case "released":
            body = events.Released(2)
        case "retried":
            body = events.Retried(9)
        case "expired":
            body = events.Expired("max_age")
        case "cancelled":
            body = events.Cancelled()
        case _:
            body = events.Updated(priority=1)
    assert body.kind == kind
    return moves.change(recorded, 9, 9, body).recorded_state


def policy() -> values.Policy:
    """Any policy."""
    return eventq.Backoff.linear("1s").policy()


def test_error_tree_is_that_of_the_classes() -> None:
    """The tree on the errors page names each class below its base; the table explains them all."""
    tree = next(match[2] for match in FENCE.finditer(read("errors.md")) if match[1] == "text")
    parents: list[str] = []
    shown = {}
    for line in tree.splitlines():
        marks, name, also = re.fullmatch(r"([| `-]*)(\w+)(?: \(also a (\w+)\))?", line).groups()  # type: ignore[union-attr]
        depth = len(marks) // 4
        parents[depth:] = [name]
        bases = [parents[depth - 1]] if depth else ["Exception"]
        shown[name] = [*bases, also] if also else bases
    classes = [item for item in vars(errors).values() if isinstance(item, type)]

    assert shown == {item.__name__: [base.__name__ for base in item.__bases__] for item in classes}
    assert column(table(read("errors.md"))) == list(shown)


def test_error_attributes_are_listed() -> None:
    """The errors page names the data that each error carries."""
    for name, *_, attributes in table(read("errors.md")):
        parameters = list(inspect.signature(getattr(eventq, name).__init__).parameters)[1:]
        carried = [p for p in parameters if p not in {"args", "kwargs"}]
        assert (attributes.split(", ") if attributes else []) == carried, name


METHODS = sorted(
    name
    for name, member in vars(eventq.Queue).items()
    if not name.startswith("_") and inspect.isfunction(member)
)


def signature_text(function: object) -> str:
    """A signature as the page writes it: without annotations, and ``...`` for the queue's own."""
    signature = inspect.signature(typing.cast("typing.Callable[..., object]", function))
    plain = [
        parameter.replace(
            annotation=inspect.Parameter.empty,
            default=... if parameter.default is UNSET else parameter.default,
        )
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    text = str(inspect.Signature(plain)).replace("Ellipsis", "...")
    returns = str(signature.return_annotation)
    return text if signature.return_annotation in {None, "None"} else f"{text} -> {returns}"


@pytest.mark.parametrize("name", METHODS)
def test_queue_page_has_every_method(name: str) -> None:
    """Each method has a section with its signature and tells of each argument."""
    text = section(read("queue.md"), f"### `{name}`")
    shown = " ".join(next(match[2] for match in FENCE.finditer(text)).split())

    function = getattr(eventq.Queue, name)
    expected = f"{name}{signature_text(function)}"
    assert shown in {expected, f"{expected} -> None"}
    for argument in inspect.signature(function).parameters:
        assert argument == "self" or f"`{argument}`" in read("queue.md"), argument
    assert hasattr(eventq.AsyncQueue, name)


def test_queue_page_has_every_option() -> None:
    """The signature and the table of options are those of Queue."""
    text = read("queue.md")
    shown = " ".join(next(match[2] for match in FENCE.finditer(text)).split())

    parameters = inspect.signature(eventq.Queue).parameters
    assert shown == f"Queue{signature_text(eventq.Queue.__init__)}"
    rows = table(text)
    assert column(rows) == list(parameters)
    defaults = [repr(parameter.default).replace("'", '"') for parameter in parameters.values()]
    assert column(rows, 1) == defaults


def test_queue_page_has_reports_and_backoffs() -> None:
    """Stats, RunReport and the kinds of Backoff are told in full."""
    text = read("queue.md")

    assert set(column(table(section(text, "### `stats`")))) == public(Stats)
    for name in public(RunReport):
        assert f"`{name}`" in section(text, "### `run`")
    kinds = [row[0].partition("(")[0] for row in table(section(text, "## Backoff"))]
    assert [f"Backoff.{kind}" for kind in ("constant", "linear", "exponential")] == kinds
    for row in table(section(text, "## Backoff")):
        method = getattr(eventq.Backoff, row[0].removeprefix("Backoff.").partition("(")[0])
        shown = signature_text(method).partition(" -> ")[0]
        assert row[0].partition("(")[2] == shown.partition("(")[2]


def test_task_page_has_every_attribute_and_state() -> None:
    """The task page lists all that a Task has and each state."""
    text = read("task.md")

    raw = set(re.findall(r"`(\w+(?:_us|_json|_state))`", text))
    methods = {row[0].partition("(")[0] for row in table(text, index=1)}
    assert set(column(table(text))) | raw | methods == public(eventq.Task)
    assert column(table(text, index=2)) == list(TaskState)


def test_context_page_has_every_attribute() -> None:
    """The context page lists all that a worker may use; the rest is for the runner."""
    shown = {row[0].removeprefix("ctx.").partition("(")[0] for row in table(read("context.md"))}
    ours = {
        name
        for name in public(Context)
        if not (inspect.getdoc(getattr(Context, name)) or "").startswith("For the runner")
    }

    assert shown == ours


def test_event_page_has_the_envelope() -> None:
    """The envelope on the events page is that of Event."""
    assert set(column(table(read("events.md")))) == public(eventq.Event)


def test_every_exported_name_is_told() -> None:
    """Whatever can be imported from eventq stands somewhere in the reference."""
    text = "".join(page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md"))

    assert [name for name in eventq.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_limits_are_those_of_the_code() -> None:
    """Each limit with a number is the constant of the code."""
    text = read("limits.md")
    shown = {row[0]: row[1] for row in [*table(text), *table(text, index=1)]}
    priority = checks.PRIORITY_LIMIT

    expected = {
        "Tags of a task": f"{values.TAGS_BYTES // KIB} KiB of JSON",
        "Depth of a JSON value": str(checks.JSON_DEPTH),
        "Key": f"{values.KEY_BYTES} bytes, printable, not all digits",
        "Priority": f"{-priority} to {priority - 1}",
        "Result": f"{values.RESULT_BYTES // KIB} KiB of JSON",
        "Error": f"{values.ERROR_BYTES // KIB} KiB of JSON",
        "Message of an error": f"{MESSAGE_CHARACTERS:,} characters",
        "reason and by": f"{checks.TEXT_CHARACTERS:,} characters",
        "Events in a commit": f"{values.COMMIT_EVENTS:,}",
        "Bytes in a commit": f"{values.COMMIT_BYTES // KIB**2} MiB",
        "Duration": f"{int(LONGEST_US / UNITS_US['d'] / 365.25)} years",
        "Work leased ahead of free workers": f"{pacing.AHEAD_S * 1000:g} ms",
        "An outcome waits for others to share its commit, at most": (
            f"{settling.LINGER_S * 1000:g} ms"
        ),
        "Tasks held ahead are given back when no worker has become free for": (
            f"{lookout.STUCK_S * 1000:g} ms"
        ),
        "A running process looks for cancelled tasks and lapsed nodes at least every": (
            f"{lookout.LOOK_EVERY_S * 1000:g} ms"
        ),
    }
    assert {name: shown.get(name) for name in expected} == expected


def test_sqlite_page_has_every_table_and_column() -> None:
    """Tables, views and columns on the SQLite page are those of a new database."""
    text = read("sqlite.md")
    database = sqlite3.connect(":memory:")
    database.executescript(sqlite_schema.TABLES + VIEWS + sqlite_snapshots.TABLE)
    names = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")

    found = {name for (name,) in names}
    assert set(re.findall(r"^### `(\w+)`$", text, re.MULTILINE)) == found
    for name in found:
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
        assert column(table(section(text, f"### `{name}`"))) == columns, name
    assert f"{sqlite_schema.APPLICATION_ID:#x}" in text
    assert f"`user_version` {sqlite_schema.SCHEMA_VERSION}" in text
    database.close()
