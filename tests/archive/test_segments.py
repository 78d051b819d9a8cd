"""Segments: what is in them, and that nothing about them can be changed unseen."""

from __future__ import annotations

import gzip
import json
import random
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import pytest

from eventq import ArgumentError, LogCorruptError, LogError, LogForeignError, LogUnavailableError
from eventq.archive import Archive, archive_events, find_end, open_archived
from eventq.archive.members import MemberError, members, pack, unpack
from eventq.eventlog import EventLog, open_log
from eventq.replay.points import find_point
from tests.archive.logs import NOW, content, fill, histories


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    """A filled log."""
    url = f"memory://{tmp_path.name.replace('_', '-')}"
    fill(url)
    return open_log(url)


@pytest.fixture
def paths(log: EventLog, folder: Path) -> list[Path]:
    """The segments of the whole log."""
    until = find_end(log, find_point(log, "end", now=NOW))
    return archive_events(log, folder, until=until).segments


def check(folder: Path) -> int:
    """Reads all back, as is done before a cut; gives how many commits there are."""
    return len(list(Archive(folder, namespace="default").verified()))


def error_of(folder: Path) -> str:
    """What `check` says against the folder; nothing when all is well."""
    try:
        check(folder)
    except LogError as error:
        return str(error)
    return ""


def test_names_say_the_positions(log: EventLog, paths: list[Path]) -> None:
    """They follow each other from 1 to the end, each with whole commits."""
    spans = [path.name.removesuffix(".jsonl.gz").split("-") for path in paths]

    assert len(spans) > 2
    assert spans[0][:2] == ["default", "00000001"]
    assert int(spans[-1][2]) == log.head().seq
    assert all(int(after[1]) == int(before[2]) + 1 for before, after in pairwise(spans))


def test_the_standard_library_reads_a_segment(paths: list[Path]) -> None:
    """With gzip, json and hashlib alone: header, commits, seals, trailer."""
    seal = blake2b(b"eventq:default", digest_size=32).digest()
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
            header, *commits, trailer = file.read().splitlines(keepends=True)
        assert json.loads(header)["eventq_archive"] == 1
        assert json.loads(header)["prev"] == seal.hex()
        for line in commits:
            commit = json.loads(line)
            head = [commit[name] for name in ("id", "first", "at", "tasks", "keys")]
            first = json.dumps(head, separators=(",", ":"), ensure_ascii=False)
            text = "".join(part + "\n" for part in (first, *commit["events"]))
            seal = blake2b(seal + text.encode(), digest_size=32).digest()
            assert seal.hex() == commit["seal"]
        digest = blake2b("".join([header, *commits]).encode(), digest_size=32)
        assert json.loads(trailer)["digest"] == digest.hexdigest()
        assert json.loads(header)["seal"] == seal.hex()


def test_equal_logs_give_equal_files(log: EventLog, paths: list[Path], tmp_path: Path) -> None:
    """No clock and no name of a host enters a segment."""
    until = find_end(log, find_point(log, "end", now=NOW))
    again = archive_events(log, tmp_path / "again", until=until).segments

    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in paths]


def test_any_changed_byte_is_found(paths: list[Path], folder: Path) -> None:
    """Wherever it is: in a header, a block, a checksum or the trailer; the file is named.

    All but the bits that deflate leaves unused behind the end of its data.
    """
    path = paths[1]
    whole = path.read_bytes()
    draw = random.Random(1)
    found = 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        named = error_of(folder)
        assert path.name in named or gzip.decompress(changed) == gzip.decompress(whole)
        found += bool(named)
    path.write_bytes(whole)

    assert check(folder) > 0
    assert found >= len(whole) - len(list(members(whole)))


def test_any_cut_off_end_is_found(paths: list[Path], folder: Path) -> None:
    """Also one between two parts, where what is left is good gzip."""
    path = paths[1]
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(LogError, match=path.name):
            check(folder)
    path.write_bytes(whole + pack(b"more\n"))

    with pytest.raises(LogCorruptError, match=path.name):
        check(folder)


def test_another_commit_in_its_place_is_found(paths: list[Path], folder: Path) -> None:
    """Packed anew with right checksums, a changed event still breaks its seal."""
    path = paths[0]
    with gzip.open(path) as file:
        lines = file.read().splitlines(keepends=True)
    changed = [lines[0], b"".join(lines[1:-1]).replace(b'\\"n\\":1', b'\\"n\\":7', 1), lines[-1]]
    path.write_bytes(b"".join(map(pack, changed)))

    with pytest.raises(LogCorruptError, match=f"{path.name}: its seal does not match") as caught:
        check(folder)
    assert caught.value.position == 1


def test_a_damaged_block_is_told_when_it_is_read(
    log: EventLog, paths: list[Path], folder: Path
) -> None:
    """Histories read what they need alone, and tell damage there."""
    raw = bytearray(paths[0].read_bytes())
    raw[len(raw) // 2] ^= 255
    paths[0].write_bytes(raw)
    archive = Archive(folder, namespace="default")

    with pytest.raises(LogCorruptError, match=paths[0].name):
        archive.read(after=0, limit=100)
    with pytest.raises(LogCorruptError, match=paths[0].name):
        [archive.history(number) for number in range(13)]
    assert archive.read(after=archive.segments[0].last, limit=1) == log.read(
        after=archive.segments[0].last, limit=1
    )


def test_what_was_read_last_stays_unpacked(paths: list[Path], folder: Path) -> None:
    """It is not read again; all else is, and who opens the archive anew reads all of it."""
    archive = Archive(folder, namespace="default")
    first = archive.history(1)
    for path in paths:
        path.write_bytes(b"")
        path.with_name(f"{path.name.removesuffix('.jsonl.gz')}.index.json.gz").write_bytes(b"")

    assert first
    assert archive.history(1) == first
    with pytest.raises(LogCorruptError):
        archive.read(after=0, limit=10**6)
    with pytest.raises(LogCorruptError):
        Archive(folder, namespace="default")


def test_a_missing_segment_is_named(paths: list[Path], folder: Path) -> None:
    """The position from which on events are missing, and the file that shows it."""
    paths[1].unlink()

    with pytest.raises(LogCorruptError, match=f"{paths[2].name}: the segment before") as caught:
        check(folder)
    assert caught.value.position == int(paths[1].name.split("-")[1])


@pytest.mark.usefixtures("paths")
def test_an_overlapping_segment_is_named(log: EventLog, folder: Path) -> None:
    """Two files may not hold the same positions."""
    other = folder.parent / "other"
    until = find_end(log, find_point(log, 5, now=NOW))
    [short] = archive_events(log, other, until=until).segments
    (folder / short.name).write_bytes(short.read_bytes())

    with pytest.raises(LogCorruptError, match="overlaps"):
        check(folder)


def test_a_renamed_segment_is_refused(paths: list[Path], folder: Path) -> None:
    """A file must hold what its name says."""
    paths[0].rename(folder / "default-00000001-00000099.jsonl.gz")

    with pytest.raises(LogForeignError, match="00000099"):
        check(folder)


@pytest.mark.parametrize("data", [b"", b"not gzip", gzip.compress(b"{}", mtime=0), pack(b"{}\n")])
def test_what_is_no_segment_is_refused(folder: Path, data: bytes) -> None:
    """A file with such a name and anything else in it."""
    folder.mkdir()
    (folder / "default-00000001-00000002.jsonl.gz").write_bytes(data)

    with pytest.raises(LogCorruptError, match="default-00000001-00000002"):
        check(folder)


@pytest.mark.usefixtures("paths")
def test_other_files_are_left_alone(folder: Path) -> None:
    """Notes, drafts that a crash left behind, and other namespaces' segments."""
    (folder / "notes.txt").write_text("of a person")
    (folder / ".default-00000099-00000100.jsonl.gz.draft").write_bytes(b"torn")
    (folder / "other-00000001-00000100.jsonl.gz").write_bytes(b"of another namespace")

    assert check(folder) > 0


@pytest.mark.usefixtures("paths")
def test_a_lost_or_wrong_index_is_made_anew(log: EventLog, folder: Path) -> None:
    """It only says where things stand."""
    expected = histories(log)
    for index in folder.glob("*.index.json.gz"):
        index.unlink()
    archive = Archive(folder, namespace="default")
    assert [archive.history(number) for number in range(len(expected))] == expected
    for index in folder.glob("*.index.json.gz"):
        index.write_bytes(index.read_bytes()[:-3] + b"???")

    assert [archive.history(number) for number in range(len(expected))] == expected


@pytest.mark.usefixtures("paths")
def test_an_archive_beside_an_uncut_log_changes_nothing(log: EventLog, folder: Path) -> None:
    """What the log still holds is read there."""
    before = content(log)

    assert content(open_archived(log, folder)) == before


def test_a_folder_must_be_there(log: EventLog, folder: Path) -> None:
    """And be named by a path."""
    with pytest.raises(LogUnavailableError, match=folder.name):
        open_archived(log, folder)
    with pytest.raises(ArgumentError, match="archive"):
        Archive(7, namespace="default")  # type: ignore[arg-type]


def test_a_member_unpacks_to_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that would fill the memory is damage."""
    monkeypatch.setattr("eventq.archive.members.MEMBER_BYTES", 1000)

    assert unpack(pack(bytes(1000)))[0] == bytes(1000)
    with pytest.raises(MemberError, match="more than"):
        unpack(pack(bytes(1001)))


@pytest.mark.parametrize("name", ["at", "seal"])
def test_a_header_must_fit_its_commits(log: EventLog, folder: Path, name: str) -> None:
    """Also where the trailer was computed anew to fit it."""
    until = find_end(log, find_point(log, "end", now=NOW))
    path = archive_events(log, folder, until=until).segments[-1]
    with gzip.open(path) as file:
        header, *commits, trailer = file.read().splitlines(keepends=True)
    forged = json.loads(header) | {name: {"at": NOW, "seal": "00" * 32}[name]}
    line = json.dumps(forged, separators=(",", ":")).encode() + b"\n"
    digest = blake2b(b"".join([line, *commits]), digest_size=32).hexdigest()
    last = json.loads(trailer) | {"digest": digest}
    parts = [line, b"".join(commits), json.dumps(last, separators=(",", ":")).encode() + b"\n"]
    path.write_bytes(b"".join(map(pack, parts)))

    with pytest.raises(LogCorruptError, match="as its header says"):
        check(folder)


@pytest.mark.parametrize("name", ["count", "commits", "digest"])
def test_a_trailer_must_fit_its_segment(paths: list[Path], folder: Path, name: str) -> None:
    """Each of its fields."""
    with gzip.open(paths[0]) as file:
        header, *commits, trailer = file.read().splitlines(keepends=True)
    forged = json.loads(trailer) | {name: "00" if name == "digest" else 1_000}
    line = json.dumps(forged, separators=(",", ":")).encode() + b"\n"
    paths[0].write_bytes(b"".join(map(pack, [header, b"".join(commits), line])))

    with pytest.raises(LogCorruptError, match="trailer does not fit"):
        check(folder)
