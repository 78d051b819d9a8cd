"""The page of commands, the unit file and the changelog are what the code and the forms ask for.

The session on the page is run by test_docs.py.
"""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import click
import pytest

import eventq
from eventq.audit import state_at, story, why
from eventq.audit.bisect import Found, bisect
from eventq.audit.diff import diff_points
from eventq.audit.expression.parser import parse_expression
from eventq.cli import main
from eventq.cli.demo.summary import Story
from eventq.cli.ending import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_MISUSED, EXIT_PIPE
from eventq.cli.views.change import changed_task
from eventq.cli.views.fields import json_fields
from eventq.cli.views.snapshot import difference_fields
from eventq.core.durations import SECOND_US, parse_duration
from eventq.core.projection import Projection
from eventq.eventlog.contract import SnapshotEntry
from eventq.replay import Point
from eventq.replay.points import find_point
from eventq.runner.runner import RunReport
from eventq.snapshot import SnapshotVerdict, compare, take
from tests.docs.test_docs import DOCS, PAGES, ROOT, blocks, name
from tests.docs.test_docs_reference import column, read, section, table

COMMANDS = sorted(main.commands)
# Those of every command have a table of their own.
COMMON = {"--url", "--url-file", "--namespace", "--archive", "--json", "-h", "--help"}
# Words that have another name here (see the glossary).
UNUSED_WORDS = re.compile(r"\b(jobs?|acks?|acked|offsets?|reducers?|brokers?)\b", re.IGNORECASE)


def options_of(command: click.Command) -> set[str]:
    """The names of a command's options, hidden ones left out."""
    context = click.Context(command, help_option_names=main.context_settings["help_option_names"])
    found = {
        word
        for option in command.get_params(context)
        if isinstance(option, click.Option) and not option.hidden
        for word in (*option.opts, *option.secondary_opts)
    }
    return found | set(command.get_help_option_names(context))


def test_commands_page_has_every_command() -> None:
    """There is a section for each command and for no other."""
    shown = re.findall(r"^## `(\w+)`$", read("cli.md"), re.MULTILINE)

    assert sorted(shown) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_page_has_every_option(command: str) -> None:
    """The section shows the usage and a row for each option that click knows."""
    text = section(read("cli.md"), f"## `{command}`")

    rows = table(text) if "| Option |" in text else []
    assert set(column(rows)) == options_of(main.commands[command]) - COMMON
    context = click.Context(main.commands[command], info_name=f"eventq {command}")
    usage = main.commands[command].get_usage(context).removeprefix("Usage: ")
    assert f"```text\n{usage}\n```" in text


@pytest.mark.parametrize("name", [n for n in COMMANDS if isinstance(main.commands[n], click.Group)])
def test_commands_page_has_every_command_of_a_group(name: str) -> None:
    """The section of a group has a row for each of its commands, with all their own options.

    What several have stands in a table of its own.
    """
    group = main.commands[name]
    assert isinstance(group, click.Group)
    text = section(read("cli.md"), f"## `{name}`")
    rows = {row[0].split()[0]: " ".join(row) for row in table(text)}
    shared = text.partition("| Shared option |")[2]

    assert sorted(rows) == sorted(group.commands)
    for command, row in rows.items():
        options = options_of(group.commands[command])
        assert options >= COMMON
        assert all(option in row + shared for option in options - COMMON), command


def test_commands_page_has_the_common_options() -> None:
    """Options that every command has stand in a table of their own."""
    shown = set(column(table(section(read("cli.md"), "## Options of all commands"))))

    assert shown == COMMON
    placeless = {"handlers": {"--json"}, "health": {"--json"}}
    for word, command in main.commands.items():
        assert options_of(command) >= placeless.get(word, COMMON), word
    assert options_of(main) == {*COMMON, "--version"}


def test_commands_page_has_the_exit_codes() -> None:
    """The exit codes are those of the entry point."""
    shown = column(table(section(read("cli.md"), "## Output")))

    assert shown == [
        str(code) for code in (0, EXIT_FAILED, EXIT_MISUSED, int(EXIT_INTERRUPTED), int(EXIT_PIPE))
    ]


def test_commands_page_has_every_json_field() -> None:
    """The shapes on the page have the fields of the forms, in their order."""
    with eventq.Queue("memory://") as queue:
        task = queue.new()
        (event,) = queue.history(task.key)
        stats = queue.stats()
        log, point = queue.log, Point(event.seq, event.at)
        (step,) = story(log, task.key)
        state, answer = state_at(log, point), why(log, task.key, point)
        points = [find_point(log, value, now=0) for value in (0, 1)]
        difference = diff_points(log, *points)
        [changed] = difference.open.tasks
        found = bisect(log, parse_expression("total == 1"), good=points[0], bad=points[1])
        assert isinstance(found, Found)
    empty = Projection("docs")
    shapes = {
        "A task": list(json_fields(task)),
        "An event": list(json_fields(event)),
        "A step": list(json_fields(step)),
        "A queue at a point": list(json_fields(state)),
        "An answer": list(json_fields(answer)),
        "A queue in numbers": list(json_fields(stats)),
        "A summary": list(Story("", "", stats, [], 0, 0.0).numbers),
        "A snapshot": list(json_fields(SnapshotEntry(1, 1, b"", 1, 1))),
        "What a snapshot holds": list(json_fields(take(empty))),
        "A verdict": list(json_fields(SnapshotVerdict("1", 1))),
        "A difference": list(difference_fields(compare(empty, empty), empty, empty)),
        "Two points": list(json_fields(difference)),
        "A changed task": list(json_fields(changed_task(changed))),
        "A finding": list(json_fields(found)),
        "A report": [*RunReport.__struct_fields__, "processes", "restarts"],
    }

    for heading, fields in shapes.items():
        assert column(table(section(read("cli.md"), f"### {heading}"))) == fields


def test_unit_file_starts_a_command_there_is() -> None:
    """The systemd unit parses, and its command line is one that click accepts."""
    page = DOCS / "how-to" / "several-processes.md"
    (unit,) = [block.text for block in blocks(page) if block.kind == "ini"]
    parser = configparser.ConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit)

    program, command, *arguments = shlex.split(parser["Service"]["ExecStart"])
    assert Path(program).name == "eventq"
    context = main.commands[command].make_context(command, arguments)
    grace_s = parse_duration(context.params["grace"]) / SECOND_US
    assert int(parser["Service"]["TimeoutStopSec"]) > grace_s
    assert parser.sections() == ["Unit", "Service", "Install"]


def test_ini_blocks_are_unit_files() -> None:
    """No page but the one tested above has a block of settings."""
    pages = [name(page) for page in PAGES for block in blocks(page) if block.kind == "ini"]

    assert pages == ["docs/how-to/several-processes.md"]


def test_mermaid_is_drawn_once() -> None:
    """The one diagram is the one that is compared with the moves."""
    pages = [name(page) for page in PAGES for block in blocks(page) if block.kind == "mermaid"]

    assert pages == ["docs/explanation/life-cycle.md"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_words_are_those_of_the_glossary(page: Path) -> None:
    """Prose says task, event and position; other systems' words for them are not used."""
    prose = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )

    assert UNUSED_WORDS.findall(re.sub(r"`[^`]*`", "", prose)) == []


def test_glossary_is_sorted() -> None:
    """The words of the glossary stand in order, each once."""
    words = column(table(read("glossary.md")))

    assert words == sorted(set(words))


def test_decisions_are_numbered_and_complete() -> None:
    """Decisions are numbered without gaps and tell context, choice and cost."""
    pages = sorted((DOCS / "decisions").glob("*.md"))

    for number, page in enumerate(pages, 1):
        text = page.read_text(encoding="utf-8")
        assert page.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number:04}: ")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Choice", "Cost"]


def test_changelog_keeps_its_form() -> None:
    """Releases are dated, newest first, below Unreleased; changes stand as points by their kind."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    head, *releases = re.split(r"^## ", text, flags=re.MULTILINE)
    kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]

    assert head.startswith("# Changelog\n")
    assert "https://keepachangelog.com/" in head
    assert releases[0].startswith("[Unreleased]\n")
    versions = []
    for release in releases:
        title, _, body = release.partition("\n")
        if title != "[Unreleased]":
            found = re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d", title)
            assert found, f"CHANGELOG.md: {title!r} is no version with a date"
            versions.append(tuple(map(int, found.groups())))
        intro, *groups = re.split(r"^### ", body, flags=re.MULTILINE)
        names = [group.partition("\n")[0] for group in groups]
        assert intro.strip() == ""
        assert names == [kind for kind in kinds if kind in names]
        for group in groups:
            lines = [line for line in group.splitlines()[1:] if line.strip()]
            assert lines, f"CHANGELOG.md: nothing below {group.strip()}"
            assert all(line.startswith(("- ", "  ")) for line in lines)
    assert versions == sorted(versions, reverse=True)
