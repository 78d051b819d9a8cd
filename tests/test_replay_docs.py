"""The page about asking a log names everything that the functions take and give."""

from __future__ import annotations

import inspect

import pytest
from msgspec import Struct

from eventq import replay
from tests.test_docs_reference import column, public, read, section, table

STRUCTS = [
    found
    for name in ("Point", "Step", "QueueState", "Held", "Why", "Grant", "Load", "Rank", "Rival")
    if issubclass(found := getattr(replay, name), Struct)
]
FUNCTIONS = ["open_log", "find_point", "story", "task_at", "state_at", "why"]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_attribute_is_told(struct: type[Struct]) -> None:
    """Each shape has a section with all its fields and properties."""
    rows = table(section(read("asking.md"), f"## `{struct.__name__}`"))

    assert set(column(rows)) == public(struct)


def test_every_function_is_told_with_its_arguments() -> None:
    """The table shows how each is called."""
    shown = [row[0] for row in table(read("asking.md"))]

    assert [call.partition("(")[0] for call in shown] == FUNCTIONS
    for call in shown:
        name, _, arguments = call.partition("(")
        told = [part.partition("=")[0].strip() for part in arguments.rstrip(")").split(",")]
        parameters = inspect.signature(getattr(replay, name)).parameters
        assert [part for part in told if part != "*"] == list(parameters)
