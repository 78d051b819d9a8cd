"""A selector as conditions on the catalog's columns, and the indexes that find few tasks by it.

What each condition means is said in `Selector.matches`; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from eventq.catalog import schema
from eventq.catalog.selector import Selector, is_error, value_text
from eventq.catalog.store import Store
from eventq.catalog.tag_words import split_words
from eventq.core.audience import matches
from eventq.core.task import DEFAULT_LANE, TaskState
from eventq.replay.points import Point

# The trigrams of texts of fewer characters are none.
TRIGRAM = 3
# What the indexes of long waits and runs begin with, in microseconds.
LONG_US = 60_000_000
# A number that every SQLite can hold.
DIGITS = 18

FIND_EDITED = "SELECT DISTINCT task FROM tag_edits WHERE seq IN (SELECT value FROM json_each(?))"
FIND_WORDS = "SELECT id, text FROM words WHERE kind = ?"
TAGS = "(SELECT json FROM tags WHERE seq = coalesce(tags_seq, number))"

# Each finds the tasks that may be meant by one index; as they look now.
FIND_TAGGED = "SELECT rowid FROM tag_words WHERE tag_words MATCH :words LIMIT :most"
BY_STATE = """
SELECT number FROM tasks
WHERE state IN (SELECT value FROM json_each(:codes)) AND state <> 4
LIMIT :most
"""
BY_NAME = """
SELECT number FROM tasks WHERE name IN (SELECT value FROM json_each(:names)) LIMIT :most
"""
BY_KEY = """
SELECT number FROM tasks WHERE key IN (SELECT value FROM json_each(:keys))
UNION
SELECT number FROM tasks WHERE number IN (SELECT value FROM json_each(:unkeyed))
LIMIT :most
"""
BY_NUMBER = """
SELECT number FROM tasks WHERE number IN (SELECT value FROM json_each(:numbers)) LIMIT :most
"""
BY_FLOW = "SELECT number FROM tasks WHERE flow = :flow LIMIT :most"
BY_SCHEDULE = "SELECT number FROM tasks WHERE schedule = :schedule LIMIT :most"
BY_PEOPLE = """
SELECT number FROM tasks WHERE people IN (SELECT value FROM json_each(:people)) LIMIT :most
"""
BY_ERROR = """
SELECT number FROM tasks WHERE error IN (SELECT value FROM json_each(:errors)) LIMIT :most
"""
BY_LAPSES = "SELECT number FROM tasks WHERE lapses IS NOT NULL LIMIT :most"
BY_REFUSED = "SELECT number FROM tasks WHERE refused IS NOT NULL LIMIT :most"
BY_ATTEMPTS = """
SELECT number FROM tasks WHERE attempts >= :attempts AND attempts > 1 LIMIT :most
"""
BY_RAN = "SELECT number FROM tasks WHERE ran >= :ran AND ran >= 60000000 LIMIT :most"
BY_WAITED = "SELECT number FROM tasks WHERE waited >= :waited AND waited >= 60000000 LIMIT :most"
BY_CREATED = """
SELECT number FROM tasks WHERE number >= :number_least AND number < :number_most LIMIT :most
"""
BY_LAST = """
SELECT number FROM tasks
WHERE coalesce(last_seq, since) >= :last_least AND coalesce(last_seq, since) < :last_most
UNION ALL
SELECT number FROM tasks WHERE ended_at IS NOT NULL
LIMIT :most
"""
FIND_ERRORS = """
SELECT id FROM errors
WHERE (:types IS NULL OR type IN (SELECT value FROM json_each(:types)))
    AND (:grams IS NULL OR id IN (SELECT rowid FROM error_words WHERE error_words MATCH :grams))
    AND (:message IS NULL OR is_in(message, :message))
    AND (:place IS NULL OR instr(place, :place) > 0)
"""


class Question:
    """The conditions of a selector, all of which a row is to meet, and the values in them."""

    def __init__(self, store: Store, selector: Selector, at: Point, base: int) -> None:
        self.conditions: list[str] = []
        self.values: dict[str, Any] = {}
        self.ways: list[str] = []
        """Statements that each find the tasks that may be meant, as they look now."""
        self.words: str | None = None
        """What is looked for in tags, as FTS5 has it."""
        self.codes = _codes(selector.states)
        """In which recorded states a task may be."""
        self._store = store
        self._base = base
        self._ask_states(selector.states, at.at)
        self._ask_identity(selector)
        self._ask_place(selector)
        self._ask_times(selector)
        self._ask_attempts(selector)
        self._ask_error(selector)
        self._ask_tags(selector)

    def few(self, most: int) -> list[int] | None:
        """Tasks among which are all that are meant as they look now; None for more than ``most``.

        The fewest that one index gives, or few enough.
        """
        best: list[int] | None = None
        for way in self.ways:
            rows = self._store.rows(way, {**self.values, "most": most + 1})
            if len(rows) <= most and (best is None or len(rows) < len(best)):
                best = [number for (number,) in rows]
                if len(best) * 20 <= most:
                    break
        return best

    def tagged(self, most: int) -> list[int] | None:
        """Tasks that have had all the words in their tags at some time; None for too many."""
        if self.words is None:
            return None
        values = {"words": self.words, "most": most + 1}
        seqs = [seq for (seq,) in self._store.rows(FIND_TAGGED, values)]
        if len(seqs) > most:
            return None
        return seqs + [number for (number,) in self._store.rows(FIND_EDITED, (_json(seqs),))]

    def _ask(self, condition: str, **values: Any) -> None:  # noqa: ANN401 - whatever SQL can hold
        self.conditions.append(condition)
        self.values.update(values)

    def _ask_states(self, states: tuple[str, ...], now: int) -> None:
        if not states:
            return
        self._ask("state IN (SELECT value FROM json_each(:codes))", codes=_json(self.codes))
        if schema.COMPLETED not in self.codes:
            self.ways.append(BY_STATE)
        is_ready, is_scheduled = TaskState.READY in states, TaskState.SCHEDULED in states
        if is_ready:
            if not is_scheduled:
                due = "(state <> 1 OR scheduled_at IS NULL OR scheduled_at <= :now)"
                self._ask(due, now=now - self._base)
        elif is_scheduled:
            self._ask("(state <> 1 OR scheduled_at > :now)", now=now - self._base)

    def _ask_identity(self, selector: Selector) -> None:
        if selector.keys:
            numbers = [int(key) for key in selector.keys if _is_number(key)]
            self._ask(
                "(key IN (SELECT value FROM json_each(:keys)) OR "
                "(key IS NULL AND number IN (SELECT value FROM json_each(:unkeyed))))",
                keys=_json(selector.keys),
                unkeyed=_json(numbers),
            )
            self.ways.append(BY_KEY)
        if selector.numbers:
            found = _json(selector.numbers)
            self._ask("number IN (SELECT value FROM json_each(:numbers))", numbers=found)
            self.ways.append(BY_NUMBER)
        if selector.flow is not None:
            self._ask("flow = :flow", flow=selector.flow)
            self.ways.append(BY_FLOW)
        if selector.schedule is not None:
            found_id = self._store.words.find("schedule", selector.schedule)
            self._ask("schedule = :schedule", schedule=found_id)
            self.ways.append(BY_SCHEDULE)

    def _ask_place(self, selector: Selector) -> None:
        if selector.names:
            wanted = selector.names
            ids = self._ids("name", lambda text: any(matches(text, each) for each in wanted))
            self._ask("name IN (SELECT value FROM json_each(:names))", names=_json(ids))
            self.ways.append(BY_NAME)
        if selector.lanes:
            ids = self._ids("lane", selector.lanes.__contains__)
            is_default = DEFAULT_LANE in selector.lanes
            self._ask(
                "(lane IN (SELECT value FROM json_each(:lanes)) OR (:unsaid AND lane IS NULL))",
                lanes=_json(ids),
                unsaid=int(is_default),
            )

    def _ask_times(self, selector: Selector) -> None:
        for column, least, most in (
            ("created_at", selector.created_after, selector.created_before),
            ("coalesce(ended_at, last_at)", selector.ended_after, selector.ended_before),
            ("last_at", selector.since, selector.until),
        ):
            for sign, at in ((">=", least), ("<", most)):
                if at is not None:
                    name = f"at{len(self.values)}"
                    self._ask(f"{column} {sign} :{name}", **{name: at - self._base})
        if selector.ended_after is not None or selector.ended_before is not None:
            self._ask("state IN (4, 5, 6)")
        if selector.created_after is not None or selector.created_before is not None:
            self.values |= self._positions(
                "number", selector.created_after, selector.created_before
            )
            self.conditions += ["number >= :number_least", "number < :number_most"]
            self.ways.append(BY_CREATED)
        least = max(filter(None, (selector.ended_after, selector.since)), default=None)
        most = min(filter(None, (selector.ended_before, selector.until)), default=None)
        if least is not None or most is not None:
            self.values |= self._positions("last", least, most)
            self.ways.append(BY_LAST)

    def _ask_attempts(self, selector: Selector) -> None:
        if selector.waited_us is not None:
            self._ask("waited >= :waited", waited=selector.waited_us)
            self.ways += [BY_WAITED] if selector.waited_us >= LONG_US else []
        if selector.ran_us is not None:
            self._ask("ran >= :ran", ran=selector.ran_us)
            self.ways += [BY_RAN] if selector.ran_us >= LONG_US else []
        if selector.min_attempts is not None:
            self._ask("attempts >= :attempts", attempts=selector.min_attempts)
            self.ways += [BY_ATTEMPTS] if selector.min_attempts > 1 else []
        if selector.lapsed is not None:
            self._ask("(lapses IS NOT NULL) = :lapsed", lapsed=int(selector.lapsed))
            self.ways += [BY_LAPSES] if selector.lapsed else []
        if selector.refused is not None:
            self._ask("(refused IS NOT NULL) = :refused", refused=int(selector.refused))
            self.ways += [BY_REFUSED] if selector.refused else []
        if selector.ran_twice is not None:
            self._ask("coalesce(late < fence, 0) = :twice", twice=int(selector.ran_twice))
            self.ways += [BY_REFUSED] if selector.ran_twice else []
        if selector.node is not None:
            node = selector.node
            ids = self._ids("nodes", lambda text: _has_one(text, node))
            self._ask("nodes IN (SELECT value FROM json_each(:nodes))", nodes=_json(ids))
        if selector.by is not None:
            by = selector.by
            ids = self._ids("people", lambda text: _has_one(text, by))
            self._ask("people IN (SELECT value FROM json_each(:people))", people=_json(ids))
            self.ways.append(BY_PEOPLE)

    def _ask_error(self, selector: Selector) -> None:
        error, message, place = selector.error, selector.message, selector.place
        if error is message is place is None:
            return
        types = grams = None
        if error is not None:
            types = _json(self._ids("error", lambda text: is_error(text, error)))
        folded = "" if message is None else message.casefold()
        if len(folded) >= TRIGRAM:
            parts = {folded[i : i + TRIGRAM] for i in range(len(folded) - TRIGRAM + 1)}
            grams = _all_of(parts)
        asked = {"types": types, "grams": grams, "message": message, "place": place}
        ids = [number for (number,) in self._store.rows(FIND_ERRORS, asked)]
        self._ask("error IN (SELECT value FROM json_each(:errors))", errors=_json(ids))
        self.ways.append(BY_ERROR)

    def _ask_tags(self, selector: Selector) -> None:
        words = set(split_words(selector.text or ""))
        for name, value in selector.tags.items():
            words.update(split_words(name))
            # Other numbers and parts may be written in more than one way.
            if value is None or isinstance(value, (str, int)):
                words.update(split_words(value_text(value)))
        self.words = _all_of(words) if words else None
        if selector.tags:
            self._ask(f"has_tags({TAGS}, :tags)", tags=_json(selector.tags))
        if selector.text is not None:
            self._ask(f"has_words({TAGS}, :text)", text=selector.text)

    def _positions(self, name: str, least: int | None, most: int | None) -> dict[str, int]:
        """Between which positions the events from an instant up to another are, and maybe more."""
        end = int(self._store.about["seq"]) + 1
        first = 0 if least is None else self._first_behind(least, above=False)
        last = end if most is None else self._first_behind(most, above=True)
        return {f"{name}_least": first, f"{name}_most": last}

    def _first_behind(self, at: int, *, above: bool) -> int:
        """The last task created before an instant, or the first at it or later, if ``above``."""
        end = int(self._store.about["seq"]) + 1
        if self._store.about.get("odd"):
            return end if above else 0
        low, high = 0, end - 1
        while low < high:
            middle = (low + high + 1) // 2
            rows = self._store.rows(schema.LAST_CREATED, (middle,))
            if not rows or rows[0][0] < at - self._base:
                low = middle
            else:
                high = middle - 1
        statement = schema.FIRST_CREATED if above else schema.LAST_CREATED
        rows = self._store.rows(statement, (low,))
        return int(rows[0][-1]) if rows else end if above else 0

    def _ids(self, kind: str, fits: Callable[[str], bool]) -> list[int]:
        return [number for number, text in self._store.rows(FIND_WORDS, (kind,)) if fits(text)]


def _codes(states: tuple[str, ...]) -> list[int]:
    """The recorded states that these are; all for none."""
    if not states:
        return list(range(len(schema.STATES)))
    recorded = {TaskState.SCHEDULED if state == TaskState.READY else state for state in states}
    return sorted(schema.CODES[TaskState(state)] for state in recorded)


def _all_of(words: Iterable[str]) -> str:
    """As FTS5 has it: all these, each as it is."""
    quoted = (word.replace('"', '""') for word in sorted(words))
    return " AND ".join(f'"{word}"' for word in quoted)


def _has_one(texts: str, pattern: str) -> bool:
    return any(matches(each, pattern) for each in msgspec.json.decode(texts))


def _is_number(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) <= DIGITS and str(int(key)) == key


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
