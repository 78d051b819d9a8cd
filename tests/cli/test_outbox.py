"""`eventq outbox` where the application's table, or its file, is not what it should be."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.harness import Cli


@pytest.mark.parametrize(
    "columns", ["id INTEGER", "key TEXT", "id INTEGER, key TEXT, body TEXT"], ids=str
)
def test_a_table_of_another_version_is_told(cli: Cli, tmp_path: Path, columns: str) -> None:
    """`create` says what to do with it; once it is renamed, the right one is made."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as shop:
        shop.execute(f"CREATE TABLE eventq_outbox ({columns})")

        error = cli.one_error("outbox", "create", f"sqlite:///{path}", code=1)
        shop.execute("ALTER TABLE eventq_outbox RENAME TO older")
        shop.execute("DROP INDEX IF EXISTS eventq_outbox_by_key")
        shop.commit()

    assert "another version" in error
    assert "drop or rename" in error
    cli.ok("outbox", "create", f"sqlite:///{path}")


@pytest.mark.parametrize("command", ["outbox ls", "outbox retry", "relay --once"])
def test_no_file_is_made_where_there_is_none(cli: Cli, tmp_path: Path, command: str) -> None:
    """A wrong name is told; only `outbox create` makes a file."""
    path = tmp_path / "typo.db"

    error = cli.one_error(*command.split(), f"sqlite:///{path}", code=1)

    assert "there is no file" in error
    assert not path.exists()


def test_a_file_without_a_table_is_told(cli: Cli, tmp_path: Path) -> None:
    """With the command that makes it."""
    path = tmp_path / "shop.db"
    path.touch()

    error = cli.one_error("outbox", "ls", f"sqlite:///{path}", code=1)

    assert f"eventq outbox create sqlite:///{path}" in error
