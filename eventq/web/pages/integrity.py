"""The page of integrity: the log's end and seal, what was verified, snapshots and the archive."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from eventq.archive.folder import Archive
from eventq.core.task import instant
from eventq.errors import EventqError
from eventq.replay.points import find_end
from eventq.verify.anchor import make_anchor
from eventq.web.showing import Veil
from eventq.web.sight import Sight

ROWS = 100


class IntegrityQuestion(Struct, frozen=True):
    """Nothing is asked but the moment."""


class SnapshotRow(Struct, frozen=True):
    """A snapshot in the log's database."""

    seq: int
    at: datetime
    taken_at: datetime
    size_bytes: int


class SegmentRow(Struct, frozen=True):
    """A segment of the archive."""

    first: int
    last: int
    at: datetime
    name: str


class AnchorModel(Struct, frozen=True):
    """What to keep elsewhere, so that nobody can alter the log unseen; without a key's hash."""

    namespace: str
    seq: int
    at: int
    seal: str


class IntegrityModel(Struct, frozen=True):
    """What can be proved of the log at a moment."""

    seq: int
    at: datetime
    url: str
    namespace: str
    begins_behind: int
    """The position up to which events have been archived; 0 where none have."""
    seal: str
    """Of the last commit that ends by then."""
    seal_seq: int
    anchor: AnchorModel | None
    snapshots: list[SnapshotRow]
    more_snapshots: int
    segments: list[SegmentRow]
    more_segments: int
    problem: str | None


def integrity_model(sight: Sight, question: IntegrityQuestion, veil: Veil) -> IntegrityModel:
    """The ends and seals as the log has them; nothing is recomputed here, see `checking`."""
    del question, veil
    end = find_end(sight.log, sight.point)
    problem = anchor = None
    try:
        made = make_anchor(sight.log, sight.point) if end.seq else None
        if made is not None:
            anchor = AnchorModel(made.namespace, made.seq, made.at, made.seal)
    except EventqError as error:
        problem = str(error)
    entries = [entry for entry in sight.log.snapshots.entries() if entry.seq <= sight.seq]
    segments = _segments(sight)
    return IntegrityModel(
        seq=sight.seq,
        at=instant(sight.at),
        url=sight.log.url,
        namespace=sight.log.namespace,
        begins_behind=sight.log.start().seq,
        seal=end.seal.hex(),
        seal_seq=end.seq,
        anchor=anchor,
        snapshots=[
            SnapshotRow(e.seq, instant(e.at), instant(e.taken_at), e.size_bytes)
            for e in reversed(entries[-ROWS:])
        ],
        more_snapshots=max(0, len(entries) - ROWS),
        segments=segments[:ROWS],
        more_segments=max(0, len(segments) - ROWS),
        problem=problem,
    )


def _segments(sight: Sight) -> list[SegmentRow]:
    archive = getattr(sight.log, "archive", None)
    if not isinstance(archive, Archive):
        return []
    return [
        SegmentRow(each.first, each.last, instant(each.header.at), each.path.name)
        for each in reversed(archive.segments)
    ]
