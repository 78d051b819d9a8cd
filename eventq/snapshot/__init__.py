"""The projection at a point, and snapshots: taking, keeping, checking and comparing them."""

from __future__ import annotations

from eventq.snapshot.codec import decode, encode
from eventq.snapshot.comparing import (
    Difference,
    HolderDifference,
    TaskDifference,
    compare,
    state_counts,
)
from eventq.snapshot.content import Snapshot, restore, take
from eventq.snapshot.keeping import check_fits, commit_end, get, load, newest, put, save
from eventq.snapshot.making import create, create_every, prune
from eventq.snapshot.starting import begin, projection_at, start
from eventq.snapshot.verifying import Flaw, Verdict, find_flaw, stored_sources, verify

__all__ = [
    "Difference",
    "Flaw",
    "HolderDifference",
    "Snapshot",
    "TaskDifference",
    "Verdict",
    "begin",
    "check_fits",
    "commit_end",
    "compare",
    "create",
    "create_every",
    "decode",
    "encode",
    "find_flaw",
    "get",
    "load",
    "newest",
    "projection_at",
    "prune",
    "put",
    "restore",
    "save",
    "start",
    "state_counts",
    "stored_sources",
    "take",
    "verify",
]
