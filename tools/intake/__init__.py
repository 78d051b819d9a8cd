"""Documents taken in by processes that are killed: all of who may run when, at once."""

from tools.intake.drive import Plan, Played, play

__all__ = ["Plan", "Played", "play"]
