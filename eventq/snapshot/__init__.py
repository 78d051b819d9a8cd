"""The projection at a point: by replay or from a snapshot; taking, checking and comparing these."""

from __future__ import annotations

from eventq.snapshot.comparing import Difference, HolderDifference, TaskDifference, compare
from eventq.snapshot.starting import projection_at

__all__ = [
    "Difference",
    "HolderDifference",
    "TaskDifference",
    "compare",
    "projection_at",
]
