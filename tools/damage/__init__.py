"""Bytes flipped and files cut off behind eventq's back; what it then says is judged."""

from tools.damage.scene import KINDS, Scene
from tools.damage.verdict import play

__all__ = ["KINDS", "Scene", "play"]
