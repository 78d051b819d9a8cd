"""``find``: tasks and attempts by what happened to them.

Nothing here creates a database or appends an event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from msgspec import Struct

from eventq.audit import (
    Findings,
    Reach,
    find,
    find_attempts,
    find_groups,
    find_reach,
    group,
)
from eventq.audit.finding import GROUPS
from eventq.catalog.orders import ORDERS, GroupBy, Order
from eventq.catalog.selector import Selector
from eventq.cli.ending import end_with_finding
from eventq.cli.instants import local_instant
from eventq.cli.output import flush, note, progress, say, say_json, say_list
from eventq.cli.place import Place, catalog_option, log_time, note_if_empty, placed
from eventq.cli.selecting import selector_of, selector_options
from eventq.cli.text import iso_text
from eventq.cli.views.fields import json_fields
from eventq.cli.views.finding import (
    COLUMNS,
    OF_ATTEMPTS,
    OF_ATTEMPTS_ALONE,
    OF_TASKS,
    found_words,
    grouped_listing,
    listing,
)
from eventq.cli.words import limit_option, shown_word
from eventq.core.task import TaskState
from eventq.eventlog import EventLog

Command = Callable[..., Any]


def _columns_option(word: str) -> list[str]:
    """A click type: names of columns, with commas between them."""
    names = word.replace(" ", "").split(",")
    wrong = [name for name in names if name not in COLUMNS]
    if wrong:
        known = ", ".join(COLUMNS)
        raise click.BadParameter(f"there is no column {shown_word(wrong[0])}; there are: {known}")
    return names


def _attempts_option(word: str) -> int:
    """A click type: ``3+`` for at least three."""
    digits = word.removesuffix("+")
    if not (word.endswith("+") and digits.isascii() and digits.isdigit()):
        raise click.BadParameter(f"expected a number and a plus, like 3+, got {shown_word(word)}")
    return int(digits[:20])


def _shaping(command: Command) -> Command:
    """The options that say what the answer looks like."""
    for option in (
        click.option("--count", "counts", is_flag=True, help="Only say how many there are."),
        click.option(
            "--group-by", "by", type=click.Choice(GROUPS), help="Count them by what they share."
        ),
        click.option(
            "--columns",
            type=_columns_option,
            metavar="NAME,...",
            help=f"Show these: {', '.join(COLUMNS)}.",
        ),
        click.option(
            "--order",
            type=click.Choice(sorted(ORDERS)),
            default="number",
            help="In which order to list tasks.",
        ),
        click.option(
            "--limit",
            type=limit_option,
            default="100",
            metavar="N",
            help="At most this many; none for no limit.",
        ),
    ):
        command = option(command)
    return command


@click.command(
    "find",
    epilog="""\b
Examples:
  eventq find --ran-twice --since today
  eventq find --failed-for-good --error ConnectionError --columns key,ended,error
  eventq find --each attempt --ran 10s --from 09:30 --to 10:00
  eventq find --failed-for-good --group-by error""",
)
@click.option(
    "--each",
    type=click.Choice(["task", "attempt"]),
    default="task",
    help="Find tasks, or each of their attempts that is over.",
)
@click.option("--from", "start", metavar="POINT", help="Only what has changed since then.")
@click.option("--to", "end", metavar="POINT", help="As it stood then. [default: now]")
@click.option("--failed-for-good", is_flag=True, help="Expired after a failure.")
@click.option(
    "--attempts",
    "tried",
    type=_attempts_option,
    metavar="N+",
    help="Tried at least this many times.",
)
@click.option("--by", "hand", metavar="NAME", help="Same as --touched-by.")
@catalog_option
@selector_options
@_shaping
@placed
def find_command(
    *,
    place: Place,
    each: str,
    start: str | None,
    end: str | None,
    failed_for_good: bool,
    tried: int | None,
    hand: str | None,
    counts: bool,
    by: GroupBy | None,
    columns: list[str] | None,
    order: Order,
    limit: int,
    **given: Any,  # noqa: ANN401 - checked by the library
) -> None:
    """Find tasks and attempts by what happened to them.

    All conditions must hold. A tag fits if its text is the same, or its JSON for a value that is no
    text: --tag bad=true finds the text "true" and the value true. Exit code 1: nothing was found.
    """
    wanted = selector_of(given)
    if failed_for_good:
        wanted |= {"state": [TaskState.EXPIRED], "error": wanted.get("error", "*")}
    if tried is not None:
        wanted["min_attempts"] = tried
    if hand is not None:
        wanted["by"] = hand
    _check_columns(columns, each)
    most = 0 if counts else limit
    with place.open_log() as log:
        asking = _Asking(log, wanted, each, start, end, place.catalog)
        groups: list[tuple[str, int]] = []
        if by is not None:
            groups, answer = asking.groups(by)
        else:
            answer = asking.find(order, most)
        note_if_empty(log)
    if counts:
        _say_count(answer, as_json=place.as_json)
    elif by is not None:
        _say_groups(groups, by, as_json=place.as_json)
    else:
        _say_found(answer, columns, each, as_json=place.as_json)
    flush()
    note(found_words(answer, each))
    if answer.is_cut and not counts and by is None:
        note(f"these are the first {len(answer.found):,} of {answer.count:,}; see --limit")
    if not answer.count:
        end_with_finding()


def _check_columns(columns: list[str] | None, each: str) -> None:
    alone = OF_ATTEMPTS_ALONE.intersection(columns or ())
    if each == "task" and alone:
        raise click.UsageError(f"--columns {min(alone)} is of attempts; see --each attempt")


class _Asking(Struct, frozen=True):
    """What is asked of a log, as it was written."""

    log: EventLog
    wanted: dict[str, Any]
    each: str
    start: str | None
    end: str | None
    catalog: str | None

    def find(self, order: Order, limit: int | None) -> Findings:
        """What is meant."""
        selector, reach = self._read()
        with progress("reading the log") as told:
            if self.each == "attempt":
                return find_attempts(
                    self.log, selector, reach, limit=limit, progress=told, catalog=self.catalog
                )
            return find(
                self.log,
                selector,
                reach,
                order=order,
                limit=limit,
                progress=told,
                catalog=self.catalog,
            )

    def groups(self, by: GroupBy) -> tuple[list[tuple[str, int]], Findings]:
        """How many are meant that share something."""
        if self.each == "attempt":
            answer = self.find("number", None)
            return group(answer.found, by), answer
        selector, reach = self._read()
        with progress("reading the log") as told:
            return find_groups(self.log, selector, reach, by, progress=told, catalog=self.catalog)

    def _read(self) -> tuple[Selector, Reach]:
        now = log_time(self.log)
        selector = Selector.parse(now=now, **self.wanted)
        return selector, reach_between(self.log, self.start, self.end, now=now)


def reach_between(log: EventLog, start: str | None, end: str | None, *, now: int) -> Reach:
    """What lies between two points that a person wrote."""
    return find_reach(log, _point(start), _point(end), now=now)


def _point(word: str | None) -> Any:  # noqa: ANN401 - an instant or what the library is to read
    return None if word is None else local_instant(word) or word


def _say_found(answer: Findings, columns: list[str] | None, each: str, *, as_json: bool) -> None:
    if not as_json:
        shown = columns or (OF_TASKS if each == "task" else OF_ATTEMPTS)
        say_list(answer.found, listing(shown, each), as_json=False)
        return
    for found in answer.found:
        say_json({**json_fields(found), "source": answer.source})


def _say_count(answer: Findings, *, as_json: bool) -> None:
    if as_json:
        say_json(_reach_fields(answer) | {"count": answer.count})
    else:
        say(str(answer.count))


def _say_groups(groups: list[tuple[str, int]], by: GroupBy, *, as_json: bool) -> None:
    if not as_json:
        say_list(groups, grouped_listing(by), as_json=False)
        return
    for name, count in groups:
        say_json({by: name, "count": count})


def _reach_fields(answer: Findings) -> dict[str, Any]:
    since = None if answer.since is None else iso_text(answer.since)
    reach = {"source": answer.source, "after": answer.after, "seq": answer.seq}
    return reach | {"since": since, "at": iso_text(answer.at)}
