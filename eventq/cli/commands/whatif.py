"""``whatif``: simulates recorded tasks under another policy; the log is only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from msgspec import UNSET

from eventq.audit.phrases import counted
from eventq.cli.ending import misuse
from eventq.cli.output import note, progress, say_json, say_table
from eventq.cli.place import Place, placed, point_of
from eventq.cli.text import visible
from eventq.cli.views.sandbox import WHATIF_COLUMNS, fewer_text, misses_text, took, whatif_rows
from eventq.cli.words import (
    is_number,
    parse_backoff,
    point_option,
    shown_word,
    tag_option,
    weight_option,
)
from eventq.errors import ArgumentError
from eventq.replay.points import END
from eventq.sandbox import LimitRule, PriorityRule, TurnRule
from eventq.sandbox import whatif as suppose

NO_LIMIT = "none"


@click.command(
    epilog="""\b
Examples:
  eventq whatif --workers 8
  eventq whatif --backoff exponential:1s:5m --max-retries 3
  eventq whatif --priority kind=video:10 --from -2h --json
  eventq whatif --limit smtp:running=10 --fair tenant --weight big=3
  eventq whatif --cron 'tidy=0 * * * *'"""
)
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Attempts at a time, all the time. [default: as it was]",
)
@click.option(
    "--workers-then",
    type=int,
    metavar="N",
    help="How many each node had, as `run --workers`. [default: what it said when it joined]",
)
@click.option("--backoff", metavar="BACKOFF", help="Wait before a retry, like 10s; see `new`.")
@click.option("--max-retries", metavar="N", help="Attempts after the first; none for no limit.")
@click.option("--max-age", metavar="DURATION", help="Give up after this long; none for never.")
@click.option("--deadline", metavar="DURATION", help="Longest an attempt may run; none for any.")
@click.option(
    "--priority",
    "priorities",
    multiple=True,
    metavar="NAME=VALUE:P",
    help="Priority P for tasks with this tag; may come several times, the first that fits counts.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME:BOUNDS",
    help="Bounds of a limit, all the time: running=N, rate=N/DURATION, or both with a comma; none "
    "in place of a value, or of all.",
)
@click.option("--fair", metavar="TAG", help="Its values take turns, all the time; none for none.")
@weight_option("With --fair.")
@click.option(
    "--cron",
    "crons",
    multiple=True,
    metavar="NAME=SPEC",
    help="When a schedule comes, like 'tidy=0 * * * *'; none for never.",
)
@click.option(
    "--fail-rate",
    type=float,
    metavar="SHARE",
    help="Of unrecorded attempts, 0 to 1. [default: each as the task's last recorded one]",
)
@point_option("--from", "after", text="Only tasks created after it.", default="0")
@point_option("--to", "until", text="The record's end.", default=END)
@click.option("--seed", type=int, default=0, help="Settles what is drawn.")
@placed
def whatif(
    *,
    place: Place,
    after: str,
    until: str,
    backoff: str | None,
    max_retries: str | None,
    priorities: tuple[str, ...],
    limits: tuple[str, ...],
    fair: str | None,
    weights: tuple[tuple[str, int], ...],
    crons: tuple[str, ...],
    **options: Any,  # noqa: ANN401 - the library checks them
) -> None:
    """Replay recorded tasks under another policy, and compare waiting times and ends with what was.

    It also simulates the policy as it was: how far that is from the record is the model's own
    error. What is not given stays as it was.
    """
    rules = [_rule(word) for word in priorities]
    for name in ("max_age", "deadline"):
        options[name] = _limit(options[name])
    with place.open_log() as log, progress("replaying") as tell, _as_typed():
        found = suppose(
            log,
            after=point_of(log, after, "--from"),
            until=point_of(log, until, "--to"),
            backoff=parse_backoff(backoff),
            max_retries=_limit(max_retries, _count),
            priorities=rules,
            limits=[_limit_rule(word) for word in limits],
            turns=_turns(fair, weights),
            crons=dict(map(_cron, crons)),
            progress=tell,
            **options,
        )
    if place.as_json:
        say_json(found)
        return
    say_table(WHATIF_COLUMNS, whatif_rows(found), elastic=0)
    for each in found.schedules:
        counts = f"{counted(each.recorded, 'due')} made a task, {each.what_if} in the what-if"
        skipped = f", where {each.skipped} are skipped" if each.skipped else ""
        note(f"schedule {visible(each.schedule)}: {counts}{skipped}")
    if found.left_out:
        left_out = counted(found.left_out, "task")
        note(f"left out: {left_out} that had been open already at position {found.after}")
    if found.is_ahead:
        note(
            "a node leased such short tasks ahead, and has not said how many workers it had: give "
            "--workers-then, or trust no number of workers"
        )
    if found.absent_us:
        note(
            f"for {took(found.absent_us)} of the record tasks were ready and no node was there; "
            "nothing runs in that time in AS IT WAS and WHAT IF either"
        )
    if options["workers"] is not None and (problem := fewer_text(found)) is not None:
        note(problem)
    if (problem := misses_text(found)) is not None:
        note(problem)


@contextmanager
def _as_typed() -> Iterator[None]:
    """Names the option as it was typed in an error."""
    try:
        yield
    except ArgumentError as error:
        name = "--to" if error.argument == "until" else error.argument
        raise ArgumentError(name, error.value, error.expected) from None


def _limit(word: str | None, parse: Callable[[str], Any] = str) -> Any:  # noqa: ANN401 - parsed
    """What a word sets a limit to, None for none; UNSET without a word."""
    if word is None:
        return UNSET
    return None if word == NO_LIMIT else parse(word)


def _count(word: str) -> int:
    if not is_number(word):
        misuse(f"--max-retries: expected a whole number or none, got {shown_word(word)}")
    return int(word)


def _rule(word: str) -> PriorityRule:
    tag, sign, priority = word.rpartition(":")
    if not sign or not is_number(priority):
        misuse(f"--priority: expected NAME=VALUE:P, like kind=video:10, got {shown_word(word)}")
    name, value = tag_option(tag)
    return PriorityRule({name: value}, int(priority))


def _limit_rule(word: str) -> LimitRule:
    name, _, words = word.rpartition(":")
    bounds = _bounds(words)
    if not name or bounds is None:
        expected = "NAME:running=N,rate=N/DURATION, like smtp:running=10"
        misuse(f"--limit: expected {expected}, got {shown_word(word)}")
    return LimitRule(name, **bounds)


def _bounds(words: str) -> dict[str, Any] | None:
    """The bounds that a limit is to have, by name; None for what cannot be read."""
    if words == NO_LIMIT:
        return {"running": None, "rate": None}
    found: dict[str, Any] = {}
    for word in words.split(","):
        name, _, value = word.partition("=")
        if name not in {"running", "rate"} or name in found or not value:
            return None
        if value == NO_LIMIT:
            found[name] = None
        elif name == "rate":
            found[name] = value
        elif is_number(value):
            found[name] = int(value)
        else:
            return None
    return found


def _turns(per: str | None, weights: tuple[tuple[str, int], ...]) -> Any:  # noqa: ANN401 - or UNSET
    if per is None and weights:
        misuse("--weight: expected --fair beside it")
    if per is None:
        return UNSET
    if per == NO_LIMIT:
        return None
    return TurnRule(per, dict(weights))


def _cron(word: str) -> tuple[str, str | None]:
    name, sign, spec = word.partition("=")
    if not sign or not spec:
        misuse(f"--cron: expected NAME=SPEC, like 'tidy=0 * * * *', got {shown_word(word)}")
    return name, None if spec == NO_LIMIT else spec
