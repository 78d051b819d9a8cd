"""Archives: the beginning of a log in compressed files, and a log read together with them."""

from eventq.archive.archived_log import ArchivedLog, open_archived
from eventq.archive.folder import Archive
from eventq.archive.retention import (
    ArchiveReport,
    CutReport,
    archive_events,
    delete_archived,
    held_back,
)
from eventq.archive.segments import Segment
from eventq.replay.points import find_end

__all__ = [
    "Archive",
    "ArchiveReport",
    "ArchivedLog",
    "CutReport",
    "Segment",
    "archive_events",
    "delete_archived",
    "find_end",
    "held_back",
    "open_archived",
]
