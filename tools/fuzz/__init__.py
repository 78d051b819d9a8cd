"""Bytes that nobody wrote against whatever reads bytes or text."""

from tools.fuzz.decoders import DECODERS, Decoder

__all__ = ["DECODERS", "Decoder"]
