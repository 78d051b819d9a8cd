"""The list of commands in the help and in the docs: each one once, below what it is for."""

from __future__ import annotations

import re
from pathlib import Path

from eventq.audit.expression.vocabulary import FIELDS, NAMES
from eventq.cli import main
from eventq.cli.entry import HEADINGS
from tests.cli.harness import Cli

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "cli.md"


def test_help_shows_every_command_once_below_a_heading(cli: Cli) -> None:
    """With its whole first sentence, however narrow the terminal is."""
    text = cli.ok("--help")

    lines = text.splitlines()
    listed = [command.name for commands in HEADINGS.values() for command in commands]
    assert {*listed} == {*main.commands}
    assert len(listed) == len(main.commands)
    assert [line.split()[0] for line in lines if re.match(r"  [a-z]+  ", line)] == listed
    assert [line[:-1] for line in lines if line[:-1] in HEADINGS] == [*HEADINGS]
    assert not [line for line in lines[1:] if line.endswith("...")]


def test_the_page_of_commands_has_the_same_headings() -> None:
    """Each command is a link to its section."""
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z][a-z ]+) \| (\[`.*) \|$", page, re.MULTILINE)

    shown = {heading: re.findall(r"\[`(\w+)`\]", row) for heading, row in rows}
    assert shown == {
        heading: [command.name for command in commands] for heading, commands in HEADINGS.items()
    }
    for names in shown.values():
        assert all(f"](#{name})" in page and f"\n## `{name}`\n" in page for name in names)


def test_help_of_bisect_has_the_words_of_a_condition(cli: Cli) -> None:
    """Whoever is at a terminal needs no page for them."""
    words = set(re.findall(r"\w+", cli.ok("bisect", "--help")))

    assert words >= {*NAMES, "count", "leases", "task"}
    assert len(words & set(FIELDS)) > 5
