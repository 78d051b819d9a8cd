"""Pacing of appends where many hosts compete for the next position, as Ethernet stations do.

A node that has just committed stands back for a while; one that lost a position tries again almost
at once. So waiting nodes go first, which keeps the shares even, and the time to stand back adapts
until few appends conflict. Commands that arrive during the wait share the next commit.
"""

from __future__ import annotations

import random
from collections.abc import Callable

# How much longer to stand back after each conflict.
LONGER = 1.5
# In how many appends the time to stand back halves by itself. By the clock, not by the node's own
# appends: else a node that stands back for long, and appends seldom, would be the last to come
# forward, and another would capture the log, as one station an Ethernet.
HALVED_IN = 20
# Longest time to stand back, in appends.
LONGEST = 32
# How long to stand back at least, in appends, while others' commits are read: a node that always
# wins meets no conflict, and those that lose must first fold what it appended.
POLITE = 3
# For how long another node's commit shows that there are others, in seconds.
COMPANY_S = 1.0
# Weight of the newest measured append.
NEWEST = 0.2
# The longest time an append counts for, in seconds: one that waited for an election, or an absent
# server, would otherwise have all nodes stand back for many times as long.
SLOWEST_S = 0.25


class Contention:
    """How long to wait before an append. Times in seconds; used under the node's commit lock."""

    def __init__(self, monotonic: Callable[[], float], draw: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._draw = draw
        self.append_s = 0.0
        """How long an append takes lately; 0 before the first."""
        self._back_s = 0.0
        self._free_s = 0.0
        self._faded_s = 0.0
        self._lost = False
        self._company_s = -COMPANY_S

    def wait_s(self) -> float:
        """How long to wait now."""
        if self._lost:
            return self._draw() * self.append_s
        return max(0.0, self._free_s - self._monotonic())

    def appended(self, took_s: float) -> None:
        """An append succeeded."""
        took_s = min(took_s, SLOWEST_S)
        self.append_s += NEWEST * (took_s - self.append_s) if self.append_s else took_s
        self._lost = False
        now_s = self._fade()
        back_s = self._back_s if self._back_s > self.append_s / 4 else 0.0
        if now_s - self._company_s < COMPANY_S:
            back_s = max(back_s, POLITE * self.append_s)
        # Spread by half, so that nodes do not come back in step.
        self._free_s = now_s + back_s * (0.75 + self._draw() / 2)

    def conflicted(self, took_s: float) -> None:
        """Another node's append was first."""
        self.append_s = self.append_s or min(took_s, SLOWEST_S)
        self._fade()
        self._back_s = min(LONGEST * self.append_s, max(self.append_s, self._back_s * LONGER))
        self._lost = True

    def met(self) -> None:
        """Another node's commits were read."""
        self._company_s = self._monotonic()

    def _fade(self) -> float:
        """Brings the time to stand back up to date; returns the present instant."""
        now_s = self._monotonic()
        self._back_s *= 0.5 ** ((now_s - self._faded_s) / (HALVED_IN * self.append_s))
        self._faded_s = now_s
        return now_s


def draw() -> float:
    """A random number from 0 up to 1."""
    return random.random()  # noqa: S311 - spreads appends, guards nothing
