"""A maker of long, legal logs in virtual time, to try and measure what reads them."""

from tools.generate.factory import Factory, Made, generate

__all__ = ["Factory", "Made", "generate"]
