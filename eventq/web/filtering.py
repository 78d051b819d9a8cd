"""What a filter of tasks says, in a query's words: read into a selector, and what is refused.

What somebody may not see, they may not filter by either: the answers would tell it to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Struct

from eventq.catalog.selector import Selector, SelectorOptions
from eventq.errors import ArgumentError, EventqError, TaskNotFoundError
from eventq.eventlog.contract import EventLog
from eventq.web.form import json_of, whole_number
from eventq.web.naming import find_history
from eventq.web.showing import Veil

# The whole of a filter, as it stands in an address.
FILTER_CHARACTERS = 8_000
# A task has fewer attempts than there are positions in a log.
MOST_RETRIES = 2**62
# The number of no task.
NO_TASK = 2**63 - 1
YES_NO = {"yes": True, "no": False}

UNSEEN = "You may not see tags, messages and places, so you may not filter by them either."
HIDDEN_TAG = "Tag {} is secret: to filter by it would tell what it holds."
SEARCHED = "Some tags are secret here: to search in text or keys would tell what they hold."
OTHER_LANE = "You may look into tasks of lanes {} alone."


class FilterRefusedError(Exception):
    """This person may not filter by that; the text says why."""


class FilterQuestion(Struct, frozen=True):
    """Which tasks are meant; what is empty is not asked."""

    state: str = ""
    """Several with commas between them, as for names, lanes and numbers."""
    name: str = ""
    lane: str = ""
    error: str = ""
    message: str = ""
    place: str = ""
    tags: str = ""
    """As JSON, or ``name=value`` with commas between."""
    text: str = ""
    node: str = ""
    flow: str = ""
    schedule: str = ""
    key: str = ""
    number: str = ""
    min_attempts: str = ""
    retried_over: str = ""
    """Retried more often than this."""
    created_after: str = ""
    created_before: str = ""
    ended_after: str = ""
    ended_before: str = ""
    since: str = ""
    until: str = ""
    waited: str = ""
    ran: str = ""
    lapsed: str = ""
    refused: str = ""
    ran_twice: str = ""
    by: str = ""


FIELDS = FilterQuestion.__struct_fields__


def given_of(question: FilterQuestion) -> dict[str, str]:
    """What a filter asks, without what is empty."""
    words = {name: getattr(question, name).strip() for name in FIELDS}
    return {name: word for name, word in words.items() if word}


def filter_text(question: FilterQuestion) -> str:
    """A filter as it stands in an address."""
    return urlencode(given_of(question))


def filter_from(text: str) -> FilterQuestion:
    """The filter that an address or a form says. Raises ArgumentError for what is none."""
    if len(text) > FILTER_CHARACTERS:
        raise ArgumentError("filter", text, f"at most {FILTER_CHARACTERS} characters")
    try:
        said = parse_qsl(text, strict_parsing=bool(text), errors="strict")
    except ValueError:
        said = [("", text)]
    # What is ticked several times is several words, as in an address.
    pairs = {name: ",".join(word for other, word in said if other == name) for name, _ in said}
    if not pairs.keys() <= set(FIELDS):
        # One that is misspelled would mean more tasks than it says.
        raise ArgumentError("filter", text, "a filter as the page of tasks has it")
    return msgspec.convert(pairs, FilterQuestion)


def options_of(question: FilterQuestion, veil: Veil, log: EventLog) -> SelectorOptions:
    """The filter as `Queue.select` takes it, within what this person may see.

    A key that holds what is secret of its task is as good as none.

    Raises ArgumentError and FilterRefusedError.
    """
    given = given_of(question)
    found: dict[str, Any] = {}
    for name, word in given.items():
        read = _READ.get(name)
        found[name] = word if read is None else read(word, name)
    retried = found.pop("retried_over", None)
    if retried is not None:
        if not 0 <= retried < MOST_RETRIES:
            raise ArgumentError("retried_over", retried, "a whole number from 0")
        # The first attempt is no retry.
        found["min_attempts"] = max(found.get("min_attempts", 1), retried + 2)
    _check_seen(found, veil)
    if "key" in found:
        try:
            find_history(log, found["key"], veil)
        except TaskNotFoundError:
            found["number"] = [NO_TASK]
        except EventqError:
            # Of a task that is archived, or no key at all: the selector says which.
            pass
    if veil.lanes is not None:
        if not veil.lanes:
            # No lane is any lane to a selector.
            raise FilterRefusedError("There is no lane whose tasks you may look into.")
        wanted = frozenset(found.get("lane", veil.lanes))
        if not wanted <= veil.lanes:
            raise FilterRefusedError(OTHER_LANE.format(", ".join(sorted(veil.lanes))))
        found["lane"] = sorted(wanted)
    options: SelectorOptions = found  # type: ignore[assignment]
    return options


def selector_of(question: FilterQuestion, veil: Veil, log: EventLog, now: int) -> Selector:
    """The same as a selector; ``now`` is what times ago count from. Raises as `options_of`."""
    return Selector.parse(now=now, **options_of(question, veil, log))


def _check_seen(found: Mapping[str, Any], veil: Veil) -> None:
    if veil.hides_values and found.keys() & {"tags", "text", "message", "place"}:
        raise FilterRefusedError(UNSEEN)
    secret = veil.redact & found.get("tags", {}).keys()
    if secret:
        raise FilterRefusedError(HIDDEN_TAG.format(", ".join(sorted(secret))))
    if veil.redact and found.keys() & {"text", "message", "place", "key"}:
        raise FilterRefusedError(SEARCHED)


def _words(text: str, _name: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str, name: str) -> list[int]:
    return [whole_number(word, name) for word in _words(text, name)]


def _flag(text: str, name: str) -> bool:
    if text not in YES_NO:
        raise ArgumentError(name, text, "yes or no")
    return YES_NO[text]


def _tags(text: str, name: str) -> dict[str, Any]:
    if text.startswith("{"):
        found = json_of(text, name)
        assert isinstance(found, dict), "JSON that begins so is an object"
        return found
    tags = {}
    for word in _words(text, name):
        tag, is_given, value = word.partition("=")
        if not is_given:
            raise ArgumentError(name, text, 'tags like path=a.png, or JSON like {"path": "a.png"}')
        tags[tag.strip()] = value.strip()
    return tags


_READ: dict[str, Callable[[str, str], Any]] = {
    "state": _words,
    "name": _words,
    "lane": _words,
    "number": _numbers,
    "tags": _tags,
    "flow": whole_number,
    "min_attempts": whole_number,
    "retried_over": whole_number,
    "lapsed": _flag,
    "refused": _flag,
    "ran_twice": _flag,
}
