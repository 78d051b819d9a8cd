"""The pages about the tools from Python name everything that the functions take and give."""

from __future__ import annotations

import inspect
import re

import pytest

from eventq import audit, replay, sandbox, verify
from eventq.eventlog import open_log
from tests.docs.test_docs_reference import column, public, read, section, table

STRUCTS = [
    (page, heading)
    for page in ("asking.md", "tools.md")
    for heading in re.findall(r"^## `(\w+)`$", read(page), re.MULTILINE)
]

# All that the packages of the tools name, and what opens a log for them.
NAMED = {
    name: getattr(package, name)
    for package in (replay, audit, verify, sandbox)
    for name in package.__all__
} | {"open_log": open_log}


def functions(page: str) -> list[str]:
    """The calls in the first table of a page."""
    return [row[0] for row in table(read(page))]


@pytest.mark.parametrize("page, name", STRUCTS)
def test_every_attribute_is_told(page: str, name: str) -> None:
    """Each shape has a section with all its fields and properties."""
    rows = table(section(read(page), f"## `{name}`"))

    assert set(column(rows)) == public(NAMED[name])


@pytest.mark.parametrize("call", [*functions("asking.md"), *functions("tools.md")])
def test_every_function_is_told_with_its_arguments(call: str) -> None:
    """The table shows how each is called."""
    name, _, arguments = call.partition("(")
    told = [part.partition("=")[0].strip() for part in arguments[:-1].split(", ")]
    parameters = inspect.signature(NAMED[name]).parameters

    assert [part for part in told if part != "*"] == list(parameters)


def test_every_name_is_told() -> None:
    """Functions stand in a table, shapes have a section, and the rest is explained."""
    calls = [*functions("asking.md"), *functions("tools.md")]
    told = {*(call.partition("(")[0] for call in calls), *(name for _, name in STRUCTS)}
    explained = {"Cursor", "Expression", "View"}

    assert told.isdisjoint(explained)
    assert told | explained == NAMED.keys()
    assert all(f"`{name}" in read("tools.md") for name in explained)
