"""Bytes flipped and files cut off behind eventq's back; what it then says is judged."""

from tools.damage.judging import play
from tools.damage.scene import KINDS, Scene

__all__ = ["KINDS", "Scene", "play"]
