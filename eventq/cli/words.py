"""How words of the command line become values, and the options that commands share.

This module only parses values. The library checks them, so that both report the same errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click

from eventq import ArgumentError, Backoff, TaskState
from eventq.cli.text import short

Option = Callable[[Callable[..., None]], Callable[..., None]]

SHOWN_CHARACTERS = 60
# What 64 bits need; the library checks the rest.
NUMBER_CHARACTERS = 20

# More than any log has; the library counts to 2**31.
NO_LIMIT = 2_000_000_000

STATES = [str(state) for state in TaskState if state is not TaskState.FAILED]

# What a time ago or a count from the end begins with.
_AGO = re.compile(r"-[0-9]")
# No word of a command line can hold it.
_MARK = "\0"


class PointCommand(click.Command):
    """A command whose arguments may be times ago, like -2h, or counts from the end, like -500."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses as click does, but never takes a minus and a digit for an option."""
        valued = {
            name
            for option in self.get_params(ctx)
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        marked = [
            f"{_MARK}{word}" if _AGO.match(word) and before not in valued else word
            for before, word in zip(["", *args], args, strict=False)
        ]
        rest = super().parse_args(ctx, marked)
        for name, value in ctx.params.items():
            if isinstance(value, str):
                ctx.params[name] = value.removeprefix(_MARK)
        return rest


def point_option(*names: str, text: str, default: str | None = None) -> Option:
    """An option that takes a point of the log; ``text`` is its help."""
    return click.option(*names, metavar="POINT", default=default, help=text)


def state_option(names: Sequence[str], text: str) -> Option:
    """The option --state of a command, which may be repeated; ``text`` is its help."""
    return click.option("--state", "states", multiple=True, type=click.Choice(names), help=text)


def tags_option(text: str) -> Option:
    """The option --tag of a command, which may be repeated; ``text`` is its help."""
    return click.option(
        "--tag",
        "tags",
        multiple=True,
        type=tag_option,
        metavar="NAME=VALUE",
        callback=lambda _context, _option, pairs: joined_tags(pairs),
        help=text,
    )


def weight_option(text: str) -> Option:
    """An option that takes the weights of shares, as SHARE=N, any number of times."""
    return click.option(
        "--weight", "weights", multiple=True, metavar="SHARE=N", type=_weight, help=text
    )


def verbose_option(command: Callable[..., None]) -> Callable[..., None]:
    """The option --verbose of a command that calls a user's worker."""
    text = "Log to standard error, ctx.log included."
    return click.option("-v", "--verbose", is_flag=True, help=text)(command)


def tag_option(word: str) -> tuple[str, Any]:
    """A click type: ``NAME=VALUE`` for text, ``NAME:=JSON`` for any JSON value."""
    name, sign, content = word.partition("=")
    if not sign or not name.removesuffix(":"):
        raise click.BadParameter(f"expected NAME=VALUE or NAME:=JSON, got {shown_word(word)}")
    if not name.endswith(":"):
        return name, content
    try:
        return name[:-1], parse_json(content)
    except ValueError as error:
        message = f"{shown_word(word)}: what follows := is not JSON: {error}"
        raise click.BadParameter(message) from None


def limit_option(word: str) -> int:
    """A click type: a whole number of at least 1, or none for no limit."""
    if word == "none":
        return NO_LIMIT
    if word.isascii() and word.isdigit() and (limit := int(word[:20])):
        return min(limit, NO_LIMIT)
    raise click.BadParameter(f"expected a whole number above 0, or none, got {shown_word(word)}")


def _weight(word: str) -> tuple[str, int]:
    share, sign, number = word.rpartition("=")
    if not sign or not is_number(number):
        raise click.BadParameter(f"expected SHARE=N, like big=3, got {shown_word(word)}")
    return share, int(number)


def is_number(word: str) -> bool:
    """Whether the word is a whole number, of no more digits than 64 bits need."""
    return word.removeprefix("-").isdecimal() and len(word) <= NUMBER_CHARACTERS


def parse_instant(text: str, argument: str) -> datetime:
    """The aware datetime of ISO 8601 text. Raises ArgumentError, also without a time zone."""
    expected = "an instant with its time zone, like 2030-01-31T12:00:00Z or +02:00 at its end"
    try:
        at = datetime.fromisoformat(text)
        if at.utcoffset() is not None:
            return at
    except (TypeError, ValueError):
        pass
    raise ArgumentError(argument, text, expected)


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The value of JSON text. Raises ValueError, also for text nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def parse_backoff(value: object) -> Backoff | Any:  # noqa: ANN401 - checked by the library
    """``10s``, or ``KIND:10s``, or ``KIND:10s:CAP``. Raises ArgumentError for a wrong kind."""
    if not isinstance(value, str) or ":" not in value:
        return value
    kind, first, *cap = value.split(":")
    if kind == "constant" and not cap:
        return Backoff.constant(first)
    if kind in {"linear", "exponential"} and len(cap) <= 1:
        make = Backoff.linear if kind == "linear" else Backoff.exponential
        return make(first, cap=cap[0] if cap else None)
    raise ArgumentError(
        "backoff", value, "a duration, constant:10s, linear:10s:CAP or exponential:1s:CAP"
    )


def joined_tags(pairs: tuple[tuple[str, Any], ...], argument: str = "tag") -> dict[str, Any]:
    """Tags from pairs. Raises ArgumentError for a repeated name."""
    tags = dict(pairs)
    if len(tags) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ArgumentError(argument, twice, "each name once")
    return tags


def shown_word(word: str) -> str:
    """A word of the command line in a message."""
    return short(ascii(word) if not word.isprintable() else repr(word), SHOWN_CHARACTERS)
