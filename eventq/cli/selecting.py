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
    ("--error", "error", "TYPE", "The last error is of this type, or one like '*Timeout*'."),
    ("--message", "message", "TEXT", "The last error's message has this text."),
    ("--place", "raised_at", "TEXT", "The last error was raised at a place with this text."),
    ("--text", "text", "WORDS", "The tags have all of these words."),
    ("--node", "node", "NODE", "Leased by this node, or one like 'host-a-*'."),
    ("--schedule", "schedule", "NAME", "Made by this schedule."),
    ("--touched-by", "touched_by", "NAME", "Changed by this person."),
    ("--waited", "waited", "DURATION", "The last attempt waited at least this long."),
    ("--ran", "ran", "DURATION", "The last attempt ran at least this long."),
)
_INSTANTS = (
    ("--since", "since", "The last change came at this instant or later."),
    ("--until", "until", "The last change came before this instant."),
    ("--created-after", "created_after", "Created at this instant or later."),
    ("--created-before", "created_before", "Created before this instant."),
    ("--ended-after", "ended_after", "Ended at this instant or later."),
    ("--ended-before", "ended_before", "Ended before this instant."),
)
_FLAGS = (
    ("--lapsed/--not-lapsed", "lapsed", "An attempt was lost because its node died, or none was."),
    ("--refused/--not-refused", "refused", "An outcome came too late, or none did."),
    ("--ran-twice/--not-ran-twice", "ran_twice", "The work ran twice, or did not."),
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
        click.option(
            "--min-attempts", type=int, metavar="N", help="Tried at least this many times."
        ),
        click.option("--flow", type=int, metavar="NUMBER", help="In this flow."),
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
