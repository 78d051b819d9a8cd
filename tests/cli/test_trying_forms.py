"""The page of commands has every field of the JSON that rerun, fork and whatif give."""

from __future__ import annotations

from pathlib import Path

from tests.cli.harness import Cli
from tests.cli.trying import ran, worker
from tests.docs.test_docs_reference import column, read, section, table

__all__ = ["ran"]


def told(heading: str) -> list[str]:
    """The fields that the page lists."""
    return column(table(section(read("cli.md"), f"### {heading}")))


def test_a_rerun_is_told(ran: Cli) -> None:
    """The rerun and both of its endings."""
    row = ran.row("rerun", "t0", *worker(ran, "work"))

    assert told("A rerun") == list(row)
    assert told("An ending") == list(row["recorded"]) == list(row["here"])


def test_a_fork_is_told(ran: Cli, tmp_path: Path) -> None:
    """The report."""
    row = ran.row("fork", f"{ran.url}@end", f"sqlite:///{tmp_path}/fork.db")

    assert told("A fork") == list(row)


def test_a_what_if_is_told(ran: Cli) -> None:
    """The what-if, its accounts and their waits."""
    row = ran.row("whatif")

    assert told("A what-if") == list(row)
    for account in ("recorded", "as_it_was", "what_if"):
        assert told("An account") == list(row[account])
    [waits] = row["what_if"]["by_priority"]
    assert list(waits) == ["priority", *row["what_if"]["waits"]]
