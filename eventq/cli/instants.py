"""Instants on the command line: a bare date or time is the person's own, and is told in UTC."""

from __future__ import annotations

import time
from datetime import datetime

import click

from eventq.cli.output import note
from eventq.cli.text import time_text
from eventq.cli.words import shown_word
from eventq.replay.instants import is_local, read_instant

INSTANT = "an instant like 2030-01-31T12:00:00Z, 2030-01-31 or 12:30"


def instant_option(word: str) -> datetime:
    """A click type: an ISO 8601 instant; without a time zone it is of this host's."""
    at = local_instant(word)
    if at is None:
        raise click.BadParameter(f"expected {INSTANT}, got {shown_word(word)}")
    return at


def instant_or_word(word: str) -> datetime | str:
    """A click type: an instant, or what the library is to read, such as a duration."""
    return local_instant(word) or word


def local_instant(word: str) -> datetime | None:
    """The instant of a word, or None; it is told in UTC where it had no time zone."""
    at = None if word.isdigit() else read_instant(word, now=time.time_ns() // 1_000)
    if at is not None and is_local(word):
        note(f"{word} here is {time_text(at)}")
    return at
