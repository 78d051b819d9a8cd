"""A selector as conditions on the catalog's columns, with their values; nothing here runs them.

What each condition means is said in `Selector.matches`; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from eventq.catalog import schema
from eventq.catalog.record import split_words
from eventq.catalog.selector import Selector, is_error, value_text
from eventq.catalog.store import Store
from eventq.core.audience import matches
from eventq.core.task import DEFAULT_LANE, TaskState
from eventq.replay.points import Point

# So many tasks with some words are gone through by number; of more, each task is asked instead.
MOST_TAGGED = 20_000
# The trigrams of texts of fewer characters are none.
TRIGRAM = 3
NEVER = "0"

FIND_TAGGED = "SELECT rowid FROM tag_words WHERE tag_words MATCH ? LIMIT ?"
FIND_EDITED = """
SELECT DISTINCT task FROM tag_edits WHERE seq IN (SELECT value FROM json_each(?))
"""
FIND_WORDS = {
    "name": "SELECT id, text FROM words WHERE kind = 'name'",
    "lane": "SELECT id, text FROM words WHERE kind = 'lane'",
    "error": "SELECT id, text FROM words WHERE kind = 'error'",
    "nodes": "SELECT id, text FROM words WHERE kind = 'nodes'",
    "people": "SELECT id, text FROM words WHERE kind = 'people'",
}
TAGS = "(SELECT json FROM tags WHERE seq = coalesce(tags_seq, number))"
LAST = "coalesce(last_seq, since)"


class Question:
    """The conditions of a selector, all of which a row is to meet, and the values in them."""

    def __init__(self, store: Store, selector: Selector, at: Point, base: int) -> None:
        self.conditions: list[str] = []
        self.values: dict[str, Any] = {}
        self.codes = _codes(selector.states)
        """In which recorded states a task may be."""
        self.patterns = 0
        self._store = store
        self._base = base
        self._ask_states(selector.states, at.at)
        self._ask_identity(selector)
        self._ask_times(selector)
        self._ask_attempts(selector)
        self._ask_error(selector)
        self._ask_tags(selector)

    def _ask(self, condition: str, **values: Any) -> None:  # noqa: ANN401 - whatever SQL can hold
        self.conditions.append(condition)
        self.values.update(values)

    def _ask_states(self, states: tuple[str, ...], now: int) -> None:
        if not states:
            return
        self._ask("state IN (SELECT value FROM json_each(:codes))", codes=_json(self.codes))
        if schema.COMPLETED not in self.codes:
            # The index leaves out those that have completed.
            self._ask("state <> 4")
        is_ready, is_scheduled = TaskState.READY in states, TaskState.SCHEDULED in states
        if is_ready is not is_scheduled:
            due = "(scheduled_at IS NULL OR scheduled_at <= :now)"
            self._ask(
                f"(state <> 1 OR {due if is_ready else f'NOT {due}'})", now=now - self._base
            )

    def _ask_identity(self, selector: Selector) -> None:
        if selector.names:
            wanted = selector.names
            self._ask_among(
                "name", self._ids("name", lambda text: any(matches(text, each) for each in wanted))
            )
        if selector.lanes:
            ids = self._ids("lane", selector.lanes.__contains__)
            unsaid = " OR lane IS NULL" if DEFAULT_LANE in selector.lanes else ""
            self._ask(f"(+lane IN (SELECT value FROM json_each(:lanes)){unsaid})", lanes=_json(ids))
        if selector.keys:
            numbers = [int(key) for key in selector.keys if _is_number(key)]
            self._ask(
                "(key IN (SELECT value FROM json_each(:keys)) OR "
                "(number IN (SELECT value FROM json_each(:unkeyed)) AND key IS NULL))",
                keys=_json(selector.keys),
                unkeyed=_json(numbers),
            )
        if selector.numbers:
            self._ask(
                "number IN (SELECT value FROM json_each(:numbers))", numbers=_json(selector.numbers)
            )
        if selector.flow is not None:
            self._ask("flow = :flow", flow=selector.flow)
        if selector.schedule is not None:
            self._ask_among("schedule", self._found("schedule", selector.schedule))

    def _ask_times(self, selector: Selector) -> None:
        ended = "coalesce(ended_at, last_at)"
        is_final = "state IN (4, 5, 6)"
        if selector.created_after is not None or selector.created_before is not None:
            self._ask_between("created_at", selector.created_after, selector.created_before)
        if selector.ended_after is not None or selector.ended_before is not None:
            self._ask(is_final)
            self._ask_between(ended, selector.ended_after, selector.ended_before)
        if selector.since is not None or selector.until is not None:
            self._ask_between("last_at", selector.since, selector.until)
        least = max(filter(None, (selector.ended_after, selector.since)), default=None)
        if least is not None:
            # Its last event is no older; so the index by that serves.
            self._ask(f"{LAST} >= :last_least", last_least=self._position_before(least))
        if selector.waited_us is not None:
            self._ask("waited >= :waited", waited=selector.waited_us)
        if selector.ran_us is not None:
            self._ask("ran >= :ran", ran=selector.ran_us)

    def _ask_attempts(self, selector: Selector) -> None:
        if selector.min_attempts is not None:
            self._ask("attempts >= :attempts", attempts=selector.min_attempts)
        for column, wanted in (("lapses", selector.lapsed), ("refused", selector.refused)):
            if wanted is not None:
                self._ask(f"{column} IS {'NOT ' if wanted else ''}NULL")
        if selector.ran_twice is not None:
            self._ask("coalesce(late < fence, 0) = :twice", twice=int(selector.ran_twice))
        if selector.node is not None:
            node = selector.node
            self._ask_among("nodes", self._ids("nodes", lambda text: _has_one(text, node)))
        if selector.by is not None:
            by = selector.by
            self._ask_among("people", self._ids("people", lambda text: _has_one(text, by)))

    def _ask_error(self, selector: Selector) -> None:
        among = []
        if selector.error is not None:
            wanted = selector.error
            self.values["types"] = _json(self._ids("error", lambda text: is_error(text, wanted)))
            among.append("type IN (SELECT value FROM json_each(:types))")
        if selector.message is not None:
            folded = selector.message.casefold()
            self.values["message"] = selector.message
            among.append("is_in(message, :message)")
            if len(folded) >= TRIGRAM:
                grams = {folded[i : i + TRIGRAM] for i in range(len(folded) - TRIGRAM + 1)}
                self.values["grams"] = _all_of(grams)
                among.append("id IN (SELECT rowid FROM error_words WHERE error_words MATCH :grams)")
        if selector.place is not None:
            self.values["place"] = selector.place
            among.append("instr(place, :place) > 0")
        if among:
            found = " AND ".join(among)
            self._ask(f"error IS NOT NULL AND error IN (SELECT id FROM errors WHERE {found})")

    def _ask_tags(self, selector: Selector) -> None:
        words = set(split_words(selector.text or ""))
        for name, value in selector.tags.items():
            words.update(split_words(name))
            # Of a number that is written in another way, another text is in the log.
            if value is None or isinstance(value, (str, int)):
                words.update(split_words(value_text(value)))
        if words:
            self._ask_words(words)
        if selector.tags:
            self._ask(f"has_tags({TAGS}, :tags)", tags=_json(selector.tags))
        if selector.text is not None:
            self._ask(f"has_words({TAGS}, :text)", text=selector.text)

    def _ask_words(self, words: set[str]) -> None:
        """Goes by the tasks that have all these words at some time, where those are few."""
        found = self._store.rows(FIND_TAGGED, (_all_of(words), MOST_TAGGED + 1))
        if len(found) > MOST_TAGGED:
            return
        seqs = _json([seq for (seq,) in found])
        tasks = [seq for (seq,) in found] + [n for (n,) in self._store.rows(FIND_EDITED, (seqs,))]
        self._ask("number IN (SELECT value FROM json_each(:tagged))", tagged=_json(tasks))

    def _ask_among(self, column: str, ids: list[int]) -> None:
        """The column has one of these; of several that are common, no index would help."""
        if len(ids) == 1:
            self._ask(f"{column} = :{column}", **{column: ids[0]})
        elif column == "name":
            self._ask("+name IN (SELECT value FROM json_each(:name))", name=_json(ids))
        else:
            self._ask(
                f"{column} IN (SELECT value FROM json_each(:{column}))", **{column: _json(ids)}
            )

    def _ask_between(self, column: str, least: int | None, most: int | None) -> None:
        self.patterns += 1
        for sign, value in ((">=", least), ("<", most)):
            if value is not None:
                name = f"{'least' if sign == '>=' else 'most'}{self.patterns}"
                self._ask(f"{column} {sign} :{name}", **{name: value - self._base})
                if column == "created_at":
                    bound = self._position_before(value) if sign == ">=" else None
                    if bound is not None:
                        self._ask("number >= :number_least", number_least=bound)

    def _position_before(self, at: int) -> int:
        """A position before all events of an instant and later; 0 where the log's time is odd."""
        if self._store.about.get("odd"):
            return 0
        low, high = 0, int(self._store.about["seq"])
        while low < high:
            middle = (low + high + 1) // 2
            rows = self._store.rows(schema.LAST_CREATED, (middle,))
            if not rows or rows[0][0] < at - self._base:
                low = middle
            else:
                high = middle - 1
        rows = self._store.rows(schema.LAST_CREATED, (low,))
        return int(rows[0][1]) if rows else 0

    def _ids(self, kind: str, fits: Callable[[str], bool]) -> list[int]:
        return [number for number, text in self._store.rows(FIND_WORDS[kind]) if fits(text)]

    def _found(self, kind: str, text: str) -> list[int]:
        number = self._store.words.find(kind, text)
        return [] if number is None else [number]


def _codes(states: tuple[str, ...]) -> list[int]:
    """The recorded states that these are; all for none."""
    if not states:
        return list(range(len(schema.STATES)))
    recorded = {TaskState.SCHEDULED if state == TaskState.READY else state for state in states}
    return sorted(schema.CODES[TaskState(state)] for state in recorded)


def _all_of(words: Iterable[str]) -> str:
    """As FTS5 has it: all these, each as it is."""
    return " AND ".join('"{}"'.format(word.replace('"', '""')) for word in sorted(words))


def _has_one(texts: str, pattern: str) -> bool:
    return any(matches(each, pattern) for each in msgspec.json.decode(texts))


def _is_number(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) <= 18 and str(int(key)) == key


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
