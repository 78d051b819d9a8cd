"""One segment: a file with some 100,000 events of a log, as lines in gzip; it never changes.

The first line is a header, the last one a trailer, and each between them a commit, as in a log that
is a file of lines. Nothing that is read here is believed before it is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec
from msgspec import Struct

from eventq.archive.members import MemberError, members, pack, unpack
from eventq.core.commits import Commit
from eventq.core.seal import check_seal
from eventq.errors import LogCorruptError, LogForeignError, LogTooNewError, LogUnavailableError
from eventq.eventlog import Head
from eventq.eventlog import lines as file_lines

FORMAT = 1
# A segment ends with the commit that makes it so long: a few megabytes, seconds to verify.
SEGMENT_EVENTS = 100_000
# A block ends likewise: what a history unpacks for one event.
BLOCK_EVENTS = 2_000
BLOCK_BYTES = 4 * 1024**2
# The member of the header is far shorter.
HEADER_BYTES = 4096

_NAME = re.compile(r"(.+)-(\d{8,19})-(\d{8,19})\.jsonl\.gz", re.ASCII)


class SegmentHeader(Struct, frozen=True):
    """The first line."""

    eventq_archive: int
    namespace: str
    first: int
    last: int
    began_at: int
    """The instant of the first commit, in microseconds since 1970 (UTC)."""
    at: int
    """The instant of the last one."""
    prev: str
    """The seal before the first commit, in hexadecimal."""
    seal: str
    """The seal of the last commit, in hexadecimal."""


class Trailer(Struct, frozen=True):
    """The last line."""

    count: int
    commits: int
    digest: str
    """BLAKE2b (32 bytes, hexadecimal) over all lines before."""


class Block(Struct, frozen=True, gc=False):
    """One member with commits: where it stands in the file, and whose events it holds."""

    first: int
    offset: int
    size: int
    older: list[int]
    """Tasks created before this block that it holds events of, sorted; 0 for a node's."""


class Index(Struct, frozen=True):
    """Where things stand in a segment; it can always be made anew from it."""

    eventq_index: int
    size: int
    """Of the segment, in bytes."""
    seal: str
    blocks: list[Block]


class Segment(Struct, frozen=True):
    """One file of an archive, known by its name and its header."""

    path: Path
    header: SegmentHeader

    @property
    def first(self) -> int:
        """The position of the first event."""
        return self.header.first

    @property
    def last(self) -> int:
        """The position of the last event."""
        return self.header.last

    @property
    def end(self) -> Head:
        """Where a log ends that ends with this segment."""
        return Head(self.last, self.header.at, bytes.fromhex(self.header.seal))

    def damage(self, position: int, problem: str) -> LogCorruptError:
        """The error for something wrong in this file."""
        return LogCorruptError(position, f"{self.path}: {problem}")

    def verified(self, start: Head) -> Iterator[Commit]:
        """All commits, each checked: its seal, its place behind the one before, its instant.

        Only when all have been taken is the segment known to be whole. Raises LogCorruptError,
        naming the file and the position, where it is not, or does not follow ``start``.
        """
        parts = [data for _, _, data in self.parts()]
        if len(parts) < 3 or parts[0] != encode_line(self.header):  # noqa: PLR2004 - see parts
            raise self.damage(self.first, "its header, its commits or its trailer are missing")
        known, count = start, 0
        for data in parts[1:-1]:
            for commit in self.commits_of(data, known.seq + 1):
                if commit.at < known.at:
                    raise self.damage(commit.first, "time runs backwards")
                with self._told_at(commit.first):
                    check_seal(commit, prev=known.seal)
                known = Head(commit.last, commit.at, commit.seal)
                count += 1
                yield commit
        if known != self.end:
            raise self.damage(known.seq + 1, "it does not end as its header says")
        if parts[-1] != encode_line(_trailer(known.seq - start.seq, count, parts[:-1])):
            raise self.damage(self.last, "its trailer does not fit what stands before")

    def parts(self) -> list[tuple[int, int, bytes]]:
        """The members, with place and length: the header, one or more blocks, the trailer."""
        try:
            raw = self.path.read_bytes()
        except OSError as error:
            raise unavailable(self.path, error) from error
        with self._told_at(self.first):
            return list(members(raw))

    def block(self, raw: bytes, position: int) -> list[Commit]:
        """The commits of one member. Raises LogCorruptError."""
        with self._told_at(position):
            data, size = unpack(raw)
        if size != len(raw):
            raise self.damage(position, "a part of it ends too early")
        return self.commits_of(data, position)

    def commits_of(self, data: bytes, position: int) -> list[Commit]:
        """The commits of lines, which must follow each other from the position on."""
        found = []
        for line in data.splitlines(keepends=True):
            with self._told_at(position):
                commit = file_lines.to_commit(line, position)
            if commit.first != position:
                raise self.damage(position, "no commit holds this position")
            found.append(commit)
            position = commit.last + 1
        return found

    @contextmanager
    def _told_at(self, position: int) -> Iterator[None]:
        """Damage that is found within is told with this file and position."""
        try:
            yield
        except MemberError as error:
            raise self.damage(position, str(error)) from error
        except LogCorruptError as error:
            raise self.damage(position, error.problem) from error


def segment_name(namespace: str, first: int, last: int) -> str:
    """The name of a segment's file."""
    return f"{namespace}-{first:08}-{last:08}.jsonl.gz"


def parse_name(name: str) -> tuple[str, int, int] | None:
    """Namespace, first and last position that a file's name says; None for another file's."""
    found = _NAME.fullmatch(name)
    return None if found is None else (found[1], int(found[2]), int(found[3]))


def open_segment(path: Path) -> Segment:
    """The segment in a file whose name fits; reads its header alone.

    Raises LogForeignError when it holds something else than its name says, LogTooNewError.
    """
    parsed = parse_name(path.name)
    assert parsed is not None, "the caller has chosen the file by its name"
    namespace, first, last = parsed
    try:
        with path.open("rb") as file:
            raw = file.read(HEADER_BYTES)
    except OSError as error:
        raise unavailable(path, error) from error
    try:
        data, _ = unpack(raw)
        header = msgspec.json.decode(data, type=SegmentHeader)
        sizes = {len(bytes.fromhex(text)) for text in (header.prev, header.seal)}
    except (MemberError, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LogCorruptError(first, f"{path}: its header is damaged: {error}") from error
    if header.eventq_archive > FORMAT:
        raise LogTooNewError(f"{path}: format {header.eventq_archive} is of a newer eventq")
    if (header.namespace, header.first, header.last) != (namespace, first, last):
        what = f"{header.namespace}, {header.first} to {header.last}"
        raise LogForeignError(f"{path}: holds something else than its name says ({what})")
    if sizes != {32} or not 0 < first <= last:
        raise LogCorruptError(first, f"{path}: its header is damaged")
    return Segment(path, header)


def encode_segment(namespace: str, commits: list[Commit]) -> tuple[SegmentHeader, bytes, int]:
    """A segment with these commits: its header, its bytes, its length as text."""
    first, last = commits[0], commits[-1]
    header = SegmentHeader(
        FORMAT,
        namespace,
        first.first,
        last.last,
        first.at,
        last.at,
        first.prev.hex(),
        last.seal.hex(),
    )
    parts = [encode_line(header)]
    parts += [b"".join(map(file_lines.to_line, block)) for block in _blocks(commits)]
    trailer = encode_line(_trailer(last.last - first.first + 1, len(commits), parts))
    return header, b"".join(map(pack, [*parts, trailer])), sum(map(len, parts))


def index_of(segment: Segment) -> Index:
    """The index, made from the segment's bytes. Raises LogCorruptError."""
    parts = segment.parts()
    blocks, position = [], segment.first
    for offset, size, data in parts[1:-1]:
        commits = segment.commits_of(data, position)
        blocks.append(Block(position, offset, size, _older(commits)))
        position = commits[-1].last + 1 if commits else position
    if position != segment.last + 1:
        raise segment.damage(position, "no commit holds this position")
    size_bytes = sum(size for _, size, _ in parts)
    return Index(FORMAT, size_bytes, segment.header.seal, blocks)


def encode_line(line: SegmentHeader | Trailer) -> bytes:
    """A header or a trailer as a line."""
    return msgspec.json.encode(line) + b"\n"


def _trailer(events: int, commits: int, parts: list[bytes]) -> Trailer:
    digest = blake2b(digest_size=32)
    for part in parts:
        digest.update(part)
    return Trailer(events, commits, digest.hexdigest())


def unavailable(path: Path, error: OSError) -> LogUnavailableError:
    """The error for a file that the system does not give."""
    return LogUnavailableError(f"{path}: {error.strerror}")


def _blocks(commits: list[Commit]) -> Iterator[list[Commit]]:
    block: list[Commit] = []
    count = size = 0
    for commit in commits:
        block.append(commit)
        count += len(commit.bodies)
        size += sum(map(len, commit.bodies))
        if count >= BLOCK_EVENTS or size >= BLOCK_BYTES:
            yield block
            block, count, size = [], 0, 0
    if block:
        yield block


def _older(block: list[Commit]) -> list[int]:
    first = block[0].first if block else 0
    return sorted({task for commit in block for task in commit.tasks if task < first})
