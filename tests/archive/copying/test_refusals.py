"""What a copy refuses: targets with something else, strange files, and damaged sources."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgspec
import pymongo
import pytest
from pymongo.uri_parser import parse_uri

from eventq.archive.copy import copy_log
from eventq.core.commits import Commit
from eventq.errors import LogCorruptError, LogForeignError, LogTooNewError, LogUnavailableError
from eventq.eventlog.contract import READ_EVENTS
from eventq.eventlog.memory import MemoryLog, MemoryStorage
from eventq.eventlog.mongo.documents import COMMITS
from tests.archive.copying.logs import KINDS, STORED, NewUrl, path_of
from tests.archive.logs import Opener
from tests.eventlog.commits import append, append_each, by_place, commit_after, everything
from tests.verify.tampering import unguarded

# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("held", ["another log", "a longer log", "a commit cut in two"])
def test_target_with_something_else(new: NewUrl, opened: Opener, target: str, held: str) -> None:
    """Anything but a beginning of the source is refused, and neither log changes."""
    before, after = opened(new("memory")), opened(new(target))
    append_each(before, [2, 2])
    match held:
        case "another log":
            append_each(after, [2])
        case "a longer log":
            copy_log(before, after)
            append(after)
        case _:
            [first, _] = everything(before)
            after.append(commit_after(after.head(), bodies=first.bodies[:1]))
    source, there = everything(before), everything(after)

    with pytest.raises(LogForeignError, match="holds another log"):
        copy_log(before, after)

    assert everything(after) == there
    assert everything(before) == source


def test_namespace_is_kept(new: NewUrl, opened: Opener) -> None:
    """A copy into another namespace is refused: the seals cover the name."""
    before, after = opened(new("memory"), "one"), opened(new("sqlite"), "two")
    append(before)

    with pytest.raises(LogForeignError, match="namespace"):
        copy_log(before, after)

    assert after.head().seq == 0


def test_other_namespaces_of_the_target_stay(new: NewUrl, opened: Opener) -> None:
    """One database takes the copies of several namespaces."""
    url = new("mongo")
    sources = {name: opened(new("memory"), name) for name in ("one", "two")}
    for count, (name, before) in enumerate(sources.items(), 2):
        append_each(before, [count] * count)
        copy_log(before, opened(url, name))

    for name, before in sources.items():
        assert everything(opened(url, name)) == everything(before)
    assert opened(url).namespaces() == ["one", "two"]


HEADER = b'{"eventq":1,"namespace":"default"}\n'
STRANGE_FILES = {
    "text": (b"Dear diary,\n", LogForeignError),
    "a line without end": (b"x" * 100_000, LogForeignError),
    "JSON of somebody else": (b'{"version":1}\n', LogForeignError),
    "an older format than the first": (b'{"eventq":0,"namespace":"default"}\n', LogForeignError),
    "another type": (b'{"eventq":"1","namespace":"default"}\n', LogForeignError),
    "a database": (b"SQLite format 3\0" + bytes(4_000), LogForeignError),
    "another namespace": (b'{"eventq":1,"namespace":"other"}\n', LogForeignError),
    "a newer format": (b'{"eventq":2,"namespace":"default","more":[]}\n', LogTooNewError),
    "damaged from the first line on": (HEADER + b"{}\n", LogCorruptError),
    "bytes": (HEADER + b"\xff\xfe\n", LogCorruptError),
    "an endless line": (HEADER + b" " * 17 * 1024**2, LogCorruptError),
}


@pytest.mark.parametrize("name", STRANGE_FILES)
def test_strange_file_is_refused(new: NewUrl, opened: Opener, name: str) -> None:
    """A file of something else, of a newer format or with damage is told and left as it is."""
    before, url = opened(new("memory")), new("file")
    append(before)
    content, error = STRANGE_FILES[name]
    path_of(url).write_bytes(content)

    with pytest.raises(error):
        copy_log(before, opened(url))

    assert path_of(url).read_bytes() == content


# -- damaged sources -----------------------------------------------------------------------------


def damage(url: str, old: str, new: str) -> None:
    """Changes text in the commit of the positions 2 to 4 by hand."""
    scheme = url.partition(":")[0]
    if scheme == "file":
        path = path_of(url)
        lines = path.read_text().splitlines(keepends=True)
        lines[2] = lines[2].replace(old.replace('"', '\\"'), new.replace('"', '\\"'))
        path.write_text("".join(lines))
    elif scheme == "sqlite":
        with closing(unguarded(path_of(url))) as connection:
            changes = "UPDATE events SET body = replace(body, ?, ?) WHERE seq BETWEEN 2 AND 4"
            connection.execute(by_place(changes), (old, new))
    else:
        with pymongo.MongoClient[dict[str, Any]](url) as client:
            commits = client[parse_uri(url)["database"]][COMMITS]
            found = commits.find_one({"first": 2}) or {}
            bodies = [body.replace(old, new) for body in found["events"]]
            commits.update_one({"first": 2}, {"$set": {"events": bodies}})


@pytest.mark.parametrize("source", STORED)
def test_damaged_source_is_named_by_position(new: NewUrl, opened: Opener, source: str) -> None:
    """What a seal does not fit is not copied; what stands before it is, and nothing after."""
    url = new(source)
    append_each(opened(url), [1, 3, 1])
    damage(url, '"n":1', '"n":7')
    after = opened(new("memory"))

    with pytest.raises(LogCorruptError) as caught:
        copy_log(opened(url), after)

    assert caught.value.position == 2
    assert after.head().seq == 1


def without_line(lines: list[bytes]) -> list[bytes]:
    """Takes the commit of the positions 2 to 4 away."""
    return [*lines[:2], *lines[3:]]


def with_line_twice(lines: list[bytes]) -> list[bytes]:
    """Has the first commit twice."""
    return [*lines[:2], *lines[1:]]


def with_fields(**fields: object) -> Callable[[list[bytes]], list[bytes]]:
    """Changes fields of the commit of the positions 2 to 4; None takes one away."""

    def change(lines: list[bytes]) -> list[bytes]:
        commit = {**msgspec.json.decode(lines[2]), **fields}
        kept = {name: value for name, value in commit.items() if value is not None}
        return [*lines[:2], msgspec.json.encode(kept) + b"\n", *lines[3:]]

    return change


FILE_DAMAGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "gone": without_line,
    "twice": with_line_twice,
    "another id": with_fields(id="0" * 32),
    "another position": with_fields(first=3),
    "another instant": with_fields(at=1_700_000_000_000_009),
    "another task": with_fields(tasks=[1, 3, 4]),
    "a key added": with_fields(keys={"k": 2}),
    "a seal that is no hexadecimal": with_fields(seal="seal"),
    "another seal": with_fields(seal="00" * 32),
    "one event less": with_fields(events=["{}", "{}"]),
    "no event": with_fields(events=[], tasks=[]),
    "events of another type": with_fields(events="{}"),
    "no seal": with_fields(seal=None),
}


@pytest.mark.parametrize("name", FILE_DAMAGES)
def test_damaged_file_is_named_by_position(new: NewUrl, opened: Opener, name: str) -> None:
    """However a line of a file is changed by hand: it is refused by its position."""
    url = new("file")
    append_each(opened(url), [1, 3, 1])
    lines = path_of(url).read_bytes().splitlines(keepends=True)
    path_of(url).write_bytes(b"".join(FILE_DAMAGES[name](lines)))

    with pytest.raises(LogCorruptError) as caught:
        copy_log(opened(url), opened(new("memory")))

    assert caught.value.position == 2


def test_target_that_was_damaged_meanwhile(new: NewUrl, opened: Opener) -> None:
    """The copy is read back in the end, so that damage at the target is found there too."""
    before, url = opened(new("memory")), new("sqlite")
    append_each(before, [1, 3, 1])

    with pytest.raises(LogCorruptError) as caught:
        copy_log(
            before,
            opened(url),
            progress=lambda done, _: damage(url, '"n":1', '"n":7') if done == 4 else None,
        )

    assert caught.value.position == 2


class ShrinkingLog(MemoryLog):
    """A log of which a failover takes all but the first commit, once its end was asked for."""

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        return super().read(after=0, limit=min(limit, 1)) if after == 0 else []


def test_source_that_became_shorter(new: NewUrl, opened: Opener) -> None:
    """A failover at the source in the middle of a copy ends it instead of hanging it."""
    before = ShrinkingLog(MemoryStorage(), url="memory://", namespace="default")
    append_each(before, [1, 1])
    after = opened(new("file"))

    with pytest.raises(LogUnavailableError, match="copy again"):
        copy_log(before, after)

    assert after.head().seq == 1
