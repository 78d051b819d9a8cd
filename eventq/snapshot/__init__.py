"""The projection at a point, and snapshots: taking, keeping, checking and comparing them."""

from __future__ import annotations

from eventq.snapshot.comparing import (
    Difference,
    FollowerDifference,
    HolderDifference,
    MemberDifference,
    ScheduleDifference,
    TaskDifference,
    compare,
)
from eventq.snapshot.content import Snapshot, restore, take
from eventq.snapshot.keeping import get, load, newest, put, save
from eventq.snapshot.making import create, create_every, prune
from eventq.snapshot.starting import projection_at, restore_newest
from eventq.snapshot.verifying import Flaw, SnapshotVerdict, verify

__all__ = [
    "Difference",
    "Flaw",
    "FollowerDifference",
    "HolderDifference",
    "MemberDifference",
    "ScheduleDifference",
    "Snapshot",
    "SnapshotVerdict",
    "TaskDifference",
    "compare",
    "create",
    "create_every",
    "get",
    "load",
    "newest",
    "projection_at",
    "prune",
    "put",
    "restore",
    "restore_newest",
    "save",
    "take",
    "verify",
]
