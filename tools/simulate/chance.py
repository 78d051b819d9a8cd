"""Seeded chance. Each turn draws from a seed of its own: one left out changes no other's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# Seeds and turns share one number: no run has so many turns.
TURNS = 1_000_000
# Those of splitmix64, which is seeded in no time.
STRIDE, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
MASK = 2**64 - 1


class Chance:
    """What a simulation draws from, seeded anew for each turn."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._state = 0
        self.begin_turn(0)

    def begin_turn(self, turn: int) -> None:
        """Draws from now on what belongs to this turn, whatever was drawn before it."""
        self._state = ((self._seed + 1) * TURNS + turn) * SECOND & MASK

    def random(self) -> float:
        """A number from 0 up to 1."""
        self._state = state = (self._state + STRIDE) & MASK
        mixed = ((state ^ (state >> 30)) * FIRST) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * SECOND) & MASK
        return ((mixed ^ (mixed >> 31)) >> 11) * 2**-53

    def one_in(self, count: float) -> bool:
        """True once in so many times."""
        return self.random() * count < 1.0

    def below(self, count: int) -> int:
        """A whole number from 0 up to ``count``, without it."""
        return int(self.random() * count)

    def pick(self, these: Sequence[T]) -> T:
        """One of them."""
        return these[int(self.random() * len(these))]

    def some(self, these: Sequence[T], *, share: float) -> list[T]:
        """About this share of them, in their order."""
        return [each for each in these if self.random() < share]
