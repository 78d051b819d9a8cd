"""The page of changes: what people and programs asked for up to a moment, and what was taken back.

A change to many tasks is one change here. Without a catalog the last part of the log is read.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventq.catalog.bulks import find_event
from eventq.catalog.by_hand import was_asked_for
from eventq.catalog.counts import AskedChange
from eventq.catalog.passing import records_of
from eventq.core.commits import Commit, decode_at, time_of
from eventq.core.events import Asked
from eventq.core.queue_events import (
    Bulk,
    Limited,
    Paused,
    Planned,
    Resumed,
    Shared,
    Ticked,
    Unfollowed,
    Unplanned,
)
from eventq.core.task import instant
from eventq.core.values import NODE
from eventq.errors import ArgumentError, LogArchivedError
from eventq.replay.fold import commits_back, stored_kind
from eventq.replay.points import Point
from eventq.replay.rule_words import limit_words, scope_words
from eventq.web.kept_catalog import CatalogLackingError
from eventq.web.naming import by_number, veils_of
from eventq.web.rule_veil import RuleVeil, rule_veil
from eventq.web.showing import HIDDEN, TaskVeil, Veil
from eventq.web.sight import Sight

if TYPE_CHECKING:
    from eventq.catalog.catalog import Catalog

ROWS = 50
MOST_ROWS = 1_000
# So much of a log is looked through where there is no catalog.
BACK_EVENTS = 20_000
# What a name that was given is worth, by the way it came.
PROOFS: dict[str, str] = {
    "login": "authenticated",
    "console": "claimed",
    "cli": "claimed",
    "code": "program",
}
OF_TASKS = frozenset({"cancelled", "retried", "updated"})


class ChangesQuestion(Struct, frozen=True):
    """Which changes; what is empty is not asked."""

    by: str = ""
    proof: str = ""
    """``authenticated``, ``claimed`` or ``program``: what the names are worth."""
    task: int | None = None
    bulk: int | None = None
    """The parts of this change to many tasks."""
    parts: bool = False
    """Whether each task of a change to many is told, too."""
    before: int | None = None
    """Go on with what was before this position."""
    limit: int = ROWS


class ManyRow(Struct, frozen=True):
    """A change to many tasks."""

    action: str
    count: int
    """Tasks that it is about."""
    changed: int | None
    """Those that it had changed; None where only a catalog can tell."""
    selector: str


class ChangeRow(Struct, frozen=True):
    """One thing that somebody asked for."""

    seq: int
    at: datetime
    kind: str
    what: str
    """In words."""
    key: str | None
    number: int
    """Of its task; 0 for what is about the whole queue."""
    by: str | None
    via: str
    proof: str
    reason: str
    bulk: int | None
    many: ManyRow | None
    undoes: int | None
    undone_by: int | None
    is_undoable: bool
    """Whether something of its kind can be taken back, as long as nothing has moved on."""


class ChangesModel(Struct, frozen=True):
    """What somebody asked for up to a moment, the last first."""

    seq: int
    at: datetime
    rows: list[ChangeRow]
    more: int | None
    """Before which position to go on; None where there is no more."""
    lack: str | None
    """Why not all may be there; None where the catalog has answered."""


class ChangesFound(Struct, frozen=True):
    """Changes as they were found, and what became of them."""

    changes: list[AskedChange]
    undone: dict[int, int]
    parts: dict[int, int]


class ToldChange(Struct, frozen=True):
    """A change in words."""

    what: str
    hidden: TaskVeil
    """What is shown of the words that go with it, where it is of no task."""
    many: ManyRow | None = None
    is_seen: bool = True


def changes_model(sight: Sight, question: ChangesQuestion, veil: Veil) -> ChangesModel:
    """What somebody asked for up to a moment. Raises ArgumentError, SlowQuestionError."""
    limit = question.limit
    if not 1 <= limit <= MOST_ROWS:
        raise ArgumentError("limit", limit, f"1 to {MOST_ROWS}")
    if question.proof not in {"", *PROOFS.values()}:
        raise ArgumentError("proof", question.proof, "authenticated, claimed or program")
    lack = None
    try:
        found = sight.asked(lambda catalog, point: _ask(catalog, point, question, limit + 1))
    except CatalogLackingError as error:
        lack = str(error)
        found = _from_log(sight, question, limit + 1)
    shown = found.changes[:limit]
    more = shown[-1].seq if len(found.changes) > limit else None
    rows = change_rows(sight, replace(found, changes=shown), veil)
    return ChangesModel(sight.seq, instant(sight.at), rows, more, lack)


def change_rows(sight: Sight, found: ChangesFound, veil: Veil) -> list[ChangeRow]:
    """Changes as they are shown, but for those of tasks that are not theirs to see."""
    numbers = {each.task: None for each in found.changes if each.task != NODE}
    records = {each.number: each for each in records_of(sight.log, numbers, sight.point)}
    hidden = veils_of(sight.log, by_number(records.values()), veil)
    rules = rule_veil(sight, veil)
    rows = []
    for each in found.changes:
        record = records.get(each.task)
        if record is None and each.task != NODE and veil.lanes is not None:
            continue
        if record is not None and not veil.sees(record.lane):
            continue
        told = _told(sight, each, found, rules)
        shown = told.hidden if record is None else hidden(record.number)
        if told.is_seen:
            rows.append(
                ChangeRow(
                    seq=each.seq,
                    at=each.at,
                    kind=each.kind,
                    what=told.what,
                    key=None if record is None else shown.key(record.key, record.number),
                    number=each.task,
                    by=each.by,
                    via=each.via or "code",
                    proof=PROOFS[each.via or "code"],
                    reason=shown.text(each.reason),
                    bulk=each.bulk,
                    many=told.many,
                    undoes=each.undoes,
                    undone_by=found.undone.get(each.seq),
                    is_undoable=each.bulk is None and each.kind not in {"ticked", "unfollowed"},
                )
            )
    return rows


def _ask(catalog: Catalog, point: Point, question: ChangesQuestion, limit: int) -> ChangesFound:
    before = point.seq + 1 if question.before is None else min(point.seq + 1, question.before)
    changes = catalog.changes(
        by=question.by or None,
        bulk=question.bulk,
        task=question.task,
        ways=_ways(question.proof),
        parts=_wants_parts(question),
        before=before,
        limit=limit,
    )
    undone = catalog.undone([each.seq for each in changes], point.seq)
    many = [each.seq for each in changes if each.kind == "bulk"]
    return ChangesFound(changes, undone, {seq: catalog.parts(seq, point.seq) for seq in many})


def _wants_parts(question: ChangesQuestion) -> bool:
    return question.parts or question.bulk is not None or question.task is not None


def _ways(proof: str) -> list[str] | None:
    return [way for way, found in PROOFS.items() if found == proof] if proof else None


def _from_log(sight: Sight, question: ChangesQuestion, limit: int) -> ChangesFound:
    """The last changes, as far as a look at the end of the log finds them."""
    ways, wants_parts = _ways(question.proof), _wants_parts(question)
    until = sight.seq if question.before is None else min(sight.seq, question.before - 1)
    changes: list[AskedChange] = []
    undone: dict[int, int] = {}
    for seq, at, number, body in _asked_back(sight, until):
        if body.undoes is not None and body.bulk is None:
            undone[body.undoes] = seq
        fits = (
            (not question.by or body.by == question.by)
            and (ways is None or body.via in ways)
            and (question.task is None or number == question.task)
            and (question.bulk is None or body.bulk == question.bulk)
            and (wants_parts or body.bulk is None)
        )
        if fits:
            said = (body.kind, number, body.by, body.reason, body.via, body.bulk, body.undoes)
            changes.append(AskedChange(seq, instant(at), *said))
        if len(changes) >= limit:
            break
    return ChangesFound(changes, undone, {})


def _asked_back(sight: Sight, until: int) -> list[tuple[int, int, int, Asked]]:
    """What a person asked for in the last part of the log: position, instant, task and body."""
    found: list[tuple[int, int, int, Asked]] = []
    with suppress(LogArchivedError):
        for commit in commits_back(sight.log, until=until, after=max(0, until - BACK_EVENTS)):
            for seq in range(min(commit.last, until), commit.first - 1, -1):
                place = seq - commit.first
                number = commit.tasks[place]
                if number != NODE and not _may_be_by_hand(commit, place):
                    continue
                [body] = decode_at(seq, [commit.bodies[place]])
                if not isinstance(body, Asked):
                    continue
                if was_asked_for(body) if number == NODE else body.by is not None:
                    found.append((seq, time_of(commit.at, body), number, body))
    return found


def _may_be_by_hand(commit: Commit, place: int) -> bool:
    """Whether an event about a task may be more than what became of its attempt."""
    if stored_kind(commit.bodies[place]) not in OF_TASKS:
        return False
    is_behind = place > 0 and commit.tasks[place - 1] == commit.tasks[place]
    return not (is_behind and stored_kind(commit.bodies[place - 1]) == "failed")


def _told(sight: Sight, change: AskedChange, found: ChangesFound, rules: RuleVeil) -> ToldChange:
    veil = rules.veil
    plain = veil.of_tags(())
    if change.task != NODE:
        return ToldChange(change.kind, plain)
    try:
        _, _, body = find_event(sight.log, change.seq)
    except (ArgumentError, LogArchivedError):
        return ToldChange(f"{change.kind} (archived)", plain, is_seen=veil.lanes is None)
    if isinstance(body, Bulk):
        selector = "" if not body.selector else bytes(body.selector).decode()
        tags = _selected_tags(selector)
        shows = not veil.hides_some and rules.names.isdisjoint(tags)
        many = ManyRow(
            body.action,
            body.count,
            found.parts.get(change.seq),
            selector if shows else HIDDEN if selector else "",
        )
        tasks = "task" if body.count == 1 else "tasks"
        own = veil.of_tags([msgspec.json.encode(tags)], rules.names)
        what = f"{body.action} {body.count:,} {tasks}"
        return ToldChange(what, own, many, is_seen=veil.lanes is None)
    own = rules.about(body.scope) if isinstance(body, Paused | Resumed) else plain
    is_seen = _is_seen(sight, change.seq, body, veil)
    return ToldChange(_rule_words(body, rules), own, is_seen=is_seen)


def _selected_tags(selector: str) -> dict[str, Any]:
    """The tags that a change to many was about."""
    said = msgspec.json.decode(selector) if selector.startswith("{") else {}
    tags: dict[str, Any] = said.get("tags", {})
    return tags


def _is_seen(sight: Sight, seq: int, body: object, veil: Veil) -> bool:
    """Whether a rule is of a lane that is theirs to see; one of no lane is everybody's."""
    if veil.lanes is None:
        return True
    if isinstance(body, Paused | Resumed):
        return body.scope.lane is None or veil.sees(body.scope.lane)
    if isinstance(body, Planned):
        return veil.sees(body.call.lane or "default")
    if isinstance(body, Ticked):
        # What it has made stands right behind it.
        [*made] = records_of(sight.log, {seq + 1: None}, sight.point)
        return body.outcome == "made" and any(veil.sees(each.lane) for each in made)
    return not isinstance(body, Unplanned)


def _rule_words(body: object, rules: RuleVeil) -> str:
    """What was said of who may run when, in words."""
    words = _WORDS.get(type(body))
    return str(getattr(body, "kind", "changed")) if words is None else words(body, rules)


def _pause_words(body: Any, rules: RuleVeil) -> str:  # noqa: ANN401 - Paused or Resumed
    return f"{body.kind} {scope_words(rules.scope(body.scope))}"


_WORDS: dict[type, Callable[[Any, RuleVeil], str]] = {
    Paused: _pause_words,
    Resumed: _pause_words,
    Limited: lambda body, _: limit_words(body),
    Shared: lambda body, rules: rules.turns(body),
    Planned: lambda body, _: f"schedule {body.schedule} {'paused' if body.paused else 'set'}",
    Unplanned: lambda body, _: f"schedule {body.schedule} removed",
    Ticked: lambda body, _: f"schedule {body.schedule}: {body.hand or body.outcome}",
    Unfollowed: lambda body, _: f"follower {body.follower} dropped",
}
