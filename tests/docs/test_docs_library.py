"""The page about the libraries for snapshots and archives names all that is public there."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

from eventq import archive, snapshot
from tests.docs.test_docs_reference import read, section, table

# A name, and what it takes.
CALL = re.compile(r"(\w+)(?:\(([^()]*)\))?(?:, |$)")


@pytest.mark.parametrize("package", [archive, snapshot])
def test_every_public_name_is_told_once(package: ModuleType) -> None:
    """Functions with all that they take, and no other names."""
    rows = table(section(read("library.md"), f"## `{package.__name__}`"))
    told = [found for row in rows for found in CALL.findall(row[0])]

    assert sorted(name for name, _ in told) == sorted(package.__all__)
    for name, arguments in told:
        if inspect.isfunction(value := getattr(package, name)):
            shown = [part.partition("=")[0].strip() for part in arguments.split(",")]
            parameters = list(inspect.signature(value).parameters)
            assert [part for part in shown if part != "*"] == parameters, name
