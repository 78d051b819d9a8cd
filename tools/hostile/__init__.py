"""Hostile values against every argument of the library, the commands and the console."""

from tools.hostile.api import Api
from tools.hostile.commands import Commands
from tools.hostile.pages import Pages
from tools.hostile.values import TEXTS, VALUES

__all__ = ["TEXTS", "VALUES", "Api", "Commands", "Pages"]
