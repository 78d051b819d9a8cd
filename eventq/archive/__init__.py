"""Archives: the beginning of a log in compressed files, and a log read together with them."""

from eventq.archive.archived_log import open_archived
from eventq.archive.folder import Archive
from eventq.archive.retention import (
    ArchiveReport,
    CutReport,
    archive_events,
    delete_archived,
    find_end,
)
from eventq.archive.segments import Segment

__all__ = [
    "Archive",
    "ArchiveReport",
    "CutReport",
    "Segment",
    "archive_events",
    "delete_archived",
    "find_end",
    "open_archived",
]
