"""The options that say which tasks are meant, shared by commands about many at once.

This module only parses words. What a selector means, the library says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from eventq.cli.instants import instant_or_word
from eventq.cli.words import STATES, state_option, tags_option

Command = Callable[..., Any]

# Options that take one word, with the names of the library's.
_WORDS = (
    ("--error", "error", "TYPE", "Whose last error is of this type, or like '*Timeout*'."),
    ("--message", "message", "TEXT", "With this text in the last error's message."),
    ("--place", "raised_at", "TEXT", "With this text in the place where it was raised."),
    ("--text", "text", "WORDS", "With all of these words in the tags."),
    ("--node", "node", "NODE", "That this node has leased, or one like 'host-a-*'."),
    ("--schedule", "schedule", "NAME", "That this schedule made."),
    ("--touched-by", "touched_by", "NAME", "To which this person has done something."),
    ("--waited", "waited", "DURATION", "Whose last attempt had waited at least so long."),
    ("--ran", "ran", "DURATION", "Whose last attempt ran at least so long."),
)
_INSTANTS = (
    ("--since", "since", "That have changed last since then."),
    ("--until", "until", "That have changed last before then."),
    ("--created-after", "created_after", "That were created since then."),
    ("--created-before", "created_before", "That were created before then."),
    ("--ended-after", "ended_after", "That have ended since then."),
    ("--ended-before", "ended_before", "That have ended before then."),
)
_FLAGS = (
    ("--lapsed/--not-lapsed", "lapsed", "Of which an attempt died with its node."),
    ("--refused/--not-refused", "refused", "Of which an outcome came too late."),
    ("--ran-twice/--not-ran-twice", "ran_twice", "Whose work ran twice."),
)


def selector_options(command: Command) -> Command:
    """Gives a command the options of a selector; `selector_of` takes them from its arguments."""
    for names, option, text in reversed(_FLAGS):
        command = click.option(names, option, default=None, help=text)(command)
    for name, option, text in reversed(_INSTANTS):
        command = click.option(
            name, option, metavar="INSTANT|-DURATION|today", type=instant_or_word, help=text
        )(command)
    for name, option, metavar, text in reversed(_WORDS):
        command = click.option(name, option, metavar=metavar, help=text)(command)
    for each in (
        click.option("--min-attempts", type=int, metavar="N", help="Tried at least so often."),
        click.option("--flow", type=int, metavar="NUMBER", help="Of this flow."),
        click.option("--key", "keys", multiple=True, metavar="KEY", help="With this key."),
        tags_option("With this tag."),
        click.option("--lane", "lanes", multiple=True, metavar="LANE", help="In this lane."),
        click.option(
            "--name", "names", multiple=True, metavar="NAME", help="Named so, or like 'mail.*'."
        ),
        state_option(STATES, "In this state; may come several times."),
    ):
        command = each(command)
    return command


def selector_of(given: dict[str, Any]) -> dict[str, Any]:
    """What `Queue.select` takes; a command's other arguments stay in ``given``."""
    several = {"states": "state", "names": "name", "lanes": "lane", "keys": "key"}
    found: dict[str, Any] = {
        name: list(given.pop(option)) or None for option, name in several.items()
    }
    found["tags"] = given.pop("tags") or None
    # Commands have a ``by``, who asks, and a ``place``, the log's, of their own.
    others = {"touched_by": "by", "raised_at": "place"}
    for _, option, _, _ in _WORDS:
        found[others.get(option, option)] = given.pop(option)
    for _, option, _ in (*_INSTANTS, *_FLAGS):
        found[option] = given.pop(option)
    for option in ("flow", "min_attempts"):
        found[option] = given.pop(option)
    return {name: value for name, value in found.items() if value is not None}
