"""What a catalog counts: what happened by minute and hour, errors, attempts, actions by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from eventq.catalog.counts import (
    AskedChange,
    EndedAttempt,
    ErrorGroup,
    Span,
    SpanCounts,
    Times,
    WholeMinutes,
)
from eventq.catalog.minutes import MINUTE_US, MinuteCounts, decode_counts, percentile
from eventq.catalog.queries import TaskQueries
from eventq.catalog.schema import FAILED, STATES
from eventq.catalog.store import Store
from eventq.core.task import DEFAULT_LANE, TaskState, instant
from eventq.replay.points import Point

MINUTES: dict[Span, int] = {"minute": 1, "hour": 60}

GET_MINUTES = """
SELECT minute, counts FROM minutes
WHERE minute >= :since AND minute < :until AND (:name IS NULL OR name = :name)
ORDER BY minute
"""
GET_MOMENTS = "SELECT minute, seq FROM moments WHERE minute <= ? ORDER BY minute DESC LIMIT 2"
GET_MOMENT = "SELECT seq FROM moments WHERE minute < ? ORDER BY minute DESC LIMIT 1"
GET_ERRORS = """
SELECT words.text, errors.place, sum(n), sum(tasks), min(first_at), max(last_at), max(last_task),
    max(errors.message)
FROM (
    SELECT error, count(*) AS n, count(DISTINCT task) AS tasks, min(last_at) AS first_at,
        max(last_at) AS last_at, max(task) AS last_task
    FROM past INDEXED BY past_by_fork
    WHERE state = 3 AND from_seq <= :seq AND last_at >= :since AND last_at < :until
        AND (:lanes IS NULL OR EXISTS (
            SELECT 1 FROM tasks WHERE tasks.number = past.task
                AND coalesce(past.moved, tasks.lane, 0) IN (SELECT value FROM json_each(:lanes))
        ))
    GROUP BY error
) AS met
JOIN errors ON errors.id = met.error
JOIN words ON words.id = errors.type
GROUP BY words.text, errors.place
ORDER BY sum(n) DESC, words.text, errors.place
LIMIT :limit
"""
# A look of a leased task also ends, and another begins, where an outcome of an earlier lease comes.
GET_ATTEMPTS = """
SELECT past.rowid, past.task, past.fence, past.to_seq, past.last_at, words.text, past.attempts,
    past.became
FROM past NOT INDEXED LEFT JOIN words ON words.id = past.node
WHERE past.state = 2 AND past.became <> 2 AND past.to_seq <= :before
    AND (:node IS NULL OR words.text = :node) AND (:became IS NULL OR past.became = :became)
ORDER BY past.rowid DESC
LIMIT :limit
"""
# The look of a failure ends with the next event of its commit.
GET_MET = """
SELECT error FROM past WHERE rowid > ? AND task = ? AND from_seq = ? ORDER BY rowid LIMIT 1
"""
GET_CHANGES = """
SELECT seq, at, kind, task, by, reason, via, bulk, undoes FROM changes
WHERE seq < :before AND (:by IS NULL OR by = :by) AND (:bulk IS NULL OR bulk = :bulk)
    AND (:task IS NULL OR task = :task) AND (:parts OR bulk IS NULL)
    AND (:ways IS NULL OR coalesce(via, 'code') IN (SELECT value FROM json_each(:ways)))
ORDER BY seq DESC
LIMIT :limit
"""
# Parts of an undo of many name no event that they take back, but the change that they are of does.
GET_UNDONE = """
SELECT undoes, min(seq) FROM changes
WHERE undoes IN (SELECT value FROM json_each(:seqs)) AND bulk IS NULL AND seq <= :until
GROUP BY undoes
"""
COUNT_PARTS = "SELECT count(*) FROM changes WHERE bulk = ? AND seq <= ?"
OLDEST_NOW = """
SELECT min(coalesce(scheduled_at, created_at)) FROM tasks INDEXED BY tasks_by_state
WHERE state = 1 AND state <> 4 AND number <= :seq AND since <= :seq
    AND (scheduled_at IS NULL OR scheduled_at <= :now)
"""
OLDEST_FIRST = """
SELECT min(coalesce(first_scheduled_at, created_at)) FROM tasks INDEXED BY tasks_by_first_fork
WHERE first_fork IN (SELECT value FROM json_each(:forks)) AND number <= :seq AND first_to > :seq
    AND first_state IS NULL AND (first_scheduled_at IS NULL OR first_scheduled_at <= :now)
"""
OLDEST_PAST = """
SELECT min(coalesce(past.scheduled_at, tasks.created_at))
FROM past INDEXED BY past_by_fork CROSS JOIN tasks ON tasks.number = past.task
WHERE past.state = 1 AND past.fork IN (SELECT value FROM json_each(:forks))
    AND past.from_seq <= :seq AND past.to_seq > :seq
    AND (past.scheduled_at IS NULL OR past.scheduled_at <= :now)
"""


class Counting:
    """Asks a catalog's file for numbers; ``base`` is what its instants count from."""

    def __init__(self, store: Store, queries: TaskQueries, *, base: int) -> None:
        self._store = store
        self._queries = queries
        self._base = base

    def minutes(self, since: int, until: int, by: Span, name: str | None) -> list[SpanCounts]:
        """The minutes or hours in which anything happened, oldest first."""
        width, found = MINUTES[by], []
        for minute, counts in self._spans(since, until, by, name).items():
            end = minute + width
            point = Point(self.last_before(end * MINUTE_US), end * MINUTE_US)
            oldest = self.oldest_ready(point)
            found.append(self._span(minute, counts, oldest))
        return found

    def passed(self, at: Point, since: int, by: Span) -> WholeMinutes:
        """What happened since an instant, in minutes that had passed at a point."""
        until, seq = 0, 0
        moments = self._store.rows(GET_MOMENTS, (at.at // MINUTE_US,))
        if moments and moments[0][1] <= at.seq:
            until, seq = moments[0][0] + 1, moments[0][1]
        elif moments:
            # The point lies inside of this one.
            until, seq = moments[0][0], moments[1][1] if len(moments) > 1 else 0
        spans = self._spans(since, until * MINUTE_US, by, None)
        found = [self._span(minute, counts, None) for minute, counts in spans.items()]
        return WholeMinutes(found, until * MINUTE_US, seq)

    def errors(
        self, at: Point, since: int, until: int, limit: int, lanes: Collection[str] | None
    ) -> list[ErrorGroup]:
        """Failures by type and place, the most frequent first."""
        base = self._base
        values = {
            "seq": at.seq,
            "since": since - base,
            "until": until - base,
            "limit": limit,
            "lanes": None if lanes is None else self._lane_ids(lanes),
        }
        found = []
        for row in self._store.rows(GET_ERRORS, values):
            type_, place, failures, tasks, first_at, last_at, last_task, message = row
            first, last = instant(base + first_at), instant(base + last_at)
            found.append(ErrorGroup(type_, place, failures, tasks, first, last, last_task, message))
        return found

    def attempts(
        self, at: Point, *, node: str | None, became: TaskState | None, limit: int
    ) -> list[EndedAttempt]:
        """Attempts that were over at a point, the last that ended first."""
        code = None if became is None else STATES.index(became)
        values = {"before": at.seq, "node": node, "became": code, "limit": limit}
        found = []
        for rowid, task, fence, ended, started_at, worker, attempt, code in self._store.rows(
            GET_ATTEMPTS, values
        ):
            error, message = self._met(rowid, task, ended) if code == FAILED else (None, "")
            began = instant(self._base + started_at)
            state = STATES[code]
            found.append(
                EndedAttempt(
                    task, fence, ended, worker or "", attempt or 0, began, state, error, message
                )
            )
        return found

    def changes(
        self,
        *,
        by: str | None,
        bulk: int | None,
        task: int | None,
        ways: Iterable[str] | None,
        parts: bool,
        before: int,
        limit: int,
    ) -> list[AskedChange]:
        """What people and programs have asked for, the last first."""
        values = {
            "by": by,
            "bulk": bulk,
            "task": task,
            "ways": None if ways is None else msgspec.json.encode(list(ways)).decode(),
            "parts": parts,
            "before": before,
            "limit": limit,
        }
        return [
            AskedChange(seq, instant(self._base + at), *rest)
            for seq, at, *rest in self._store.rows(GET_CHANGES, values)
        ]

    def undone(self, seqs: Iterable[int], until: int) -> dict[int, int]:
        """Which of these changes were taken back up to a position, and by which event."""
        values = {"seqs": msgspec.json.encode(list(seqs)).decode(), "until": until}
        return dict(self._store.rows(GET_UNDONE, values))

    def parts(self, bulk: int, until: int) -> int:
        """How many tasks a change to many had changed up to a position."""
        [(count,)] = self._store.rows(COUNT_PARTS, (bulk, until))
        return int(count)

    def _lane_ids(self, lanes: Collection[str]) -> str:
        """The numbers of lanes as JSON; 0 is the usual lane of tasks that were made in it."""
        found = [self._store.words.find("lane", lane) or -1 for lane in lanes]
        if DEFAULT_LANE in lanes:
            found.append(0)
        return msgspec.json.encode(found).decode()

    def oldest_ready(self, at: Point) -> int | None:
        """For how long the oldest task that was ready at a point had been; None without one."""
        values = {
            "seq": at.seq,
            "now": at.at - self._base,
            "forks": msgspec.json.encode(self._queries.forks(at.seq)).decode(),
        }
        statements = (OLDEST_NOW, OLDEST_FIRST, OLDEST_PAST)
        rows = [self._store.rows(statement, values)[0][0] for statement in statements]
        since = min((each for each in rows if each is not None), default=None)
        return None if since is None else max(0, at.at - self._base - since)

    def last_before(self, at: int) -> int:
        """The last position in the minutes before an instant; 0 without one."""
        rows = self._store.rows(GET_MOMENT, (at // MINUTE_US,))
        return int(rows[0][0]) if rows else 0

    def _spans(self, since: int, until: int, by: Span, name: str | None) -> dict[int, MinuteCounts]:
        """The counts of each minute or hour, by the minute it begins with."""
        width = MINUTES[by]
        first = since // MINUTE_US // width * width
        name_id = None if name is None else self._store.words.find("name", name) or -1
        values = {"since": first, "until": -(-until // MINUTE_US), "name": name_id}
        spans: dict[int, MinuteCounts] = {}
        for minute, data in self._store.rows(GET_MINUTES, values):
            counts = spans.setdefault(minute // width * width, MinuteCounts())
            counts.add(decode_counts(data))
        return spans

    @staticmethod
    def _span(minute: int, counts: MinuteCounts, oldest_ready_us: int | None) -> SpanCounts:
        return SpanCounts(
            instant(minute * MINUTE_US),
            counts.created,
            counts.started,
            counts.completed,
            counts.expired,
            counts.cancelled,
            counts.failed,
            counts.retried,
            _times(counts.waits),
            _times(counts.runs),
            oldest_ready_us,
        )

    def _met(self, rowid: int, task: int, seq: int) -> tuple[str | None, str]:
        rows: list[Any] = self._store.rows(GET_MET, (rowid, task, seq))
        if not rows or rows[0][0] is None:
            return None, ""
        type_, message, _ = self._store.words.error_of(rows[0][0])
        return type_, message


def _times(spread: dict[int, int]) -> Times:
    shares = (percentile(spread, share) for share in (0.5, 0.95, 0.99))
    return Times(sum(spread.values()), *shares)
