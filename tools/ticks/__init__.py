"""Many schedules on many nodes in virtual time, with crashes and clocks that differ."""

from tools.ticks.simulation import Played, play

__all__ = ["Played", "play"]
