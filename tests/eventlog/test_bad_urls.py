"""Bad input to `Queue` itself: options, URLs, and files that are no log of ours."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from eventq import (
    ArgumentError,
    LogError,
    LogForeignError,
    LogTooNewError,
    LogUnavailableError,
    Queue,
)
from eventq.eventlog.sqlite import schema as sqlite_schema

URLS = [
    None, 5, True, b"memory://", Path("a.db"), "", "a.db", "/a.db", "redis://host", "sqlite://",
    "sqlite:///", "sqlite://host/a.db", "sqlite:///a.db?mode=ro", "sqlite:///a.db#x",
    "memory:///path", "sqlite:///:memory:", "sqlite://[bad", "http://[::1", "sqlite:///a%00b",
    "sqlite:///a\0b", "sqlite:///\ud800", "sqlite:///a\nb.db", "postgres://user:secret@host/db",
    "sqlite://user:secret@host/a.db", "memory://user:secret@[bad",
    # Each of these once was a file of another name than the one meant.
    "sqlite:queue.db", "sqlite:/srv/shop.db", "sqlite://queue.db", "file:copy.jsonl", "SQLite:a.db",
    "file:/srv/copy.jsonl", "file://copy.jsonl", "sqlite:///a.db ", " sqlite:///a.db",
    "sqlite:///a.db\u00a0", "sqlite:///a%FF.db", "sqlite:///a.db?", "file:///copy.jsonl#",
    "mongodb://host/database ", "memory:", "memory:name", "sqlite:", "file:///",
]  # fmt: skip
NAMESPACES = [None, "", 5, b"x", True, "a b", "-a", ".a", "a" * 65, "é", "a\n", "a/b", "\ud800"]
WORKERS = [0, -1, True, 1.5, "4", 10_001, math.nan, []]
WAITS = [-1, "x", math.nan, math.inf, True, [], object(), "1y", b"1s"]


@pytest.mark.parametrize("url", URLS, ids=range(len(URLS)))
def test_urls(url: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    """What is no URL of a log is refused, makes no file, and shows no password."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ArgumentError, match=r"^url: expected") as caught:
        Queue(url)
    assert caught.value.argument == "url"
    assert "secret" not in repr((str(caught.value), caught.value.value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url, right",
    [
        ("sqlite:queue.db", "sqlite:///queue.db"),
        ("sqlite:/srv/shop.db", "sqlite:////srv/shop.db"),
        ("sqlite://queue.db", "sqlite:///queue.db"),
        ("file:copy.jsonl", "file:///copy.jsonl"),
    ],
)
def test_a_url_with_too_few_slashes_is_told_the_right_one(url: str, right: str) -> None:
    """The error says what to write."""
    with pytest.raises(ArgumentError) as caught:
        Queue(url)

    assert f": {right}, got " in str(caught.value)


@pytest.mark.parametrize(
    "url, name",
    [
        ("sqlite:///a.db", "a.db"),
        ("SQLITE:///a.db", "a.db"),
        ("sqlite:///a%20.db%20", "a .db "),
        ("sqlite:///%C3%A4.db", "ä.db"),
        ("sqlite:///a%3Fb%23.db", "a?b#.db"),
    ],
)
def test_a_url_names_just_this_file(
    url: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is percent-encoded is decoded, and nothing else is done to a path."""
    monkeypatch.chdir(tmp_path)

    with Queue(url) as queue:
        queue.new()

    assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    "name, values",
    [
        ("namespace", NAMESPACES),
        ("workers", WORKERS),
        ("max_retries", [-1, True, 1.5, "4", []]),
        ("max_age", [*WAITS, 0]),
        ("deadline", [*WAITS, 0]),
        ("backoff", [*WAITS, None]),
        ("create", [None, 1, "no"]),
    ],
)
def test_options_of_a_queue(name: str, values: list[Any], tmp_path: Path) -> None:
    """Each wrong option is named with its value, before any file is made."""
    for value in values:
        options: Any = {name: value}
        with pytest.raises(ArgumentError, match=rf"^{name}: expected") as caught:
            Queue(f"sqlite:///{tmp_path}/eventq.db", **options)
        assert caught.value.value is value

    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_told_by_python() -> None:
    """As for any function."""
    options: Any = {"wokers": 4}

    with pytest.raises(TypeError, match="wokers"):
        Queue("memory://", **options)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """Neither text nor another program's database is written to."""
    text = tmp_path / "notes.txt"
    text.write_bytes(b"dear diary, " * 1_000)
    other = tmp_path / "other.db"
    connection = apsw.Connection(str(other))
    connection.execute("CREATE TABLE mine (x)")
    connection.close()

    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(LogForeignError, match=path.name):
            Queue(f"sqlite:///{path}")
        assert path.read_bytes() == before


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    """The error tells which version it has, and to upgrade."""
    path = tmp_path / "eventq.db"
    with Queue(f"sqlite:///{path}") as queue:
        queue.new()
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version = {sqlite_schema.SCHEMA_VERSION + 1}")
    connection.close()

    with pytest.raises(LogTooNewError, match="upgrade"):
        Queue(f"sqlite:///{path}")


def test_a_database_from_before_the_first_release_is_left_alone(tmp_path: Path) -> None:
    """The error names its schema and the one that is needed."""
    path = tmp_path / "eventq.db"
    with Queue(f"sqlite:///{path}") as queue:
        queue.new()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 1")
    connection.close()

    with pytest.raises(LogForeignError, match=r"has schema 1, .* needs 3: begin a new file"):
        Queue(f"sqlite:///{path}")


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    """A missing directory, a file as directory, a directory as file, a device, a dead link."""
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    places = ["missing/a.db", "file/a.db", "directory", "loop", "x" * 300]

    for place in [*(f"{tmp_path}/{place}" for place in places), "/dev/null"]:
        with pytest.raises(LogUnavailableError):
            Queue(f"sqlite:///{place}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file", "loop"]


def test_nothing_is_made_when_it_must_be_there(tmp_path: Path) -> None:
    """``create=False`` opens what is there and nothing else."""
    url = f"sqlite:///{tmp_path}/eventq.db"

    with pytest.raises(LogUnavailableError, match="no log here"):
        Queue(url, create=False)
    assert list(tmp_path.iterdir()) == []
    with Queue(url) as queue:
        queue.new()
    with Queue(url, create=False) as queue:
        assert queue.stats().total == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names the folder."""
    tmp_path.chmod(0o500)

    with pytest.raises(LogUnavailableError, match="not writable"):
        Queue(f"sqlite:///{tmp_path}/eventq.db")


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    """Pages of noise give a LogError, whatever is asked first."""
    path = tmp_path / "eventq.db"
    with Queue(f"sqlite:///{path}") as queue:
        queue.new_many([{"a": "x" * 100}] * 2_000)
    noise = bytearray(path.read_bytes())
    noise[8_192:] = b"\xa5" * (len(noise) - 8_192)
    path.write_bytes(noise)

    with pytest.raises(LogError), Queue(f"sqlite:///{path}") as queue:
        queue.stats()
