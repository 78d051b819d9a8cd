"""The report of the demo in the docs is what its command writes, and has what a report has."""

from __future__ import annotations

from eventq.audit import Reach
from eventq.audit.reporting import report
from eventq.cli.views.report import report_pairs, sections
from tests.driver import memory_log
from tools.demo_report.page import COMMAND, PAGE, ROOT, block_of, replaced, run_demo

EMPTY = report(memory_log(), Reach(0, 0, 0))


def parts_of(block: str) -> tuple[list[str], dict[str, str]]:
    """The names of the numbers that a block begins with; its tables: titles by heading."""
    numbers, *tables = block.removeprefix(f"{COMMAND}\n").strip().split("\n\n")
    names = [line.split("  ")[0] for line in numbers.splitlines()]
    return names, {table.splitlines()[0]: table.splitlines()[1] for table in tables}


def test_the_page_shows_what_a_report_tells() -> None:
    """Each number, in its order; tables under their headings, with their titles."""
    names, tables = parts_of(block_of(PAGE.read_text(encoding="utf-8")))
    known = {heading: how.titles for heading, _, how in sections(EMPTY)}

    assert names == [name for name, _ in report_pairs(EMPTY)]
    assert {"busiest minutes", "by name", "failing most", "waited longest"} <= set(tables)
    for heading, titles in tables.items():
        assert titles.split("  ")[0] == known[heading][0]
        assert all(title in titles for title in known[heading][:2])


def test_the_page_is_written_by_its_command() -> None:
    """A run of the demo gives a block of the same parts, in the place of the one before."""
    block = run_demo(5)
    page = PAGE.read_text(encoding="utf-8")
    names, tables = parts_of(block)

    assert names == parts_of(block_of(page))[0]
    assert "by name" in tables
    assert block_of(replaced(page, block)) == block
    assert str(ROOT) not in block
    assert "\x1b" not in block
