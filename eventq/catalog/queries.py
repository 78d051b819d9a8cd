"""Questions to a catalog about tasks, at any position that it holds.

Three parts answer together: how tasks look now, how they looked at first, and in between.
"""

from __future__ import annotations

from typing import Any

import msgspec

from eventq.catalog.forks import forks_around
from eventq.catalog.orders import BEHIND, ORDERS, GroupBy, Order
from eventq.catalog.question import Question
from eventq.catalog.record import TaskRecord, has_run_twice
from eventq.catalog.schema import FINAL, SCHEDULED, STATES, WORDS_OF
from eventq.catalog.selector import Selector, has_tags, has_words, is_in
from eventq.catalog.store import Store
from eventq.core.task import DEFAULT_LANE, TaskState
from eventq.replay.points import Point

COLUMNS = (
    "number, key, name, lane, created_at, flow, schedule, since, state, priority, attempts, "
    "scheduled_at, ended_at, last_seq, last_at, error, nodes, people, waited, ran, lapses, "
    "refused, late, fence, tags_seq, secret"
)
NOW = """
SELECT number, key, name, coalesce(moved, lane) AS lane, created_at, flow, schedule, since, state,
    priority, attempts, scheduled_at, ended_at, last_seq, last_at, error, nodes, people, waited,
    ran, lapses, refused, late, fence, tags_seq, secret
FROM tasks NOT INDEXED
WHERE number <= :seq AND since <= :seq
"""
# The same for the tasks that were last changed.
NOW_LATEST = """
SELECT number, key, name, coalesce(moved, lane) AS lane, created_at, flow, schedule, since, state,
    priority, attempts, scheduled_at, ended_at, last_seq, last_at, error, nodes, people, waited,
    ran, lapses, refused, late, fence, tags_seq, secret
FROM tasks INDEXED BY tasks_by_last
WHERE coalesce(last_seq, since) <= :seq AND number <= :seq AND since <= :seq
ORDER BY coalesce(last_seq, since) DESC
LIMIT :window
"""
FIRST = """
SELECT number, key, name, lane, created_at, flow, schedule, number AS since,
    coalesce(first_state, 1) AS state, first_priority AS priority, NULL AS attempts,
    first_scheduled_at AS scheduled_at, NULL AS ended_at, NULL AS last_seq, created_at AS last_at,
    NULL AS error, NULL AS nodes, NULL AS people, NULL AS waited, NULL AS ran, NULL AS lapses,
    NULL AS refused, NULL AS late, NULL AS fence, NULL AS tags_seq, secret
FROM tasks INDEXED BY tasks_by_first_fork
WHERE first_fork IN (SELECT value FROM json_each(:forks)) AND number <= :seq AND first_to > :seq
"""
PAST = """
SELECT tasks.number, tasks.key, tasks.name, coalesce(past.moved, tasks.lane) AS lane,
    tasks.created_at, tasks.flow, tasks.schedule, past.from_seq AS since, past.state,
    past.priority, past.attempts, past.scheduled_at, past.ended_at, past.last_seq, past.last_at,
    past.error, past.nodes, past.people, past.waited, past.ran, past.lapses, past.refused,
    past.late, past.fence, past.tags_seq, tasks.secret
FROM past INDEXED BY past_by_fork CROSS JOIN tasks ON tasks.number = past.task
WHERE past.state IN (SELECT value FROM json_each(:past_codes))
    AND past.fork IN (SELECT value FROM json_each(:forks))
    AND past.from_seq <= :seq AND past.to_seq > :seq
"""
# How tasks look now, and have looked since they began to change.
EVER_NOW = """
SELECT number, key, name, coalesce(moved, lane) AS lane, created_at, flow, schedule, since, state,
    priority, attempts, scheduled_at, ended_at, last_seq, last_at, error, nodes, people, waited,
    ran, lapses, refused, late, fence, tags_seq, secret
FROM tasks NOT INDEXED
WHERE number <= :seq
"""
EVER_PAST = """
SELECT tasks.number, tasks.key, tasks.name, coalesce(past.moved, tasks.lane) AS lane,
    tasks.created_at, tasks.flow, tasks.schedule, past.from_seq AS since, past.state,
    past.priority, past.attempts, past.scheduled_at, past.ended_at, past.last_seq, past.last_at,
    past.error, past.nodes, past.people, past.waited, past.ran, past.lapses, past.refused,
    past.late, past.fence, past.tags_seq, tasks.secret
FROM past NOT INDEXED CROSS JOIN tasks ON tasks.number = past.task
WHERE past.from_seq <= :seq
"""
# What stands in these is all from here or from `question`: values are always bound.
ORDERED = "SELECT {} FROM ({}){}"
CONDITIONED = "SELECT {} FROM ({}) WHERE {}"
# What tasks are counted by, as columns.
GROUPED: dict[GroupBy, str] = {
    "error": "error",
    "node": "nodes",
    "name": "name",
    "hour": "(last_at + :base) / 3600000000",
}
# So many tasks at most are found by an index and then asked one by one. More are quicker gone
# through in the order of a short list; for a long one, in that of the file.
FEW, MANY, WINDOW = 20_000, 200_000, 20_000
GET_TAGS = "SELECT json FROM tags WHERE seq = ?"


class TaskQueries:
    """Asks a catalog's file; ``base`` is what its instants count from, ``end`` where it ends."""

    def __init__(self, store: Store, *, base: int, end: int) -> None:
        self._store = store
        self._base = base
        self._end = end
        functions: dict[str, Any] = {
            "is_in": is_in,
            "has_words": has_words,
            "has_tags": _has_tags(),
        }
        for name, function in functions.items():
            store.connection.create_scalar_function(name, function, 2, deterministic=True)

    def find(
        self,
        selector: Selector,
        at: Point,
        *,
        order: Order,
        limit: int | None,
        after: int | None,
    ) -> list[TaskRecord]:
        """The tasks that are meant, as they were at the point."""
        rows = self._rows(COLUMNS, selector, at, order=order, limit=limit, after=after)
        return [self._record(row, at) for row in rows]

    def numbers(self, selector: Selector, at: Point) -> list[tuple[int, int]]:
        """The tasks that are meant, with the position of the last event of each, by number."""
        columns = "number, coalesce(last_seq, since)"
        return self._rows(columns, selector, at, order="number", limit=None, after=None)

    def count(self, selector: Selector, at: Point) -> int:
        """How many tasks are meant."""
        question = self._question(selector, at)
        parts = self._parts("count(*) AS n", question, at, most=MANY, is_windowed=False)
        return sum(n for (n,) in self._store.rows(" UNION ALL ".join(parts), question.values))

    def tasks_once(self, selector: Selector, at: Point) -> set[int]:
        """The tasks that at some position up to a point were as a selector has it.

        That is those which have looked so behind an attempt; with an attempt's number, during it.
        """
        question = self._question(selector, at)
        where = " AND ".join(question.conditions) or "1"
        found: set[int] = set()
        for source in (EVER_NOW, EVER_PAST):
            statement = CONDITIONED.format("number", source, where)
            found.update(number for (number,) in self._store.rows(statement, question.values))
        return found

    def secret_names(self) -> frozenset[str]:
        """Names of tags that are secret of any task."""
        sets = self._store.rows(WORDS_OF, ("secret",))
        return frozenset(name for _, text in sets for name in msgspec.json.decode(text))

    def grouped(self, selector: Selector, at: Point, by: GroupBy) -> dict[str | int, int]:
        """How many tasks are meant by what they share; an hour is the number of it since 1970.

        A task is of each node that has leased it. What has none is under a hyphen.
        """
        question = self._question(selector, at)
        question.values["base"] = self._base
        parts = self._parts(
            f"{GROUPED[by]} AS part, count(*) AS n", question, at, most=MANY, is_windowed=False
        )
        statement = " UNION ALL ".join(f"{part} GROUP BY part" for part in parts)
        found: dict[str | int, int] = {}
        for part, n in self._store.rows(statement, question.values):
            for key in self._keys_of(by, part):
                found[key] = found.get(key, 0) + n
        return found

    def _keys_of(self, by: GroupBy, part: int | None) -> list[str] | list[int]:
        """Under what the tasks with this value are counted."""
        words = self._store.words
        if part is None:
            return ["-"]
        if by == "hour":
            return [part]
        if by == "error":
            return [words.error_of(part)[0]]
        text = words.text_of(part)
        return msgspec.json.decode(text, type=list[str]) if by == "node" else [text]

    def forks(self, seq: int) -> list[int]:
        """Under which numbers the looks at a position are filed."""
        return forks_around(seq, self._end)

    def _rows(
        self,
        columns: str,
        selector: Selector,
        at: Point,
        *,
        order: Order,
        limit: int | None,
        after: int | None,
    ) -> list[Any]:
        question = self._question(selector, at)
        if after is not None:
            question.conditions.append(BEHIND[order])
            question.values["after"] = after
        question.values["limit"] = -1 if limit is None else limit
        most = MANY if limit is None else FEW
        is_windowed = order == "-last" and limit is not None
        if is_windowed:
            # To look into tags takes longer, and words that are not rare come soon.
            question.values["window"] = WINDOW // 10 if question.words else WINDOW
        parts = self._parts(COLUMNS, question, at, most=most, is_windowed=is_windowed)
        rows = self._ordered(columns, parts, question, order)
        if limit is None or len(rows) >= limit or not parts[0].count(":window"):
            return rows
        # Those meant are too rare among the latest.
        parts = self._parts(COLUMNS, question, at, most=most, is_windowed=False)
        return self._ordered(columns, parts, question, order)

    def _ordered(
        self, columns: str, parts: list[str], question: Question, order: Order
    ) -> list[Any]:
        ending = f" ORDER BY {ORDERS[order]} LIMIT :limit"
        # Each part alone is in order, so that it need not be gone through to its end.
        found = " UNION ALL ".join(ORDERED.format("*", part + ending, "") for part in parts)
        return self._store.rows(ORDERED.format(columns, found, ending), question.values)

    def _question(self, selector: Selector, at: Point) -> Question:
        question = Question(self._store, selector, at, self._base)
        question.values |= {
            "seq": at.seq,
            "forks": msgspec.json.encode(self.forks(at.seq)).decode(),
            "past_codes": msgspec.json.encode(question.codes).decode(),
        }
        return question

    def _parts(
        self, columns: str, question: Question, at: Point, *, most: int, is_windowed: bool
    ) -> list[str]:
        """The statements that answer together; at the end of the catalog one is enough.

        ``is_windowed``: only the latest are looked at, where no index finds few.
        """
        now = NOW
        everywhere = list(question.conditions)
        tagged = question.tagged(most)
        if tagged is not None:
            everywhere.append("number IN (SELECT value FROM json_each(:tagged))")
            question.values["tagged"] = msgspec.json.encode(tagged).decode()
        here = list(everywhere)
        few = None if tagged is not None and len(tagged) <= most // 20 else question.few(most)
        if few is not None:
            here.append("number IN (SELECT value FROM json_each(:few))")
            question.values["few"] = msgspec.json.encode(few).decode()
        elif tagged is None and is_windowed:
            now = NOW_LATEST
        parts = [(now, here)]
        if at.seq < self._end:
            parts += [(FIRST, everywhere), (PAST, everywhere)]
        return [
            CONDITIONED.format(columns, source, " AND ".join(conditions) or "1")
            for source, conditions in parts
        ]

    def _record(self, row: tuple[Any, ...], at: Point) -> TaskRecord:
        """The record of a row, its columns as in COLUMNS."""
        (number, key, name, lane, created_at, flow, schedule, since, code) = row[:9]
        (priority, attempts, scheduled_at, ended_at, last_seq, last_at) = row[9:15]
        (error, nodes, people, waited, ran, lapses, refused, late, fence) = row[15:24]
        (tags_seq, secret) = row[24:]
        base, text_of = self._base, self._store.words.text_of
        made_at = base + created_at
        runs_at = made_at if scheduled_at is None else base + scheduled_at
        met = ("", "", "") if error is None else self._store.words.error_of(error)
        [(tags,)] = self._store.rows(GET_TAGS, (number if tags_seq is None else tags_seq,))
        return TaskRecord(
            number=number,
            key=str(number) if key is None else key,
            name=None if name is None else text_of(name),
            lane=DEFAULT_LANE if lane is None else text_of(lane),
            state=_state(code, due=runs_at <= at.at or runs_at == made_at),
            priority=priority or 0,
            tags_json=bytes(tags),
            attempts=attempts or 0,
            created_at=made_at,
            scheduled_at=runs_at,
            ended_at=_ended_at(code, base, ended_at, last_at),
            last_seq=since if last_seq is None else last_seq,
            last_at=base + last_at,
            error_type=None if error is None else met[0],
            error_message=met[1],
            error_place=met[2],
            nodes=() if nodes is None else tuple(msgspec.json.decode(text_of(nodes))),
            waited_us=waited,
            ran_us=ran,
            flow=flow,
            schedule=None if schedule is None else text_of(schedule),
            by=() if people is None else tuple(msgspec.json.decode(text_of(people))),
            lapses=lapses or 0,
            refused=refused or 0,
            ran_twice=has_run_twice(late, fence or 0),
            secret=() if secret is None else tuple(msgspec.json.decode(text_of(secret))),
        )


def _state(code: int, *, due: bool) -> TaskState:
    return TaskState.READY if code == SCHEDULED and due else STATES[code]


def _ended_at(code: int, base: int, ended_at: int | None, last_at: int) -> int | None:
    if code not in FINAL:
        return None
    return base + (last_at if ended_at is None else ended_at)


def _has_tags() -> Any:  # noqa: ANN401 - a function for SQL
    """`has_tags` for SQL, which is given what is wanted as text, the same for all rows."""
    known: dict[str, Any] = {}

    def has(tags_json: bytes, wanted: str) -> bool:
        if wanted not in known:
            known.clear()
            known[wanted] = msgspec.json.decode(wanted)
        return has_tags(tags_json, known[wanted])

    return has
