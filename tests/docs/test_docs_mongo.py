"""What the pages about MongoDB and about the file of lines list is what the code makes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import typing
from collections.abc import Iterator

import pytest
from bson import Int64
from pymongo.database import Database
from pymongo.uri_parser import parse_uri

import eventq
from eventq.archive.copy import CopyReport
from eventq.eventlog import lines as file_lines
from eventq.eventlog.mongo import append as mongo_append
from eventq.eventlog.mongo import connection as mongo_link
from eventq.eventlog.mongo import documents
from eventq.eventlog.mongo import retention as mongo_cut
from eventq.eventlog.mongo import snapshots as mongo_snapshots
from eventq.eventlog.mongo import watch as mongo_watch
from eventq.eventlog.mongo.driver import TIMEOUTS_MS
from tests.docs.test_docs import DOCS, ROOT, blocks, matches
from tests.docs.test_docs_reference import column, read, section, table, type_name
from tests.servers import new_url
from tools.mongod import ReplicaSet
from tools.mongod.replica_set import find_program

MANY_HOSTS = DOCS / "how-to" / "many-hosts.md"

TYPES: dict[type, str] = {
    str: "string",
    int: "number",
    Int64: "number",
    bytes: "binary",
    list: "array",
}


@pytest.fixture
def database(mongod: ReplicaSet) -> Iterator[Database[typing.Any]]:
    """A database with a log in it, by the driver alone."""
    url = new_url(mongod)
    with eventq.Queue(url) as queue:
        first = queue.new({"n": 1}, key="one")
        queue.new({"n": 2}, after=first)
        queue.cancel(first.key)
        # Any run cancels what waited for it.
        queue.run(lambda _ctx, _task: None, until="idle")
    with mongod.members[0].client() as client:
        yield client[parse_uri(url)["database"]]


def test_every_field_of_a_document_is_told(database: Database[typing.Any]) -> None:
    """The table of `commits` has the fields of a real document, with their types."""
    found: dict[str, typing.Any] = {}
    for document in database[documents.COMMITS].find():
        found |= document
    rows = table(section(read("mongodb.md"), "## `commits`"))

    assert {row[0] for row in rows} == set(found)
    for name, shown, _ in rows:
        assert shown.split(" of ")[0] == TYPES[type(found[name])], name


def test_every_index_is_told(database: Database[typing.Any]) -> None:
    """The table of indexes is what the server lists; the unique ones are called so."""
    rows = table(section(read("mongodb.md"), "## `commits`"), index=1)

    found = {index["name"]: index for index in database[documents.COMMITS].list_indexes()}
    assert {row[0]: row[1] for row in rows} == {
        name: ", ".join(index["key"]) for name, index in found.items()
    }
    for name, _, use in rows:
        assert use.startswith("Unique") == ("unique" in found[name]), name


def test_every_field_of_the_view_is_told(database: Database[typing.Any]) -> None:
    """The table of `events` has the fields of a document of the view."""
    found = database[documents.EVENTS_VIEW].find_one() or {}

    assert set(column(table(section(read("mongodb.md"), "## `events`")))) == set(found)


def test_collections_are_told(database: Database[typing.Any]) -> None:
    """The collections and the mark are those that are made."""
    mark = database[documents.MARKS].find_one()

    names = {name for name in database.list_collection_names() if not name.startswith("system.")}
    # What comes when it is first needed.
    names |= {mongo_cut.KEPT, mongo_snapshots.PIECES, mongo_snapshots.SNAPSHOTS}
    assert set(re.findall(r"^## `(\w+)`$", read("mongodb.md"), re.MULTILINE)) == names
    assert f"`{json.dumps(mark)}`" in read("mongodb.md")
    for name in names:
        assert f"`{name}`" in section(
            MANY_HOSTS.read_text(encoding="utf-8"), "## What is made in the database"
        )


def test_timeouts_are_those_of_the_code() -> None:
    """Options, their defaults, and the times that no option changes."""
    text = section(read("mongodb.md"), "## URL")

    options = {row[0]: int(row[1]) for row in table(text)}
    assert options == TIMEOUTS_MS
    fixed = {row[0]: row[1] for row in table(text, index=1)}
    assert f"wtimeout {mongo_link.WRITE_TIMEOUT_MS} ms" in fixed["Write concern"]
    assert fixed["An append whose outcome is not known is followed up for"] == (
        f"{mongo_append.RESOLVE_S:g} s"
    )
    assert f"every {mongo_watch.QUICKEST_S * 1000:g} ms" in text
    assert f"every {mongo_watch.SLOWEST_S * 1000:g} ms" in text


def test_limits_of_mongodb_are_those_of_the_code() -> None:
    """The table of times on MongoDB is made of the code's constants."""
    rows = table(section(read("limits.md"), "## Times"), index=1)

    assert [row[1] for row in rows] == [
        *(f"{ms // 1000} s" for ms in TIMEOUTS_MS.values()),
        f"{mongo_append.RESOLVE_S:g} s",
        f"{mongo_watch.SLOWEST_S * 1000:g} ms",
    ]


def test_file_page_has_every_field() -> None:
    """Both kinds of lines on the page have the fields of the code, in their order."""
    text = read("file.md")

    assert column(table(section(text, "## The first line"))) == list(
        file_lines.FileHeader.__struct_fields__
    )
    rows = table(section(text, "## All other lines"))
    assert [row[0] for row in rows] == list(file_lines.Line.__struct_fields__)
    for name, shown, _ in rows:
        hint = typing.get_type_hints(file_lines.Line)[name]
        expected = {list: "array", dict: "object"}.get(typing.get_origin(hint))
        assert shown.split(" of ")[0] == (
            expected or {"integer": "number"}.get(type_name(hint), type_name(hint))
        )
    assert f"```text\n{file_lines.header('default').decode()}```" in text


def test_copy_report_is_told() -> None:
    """The JSON shape of a copy has the fields of the report."""
    assert column(table(section(read("cli.md"), "### A copy"))) == list(
        CopyReport.__struct_fields__
    )


def texts() -> list[str]:
    """The blocks of the page that are for servers of the reader's own."""
    return [block.text for block in blocks(MANY_HOSTS) if block.kind == "text"]


def test_options_of_mongod_exist(mongod: ReplicaSet) -> None:
    """Each option that the page gives mongod is one that it has."""
    assert mongod.members
    known = subprocess.run(
        [find_program(), "--help"], capture_output=True, text=True, check=True
    ).stdout

    page = MANY_HOSTS.read_text(encoding="utf-8")
    commands = [text for text in texts() if text.startswith("mongod ")]
    used = re.findall(r"--\w+", "".join([*commands, *re.findall(r"`(--\w+)`", page)]))
    assert used
    assert [option for option in used if f"{option} " not in known] == []


def test_shell_commands_are_json() -> None:
    """What the page gives the shell is well formed, and names the same set and database."""
    found = [
        json.loads(text)
        for text in re.findall(r"\((\{.*?\})\)$", "".join(texts()), re.DOTALL | re.MULTILINE)
    ]

    assert [list(argument) for argument in found] == [
        ["_id", "members"],
        ["user", "pwd", "roles"],
        ["user", "pwd", "roles"],
    ]
    assert found[0]["_id"] == "rs0"
    assert found[2]["roles"] == [{"role": "readWrite", "db": "thumbs"}]


def test_tool_prints_what_the_page_shows(mongod: ReplicaSet) -> None:
    """`python -m tools.mongod` prints a URL and how to end it, and Ctrl-C ends it."""
    assert mongod.members
    shown = texts()[0].splitlines(keepends=True)
    with subprocess.Popen(
        [sys.executable, "-m", "tools.mongod", "1"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(signal.SIGINT)
        code = process.wait(60)

    assert shown[0] == "$ python -m tools.mongod 3\n"
    one = re.sub(r"(,[\d.]+:\d+)+", "", shown[1])
    assert matches(re.sub(r":\d+/", ":.../", one), printed[0])
    assert printed[1] == shown[2]
    assert code == 0
