"""Seeded chance. Each step draws from a seed of its own: one left out changes no other's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# Seeds and steps share one number: no run has so many steps.
STEPS = 1_000_000


class Chance:
    """What a simulation draws from, seeded anew for each step."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self.random = self._random.random
        """A number from 0 up to 1."""

    def begin_step(self, step: int) -> None:
        """Draws from now on what belongs to this step, whatever was drawn before it."""
        self._random.seed((self._seed + 1) * STEPS + step)

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
