"""Which task is meant by an address, and what tasks are called on pages.

An address names a task by its key or its number. A key that holds what is secret is shown nowhere,
and finds nothing: whoever could try keys could find out what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import UNSET

from eventq.audit.lookup import read_history
from eventq.core.commits import Event
from eventq.core.events import Created, Retried, Updated
from eventq.core.task import Task
from eventq.errors import EventqError, TaskNotFoundError, shown
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import decode_histories
from eventq.replay.points import Point
from eventq.web.showing import TaskVeil, Veil


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
    number = history[0].task
    return veil.of_tags(tag_texts(history)).key(key, number) != key


def tag_texts(history: list[Event]) -> Iterable[bytes]:
    """All tags that a task has ever had."""
    for event in history:
        body = event.body
        if isinstance(body, Created | Updated) and body.tags is not UNSET:
            yield bytes(body.tags)
        elif isinstance(body, Retried) and body.reopens is not None:
            yield bytes(body.reopens.tags)


def veils_of(log: EventLog, tags: Mapping[int, bytes], veil: Veil) -> Callable[[int], TaskVeil]:
    """What is shown of each task, by number: where tags are secret, of all that it ever had.

    ``tags`` are those of each as they are now, which a log that is archived may still tell.
    """
    if not veil.redact:
        plain = veil.of_tags(())
        return lambda _number: plain
    histories = decode_histories(log.histories(list(tags)))
    texts = {number: list(tag_texts(history)) for number, history in histories.items()}
    return lambda number: veil.of_tags([tags[number], *texts.get(number, ())])


def tags_of(tasks: Iterable[Task]) -> dict[int, bytes]:
    """The tags of tasks as they are now, by number."""
    return {task.number: task.tags_json for task in tasks}


def names_for(
    log: EventLog, texts: Iterable[str], tasks: Iterable[Task], veil: Veil
) -> Mapping[str, str]:
    """What stands for those of the tasks' keys in the texts that are not shown."""
    if not veil.redact:
        return {}
    said = "\0".join(texts)
    found = [task for task in tasks if task.key in said]
    hidden = veils_of(log, tags_of(found), veil)
    names = {task.key: hidden(task.number).key(task.key, task.number) for task in found}
    return {key: name for key, name in names.items() if name != key}


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A text with names in the place of keys; the longest first, since one may hold another."""
    for key in sorted(names, key=len, reverse=True):
        text = text.replace(key, names[key])
    return text


def told_error(log: EventLog, error: EventqError, text: str, veil: Veil) -> str:
    """What is told of an error, without a key that is not shown."""
    for name in ("key", "holder", "known_as"):
        key = getattr(error, name, None)
        if not veil.redact or not isinstance(key, str):
            continue
        try:
            history = read_history(log, key)
        except EventqError:
            continue
        if hides_key(history, key, veil):
            text = text.replace(shown(key), str(history[0].task))
    return text


def _by_number(log: EventLog, word: str, key: str, point: Point | None) -> list[Event]:
    try:
        return read_history(log, key, point)
    except TaskNotFoundError as error:
        seq, at = error.created_seq, error.created_at
        raise TaskNotFoundError(word, created_seq=seq, created_at=at) from None
