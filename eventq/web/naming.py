"""Which task is meant by an address, and what tasks are called on pages.

An address names a task by its key or its number. A key that holds what is secret is shown nowhere,
and finds nothing: whoever could try keys could find out what they hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
from msgspec import UNSET

from eventq.audit.lookup import read_history
from eventq.catalog.record import TaskRecord
from eventq.core.commits import Event
from eventq.core.events import Created, Reopening, Retried, Updated
from eventq.core.moves import fold_events
from eventq.core.task import Task
from eventq.errors import EventqError, TaskNotFoundError, shown
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import decode_histories
from eventq.replay.points import Point
from eventq.web.showing import TaskVeil, Veil

AnyTask = Task | TaskRecord
"""A record has no tags that are secret; it names them."""
SaidTags = tuple[bytes, tuple[str, ...]]


def find_history(log: EventLog, word: str, veil: Veil, point: Point | None = None) -> list[Event]:
    """The events of the task that an address names, up to a point; by index.

    Raises TaskNotFoundError, also for a key that is not shown to this person.
    """
    try:
        history = read_history(log, word, point)
    except TaskNotFoundError as error:
        if error.known_as is None:
            raise
        # It was asked for by its number, and has a key.
        return _by_number(log, word, error.known_as, point)
    created = history[0].body
    assert isinstance(created, Created), "a history begins so"
    if created.key and hides_key(history, created.key, veil):
        raise TaskNotFoundError(word)
    return history


def key_in(history: list[Event]) -> str:
    """The key of the task whose history this is, as the log has it."""
    created = history[0].body
    assert isinstance(created, Created), "a history begins so"
    return created.key or str(history[0].task)


def hides_key(history: list[Event], key: str, veil: Veil) -> bool:
    """Whether a task's key holds what is secret."""
    return veil_of(history, veil).key(key, history[0].task) != key


def veil_of(history: list[Event], veil: Veil) -> TaskVeil:
    """What is shown of a task: none of the values that its secret tags have ever had."""
    said = list(_tags_in(history))
    return veil.of_tags(*_joined(said))


def veils_of(
    log: EventLog, tasks: Mapping[int, AnyTask | None], veil: Veil
) -> Callable[[int], TaskVeil]:
    """What is shown of each task, by number: where tags are secret, of all that it ever had.

    ``tasks`` are as they are now, which a log that is archived may still tell; None: not known.
    """
    plain = veil.of_tags(())
    asked = [n for n, task in tasks.items() if veil.redact or task is None or task.secret]
    histories = decode_histories(log.histories(asked)) if asked else {}
    found = {n: _veil_by(tasks[n], histories.get(n, []), veil) for n in asked}
    return lambda number: found.get(number, plain)


def by_number(tasks: Iterable[AnyTask]) -> dict[int, AnyTask | None]:
    """Tasks by their numbers."""
    return {task.number: task for task in tasks}


def names_for(
    log: EventLog, texts: Iterable[str], tasks: Iterable[Task], veil: Veil
) -> Mapping[str, str]:
    """What stands for those of the tasks' keys in the texts that are not shown."""
    said = "\0".join(texts)
    told = [task for task in tasks if task.key in said]
    found = [task for task in told if veil.redact or task.secret]
    hidden = veils_of(log, by_number(found), veil)
    names = {task.key: hidden(task.number).key(task.key, task.number) for task in found}
    for task in told:
        if not veil.sees(task.lane):
            # Such a task is named with its handler, too.
            names |= dict.fromkeys([task.key, f"{task.key} ({task.name})"], str(task.number))
    return {key: name for key, name in names.items() if name != key}


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A text with names in the place of keys; the longest first, since one may hold another."""
    for key in sorted(names, key=len, reverse=True):
        # A short key may be a part of our words.
        text = re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", names[key], text)
    return text


def told_error(log: EventLog, error: EventqError, text: str, veil: Veil) -> str:
    """What is told of an error, without a key that is not shown."""
    for name in ("key", "holder", "known_as"):
        key = getattr(error, name, None)
        if not isinstance(key, str):
            continue
        try:
            history = read_history(log, key)
        except EventqError:
            continue
        task = fold_events(log.namespace, history)
        if hides_key(history, key, veil) or (task is not None and not veil.sees(task.lane)):
            text = text.replace(shown(key), str(history[0].task))
    return text


def _by_number(log: EventLog, word: str, key: str, point: Point | None) -> list[Event]:
    try:
        return read_history(log, key, point)
    except TaskNotFoundError as error:
        seq, at = error.created_seq, error.created_at
        raise TaskNotFoundError(word, created_seq=seq, created_at=at) from None


def _tags_in(history: list[Event]) -> Iterator[SaidTags]:
    """All tags that a task has ever had, each time with the names of those that are secret."""
    for event in history:
        body = event.body
        content = body.reopens if isinstance(body, Retried) else body
        if isinstance(content, Created | Updated | Reopening) and content.tags is not UNSET:
            yield bytes(content.tags), content.secret


def _joined(said: list[SaidTags]) -> tuple[list[bytes], set[str]]:
    return [tags for tags, _ in said], {name for _, secret in said for name in secret}


def _veil_by(task: AnyTask | None, history: list[Event], veil: Veil) -> TaskVeil:
    said = list(_tags_in(history))
    if task is not None:
        said.append((task.tags_json, task.secret))
    texts, secret = _joined(said)
    if history and isinstance(history[0].body, Created):
        return veil.of_tags(texts, secret)
    # What its tags were before is archived.
    if task is None or secret or veil.secrets_in([msgspec.json.decode(each) for each in texts]):
        return veil.of_archived(secret)
    return veil.of_tags(texts)
