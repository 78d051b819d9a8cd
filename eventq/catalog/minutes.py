"""Counts and spreads of times, by minute and name; they can be added up, and written in few bytes.

A spread counts how many times fell into each of its steps, of which four double the time, so that
a percentile is found to a fifth.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

MINUTE_US = 60_000_000
# Below this, all times are one step.
LEAST_BITS = 10

Spread = dict[int, int]


class MinuteCounts(Struct, array_like=True, gc=False):
    """What happened in a minute, or in several together."""

    created: int = 0
    started: int = 0
    completed: int = 0
    expired: int = 0
    cancelled: int = 0
    failed: int = 0
    """Attempts, whatever became of their tasks."""
    retried: int = 0
    waits: Spread = {}
    """From when a task might have run to when it did."""
    runs: Spread = {}
    """How long attempts held their leases."""

    def add(self, other: MinuteCounts) -> None:
        """Takes in what happened elsewhere."""
        for name in ("created", "started", "completed", "expired", "cancelled", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.retried += other.retried
        for ours, theirs in ((self.waits, other.waits), (self.runs, other.runs)):
            for step, count in theirs.items():
                ours[step] = ours.get(step, 0) + count


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MinuteCounts)


def encode_counts(counts: MinuteCounts) -> bytes:
    """As the catalog keeps them."""
    return _encoder.encode(counts)


def decode_counts(data: bytes) -> MinuteCounts:
    """As the catalog has kept them."""
    return _decoder.decode(data)


def step_of(time_us: int) -> int:
    """The step of a spread that a time falls into."""
    bits = time_us.bit_length()
    if bits <= LEAST_BITS:
        return 0
    return (bits << 2) | ((time_us >> (bits - 3)) & 3)


def most_of(step: int) -> int:
    """The longest time of a step, in microseconds.

    >>> all(most_of(step_of(us)) * 0.79 < us <= most_of(step_of(us)) for us in range(2**11, 2**16))
    True
    """
    if not step:
        return (1 << LEAST_BITS) - 1
    bits, quarter = step >> 2, step & 3
    return ((5 + quarter) << (bits - 3)) - 1


def percentile(spread: Spread, share: float) -> int | None:
    """The time that this share of all stays within, at the most; None where there is none."""
    left = share * sum(spread.values())
    for step in sorted(spread):
        left -= spread[step]
        if left <= 0:
            return most_of(step)
    return None
