"""An archive: a folder with a namespace's segments, which follow each other from position 1."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import msgspec

from eventq.archive.members import MemberError, pack, unpack
from eventq.archive.segments import (
    Block,
    Index,
    Segment,
    encode_segment,
    index_of,
    open_segment,
    parse_name,
    segment_name,
    unavailable,
)
from eventq.core.commits import Commit
from eventq.core.seal import genesis
from eventq.errors import LogForeignError
from eventq.eventlog import Head, StoredEvent
from eventq.eventlog.durable import clear_unfinished, write_whole
from eventq.eventlog.file_lock import FileLock
from eventq.host.logger import SafeLogger
from eventq.host.paths import check_path_text
from eventq.replay.fold import stored_of

LOCK = ".eventq-archive-lock"

logger = SafeLogger("eventq.archive")

_index_decoder = msgspec.json.Decoder(Index)

# So many parts that were read last stay unpacked, since tasks made one after the other stand in the
# same ones: tens of megabytes at the most.
KEPT_PARTS = 6


class Archive:
    """The segments of one namespace in a folder, in order. May be used from any thread.

    Other namespaces may have theirs in the same folder. Reading checks each part's checksum;
    seals are recomputed by whoever folds, and by `verified`.
    """

    def __init__(self, folder: str | os.PathLike[str], *, namespace: str) -> None:
        """Reads the names and headers of all segments.

        Raises LogCorruptError when a header is damaged, a segment is missing between others or
        overlaps one; LogForeignError when a file or the whole archive is something else's;
        LogUnavailableError when there is no such folder.
        """
        self.folder = Path(check_path_text(folder, "archive", "the path of a folder"))
        self.namespace = namespace
        self.segments: list[Segment] = []
        # The last ones first. Put in their places as a whole, since several threads may read.
        self._indexes: tuple[tuple[Segment, Index], ...] = ()
        self._blocks: tuple[tuple[Segment, int, list[Commit]], ...] = ()
        self.refresh()

    @property
    def end(self) -> Head:
        """Where the last segment ends; position 0 and the genesis seal for none."""
        return self.segments[-1].end if self.segments else Head(0, 0, genesis(self.namespace))

    def refresh(self) -> None:
        """Lists the segments anew."""
        try:
            names = sorted(os.listdir(self.folder))  # noqa: PTH208 - names are enough
        except OSError as error:
            raise unavailable(self.folder, error) from error
        parsed = [(parse_name(name), name) for name in names]
        mine = sorted((p[1], p[2], name) for p, name in parsed if p and p[0] == self.namespace)
        segments: list[Segment] = []
        known = Head(0, 0, genesis(self.namespace))
        for _, _, name in mine:
            segment = open_segment(self.folder / name)
            _check_follows(segment, known)
            segments.append(segment)
            known = segment.end
        self.segments = segments

    def read(self, *, after: int, limit: int) -> list[Commit]:
        """As EventLog.read, from the segments alone."""
        found: list[Commit] = []
        for segment in self._from(after + 1):
            index = self.index(segment)
            firsts = [block.first for block in index.blocks]
            start = max(0, bisect.bisect_right(firsts, after + 1) - 1)
            for block in index.blocks[start:]:
                for commit in self._commits(segment, block):
                    if commit.last <= after:
                        continue
                    found.append(commit)
                    if commit.last - found[0].first + 1 >= limit:
                        return found
        return found

    def history(self, task: int) -> list[StoredEvent]:
        """As EventLog.history: unpacks only blocks that hold events of the task."""
        return [
            event
            for segment in self._from(max(task, 1))
            for block in self._blocks_with(segment, task)
            for commit in self._commits(segment, block)
            for event in stored_of(commit)
            if event.task == task
        ]

    def verified(self, *, after: int = 0, until: int | None = None) -> Iterator[Commit]:
        """All commits of the segments behind a position, checked one by one from the disk.

        ``after`` and ``until`` are ends of segments. Raises LogCorruptError, naming the file.
        """
        known = Head(0, 0, genesis(self.namespace))
        for segment in self.segments:
            if segment.first > after and (until is None or segment.last <= until):
                yield from segment.verified(known)
            known = segment.end

    def append(self, commits: list[Commit]) -> tuple[Segment, int]:
        """Writes the next segment; returns it and its length as text. Durable when it returns.

        Written beside, synced and renamed: a segment is there as a whole or not at all.
        """
        before = self.end
        assert (commits[0].first, commits[0].prev) == (before.seq + 1, before.seal)
        header, raw, text_bytes = encode_segment(self.namespace, commits)
        path = self.folder / segment_name(self.namespace, header.first, header.last)
        segment = Segment(path, header)
        try:
            write_whole(path, raw)
            self._write_index(segment, index_of(segment))
        except OSError as error:
            raise unavailable(path, error) from error
        self.segments.append(segment)
        return segment, text_bytes

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other processes from writing segments here. Raises LogUnavailableError at once."""
        busy = f"{self.folder}: another process is archiving into it"
        return FileLock(str(self.folder / LOCK), self._begin, busy=busy)

    def _begin(self) -> None:
        clear_unfinished(self.folder)
        self.refresh()

    def index(self, segment: Segment) -> Index:
        """Where things stand in a segment; made anew where its file is missing or wrong."""
        for known, index in self._indexes:
            if known is segment:
                return index
        index = self._read_index(segment)
        self._indexes = ((segment, index), *self._indexes[: KEPT_PARTS - 1])
        return index

    def _read_index(self, segment: Segment) -> Index:
        try:
            raw = _index_path(segment).read_bytes()
            data, size = unpack(raw)
            index = _index_decoder.decode(data)
            if size == len(raw) and _fits(index, segment):
                return index
        except (OSError, MemberError, msgspec.DecodeError, RecursionError):
            pass
        logger.info("an index is made anew", extra={"segment": str(segment.path)})
        index = index_of(segment)
        with suppress(OSError):
            # On a read-only disk it is made anew each time.
            self._write_index(segment, index)
        return index

    def _write_index(self, segment: Segment, index: Index) -> None:
        write_whole(_index_path(segment), pack(msgspec.json.encode(index)))

    def _from(self, position: int) -> list[Segment]:
        """The segments from the one that holds the position."""
        lasts = [segment.last for segment in self.segments]
        return self.segments[bisect.bisect_left(lasts, position) :]

    def _blocks_with(self, segment: Segment, task: int) -> Iterator[Block]:
        blocks = self.index(segment).blocks
        firsts = [*(block.first for block in blocks[1:]), segment.last + 1]
        for block, end in zip(blocks, firsts, strict=True):
            older = block.older
            place = bisect.bisect_left(older, task)
            if block.first <= task < end or (place < len(older) and older[place] == task):
                yield block

    def _commits(self, segment: Segment, block: Block) -> list[Commit]:
        """The commits of a block; not to be changed, since those read last are kept."""
        for known, offset, commits in self._blocks:
            if known is segment and offset == block.offset:
                return commits
        commits = self._read_block(segment, block)
        self._blocks = ((segment, block.offset, commits), *self._blocks[: KEPT_PARTS - 1])
        return commits

    @staticmethod
    def _read_block(segment: Segment, block: Block) -> list[Commit]:
        try:
            with segment.path.open("rb") as file:
                file.seek(block.offset)
                raw = file.read(block.size)
        except OSError as error:
            raise unavailable(segment.path, error) from error
        return segment.block(raw, block.first)


def _check_follows(segment: Segment, known: Head) -> None:
    if segment.first > known.seq + 1:
        problem = f"the segment before it is missing: it begins at {segment.first}"
        raise segment.damage(known.seq + 1, problem)
    if segment.first <= known.seq:
        raise segment.damage(segment.first, f"it overlaps the one before, to {known.seq}")
    if segment.header.prev != known.seal.hex():
        raise LogForeignError(f"{segment.path}: is of another log than what stands before it")


def _fits(index: Index, segment: Segment) -> bool:
    try:
        size = segment.path.stat().st_size
    except OSError as error:
        raise unavailable(segment.path, error) from error
    return (index.size, index.seal) == (size, segment.header.seal) and bool(index.blocks)


def _index_path(segment: Segment) -> Path:
    name = segment.path.name.removesuffix(".jsonl.gz")
    return segment.path.with_name(f"{name}.index.json.gz")
