"""``report``: a period in numbers and tables, as text, as JSON, and as one HTML file."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from eventq import Queue
from eventq.eventlog import open_log
from tests.cli.harness import Cli
from tests.stage import Stage
from tests.support import ManualClock


@pytest.fixture
def day(cli: Cli) -> Cli:
    """Two tasks that completed, one that failed for good, and one that a person cancelled."""
    with Queue(cli.url, clock=ManualClock(), workers=1, max_retries=0) as queue:
        queue.new_many([{"n": n} for n in range(2)], name="mail")
        queue.new({"n": 2}, key="<bad>", name="bill")

        def work(_ctx: object, task: object) -> None:
            if task.name == "bill":  # type: ignore[attr-defined]
                raise ConnectionError("<no route>")

        queue.run(work, names=["*"], until="idle")
        queue.new(name="mail", delay="1h", key="later")
        queue.cancel("later", by="ada", reason="not needed")
    return cli


def test_the_report_counts_what_happened(day: Cli) -> None:
    """In the period, by name, by error and by hand."""
    row = day.row("report")

    assert (row["created"], row["completed"], row["expired"], row["cancelled"]) == (4, 2, 1, 1)
    assert (row["open_before"], row["open_after"]) == (0, 0)
    assert (row["started"], row["failed"], row["waited"]["count"], row["ran"]["count"]) == (
        3,
        1,
        3,
        3,
    )
    assert [(each["name"], each["completed"]) for each in row["names"]] == [
        ("mail", 2),
        ("bill", 0),
    ]
    assert [(each["type"], each["failures"]) for each in row["failures"]] == [
        ("ConnectionError", 1)
    ]
    assert [(each["key"], each["by"], each["reason"]) for each in row["by_hand"]] == [
        ("later", "ada", "not needed")
    ]
    assert len(row["nodes"]) == 1
    assert len(row["runs"]) == len(row["waits"]) == 3
    assert row["since"].endswith("Z")


def test_a_part_of_the_log_begins_with_what_was_open(day: Cli) -> None:
    """Attempts that began before it still end in it."""
    row = day.row("report", "--from", "3")

    assert (row["after"], row["open_before"], row["created"], row["completed"]) == (3, 3, 1, 2)


def test_the_text_has_a_table_for_each_question(day: Cli) -> None:
    """Those without rows are left out."""
    text = day.ok("report")

    for title in ("busiest minutes", "by name", "nodes", "failing most", "slowest", "by hand"):
        assert title in text
    assert "ran twice" not in text
    assert "attempts\t3" in text


def test_the_page_is_one_file_that_loads_nothing(day: Cli, tmp_path: Path) -> None:
    """Its charts are SVG, and what users wrote stands in it as text."""
    page = tmp_path / "report.html"
    day.ok("report", "--html", str(page))
    html = page.read_text(encoding="utf-8")

    assert html.startswith("<!doctype html>")
    assert html.count("<svg") == 3
    assert "&lt;bad&gt;" in html
    assert "<bad>" not in html
    assert not re.search(r"<script|<link|src=|href=|url\(|@import", html)


def test_a_period_that_cannot_be_reported(day: Cli, tmp_path: Path) -> None:
    """An empty one ends with 1, a backward one with 2, a page that cannot be written with 1."""
    end = str(day.row("stats")["seq"])

    nothing = day("report", "--from", end)
    assert "nothing happened" in nothing.stderr
    assert f"events\tno event after {end}" in nothing.stdout
    assert f"over no event after {end}, as of" in day("find", "--from", end).stderr
    assert day("report", "--from", end).exit_code == 1
    assert day("report", "--from", "5", "--to", "3").exit_code == 2
    page = str(tmp_path / "no" / "r.html")
    assert page in day.one_error("report", "--html", page, code=1)


def test_a_page_replaces_only_a_page(day: Cli, tmp_path: Path) -> None:
    """A log, or any other file, is left as it is; an earlier page and an empty file are not."""
    for content in (b"SQLite format 3\0...", b"a letter"):
        (tmp_path / "mine").write_bytes(content)
        said = day.one_error("report", "--html", str(tmp_path / "mine"), code=2)
        assert "mine is no page: it is left as it is" in said
        assert (tmp_path / "mine").read_bytes() == content

    (tmp_path / "page").touch()
    for _ in range(2):
        day.ok("report", "--html", str(tmp_path / "page"))

    assert (tmp_path / "page").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_how_long_a_node_was_silent_is_told_where_it_still_is(cli: Cli) -> None:
    """As far as the period goes; so is what a task's last attempt was."""
    stage = Stage()
    stage.new()
    stage.lease("h1")
    stage.wait("40s")
    stage.lapse("h1")
    with closing(open_log(cli.url)) as log:
        for commit in stage.log.read(after=0):
            log.append(commit)

    shown = [line.split("\t") for line in cli.ok("report").splitlines()]
    assert ["NODE", "SINCE", "UNTIL", "FOR", "LEASES"] in shown
    [row] = [row for row in shown if row[0] == "h1" and row[3].endswith("or more")]
    assert (row[2], row[4]) == ("-", "1")
    assert ["of these lapsed", "1"] in shown
    assert "LAST WAITED\tLAST RAN\tLAST ERROR" in cli.ok("find")
    assert "WAITED\tRAN\tOUTCOME\tERROR" in cli.ok("find", "--each", "attempt")
