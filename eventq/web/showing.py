"""What leaves the console of what users wrote: each value goes through a `Veil`, with no exception.

It hides the tags that are secret, wherever their values stand, and all values from those who may
not see any. Text is made safe to look at here too: no direction marks, no control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from eventq.core.queue_events import Shared
from eventq.core.task import Task
from eventq.core.validation import check_tag_name
from eventq.core.values import ErrorInfo, ExpiryReason, Scope
from eventq.replay.rule_words import turn_words
from eventq.web.access import Person, Right
from eventq.web.secret_texts import HIDDEN, forms_of, without

# What holds values in an event's body, by its field there.
VALUE_FIELDS = frozenset(
    {"result", "value", "saved", "error", "last_error", "lines", "note", "reason"}
    | {"unique", "share", "limits"}
)
EXPIRY_REASONS = frozenset(get_args(ExpiryReason))


class Veil:
    """What one person does not see. ``redact`` are names of tags that nobody sees."""

    def __init__(self, person: Person, redact: frozenset[str]) -> None:
        self.redact = redact
        self.hides_values = not person.may(Right.VALUES)
        self.lanes = person.lanes
        """The lanes whose tasks are seen; None: all."""

    @property
    def key(self) -> tuple[object, ...]:
        """Persons whose veils have equal keys see the same."""
        return self.hides_values, self.lanes

    @property
    def hides_some(self) -> bool:
        """Whether any values are hidden, so that what may be one of them is."""
        return self.hides_values or bool(self.redact)

    def secrets_in(self, value: object) -> frozenset[str]:
        """Names of secret tags in a JSON value, however deep."""
        if isinstance(value, dict):
            inner = (self.secrets_in(each) for each in value.values())
            return (self.redact & value.keys()).union(*inner)
        if isinstance(value, list):
            return frozenset().union(*map(self.secrets_in, value))
        return frozenset()

    def sees(self, lane: str) -> bool:
        """Whether tasks of a lane are seen, one by one and in counts."""
        return self.lanes is None or lane in self.lanes

    def seen_of(self, tasks: Iterable[Task]) -> list[Task]:
        """Those of the tasks that are seen."""
        if self.lanes is None:
            return list(tasks)
        return [task for task in tasks if task.lane in self.lanes]

    def reason(self, text: str) -> str:
        """Why somebody did something, as they wrote it."""
        return HIDDEN if text and self.hides_values else text

    def tags(self, tags: object) -> Any:  # noqa: ANN401 - JSON as it is shown
        """Tags as they are shown."""
        if not isinstance(tags, dict):
            # No eventq wrote these.
            return HIDDEN if self.hides_some else tags
        return {
            name: HIDDEN if self.hides_values or name in self.redact else value
            for name, value in tags.items()
        }

    def of_tags(self, texts: Iterable[bytes]) -> TaskVeil:
        """What is shown of what else was said about a task that has had all these tags."""
        return TaskVeil(self, texts)

    def of_scope(self, scope: Scope) -> TaskVeil:
        """What is shown of what was said about a pause."""
        tags = {name: Raw(text.encode()) for name, text in scope.tags}
        return TaskVeil(self, [msgspec.json.encode(tags)])

    def bucket(self, value: str | None) -> str | None:
        """The value that a limit is counted by: any tag's, or a text that holds one's."""
        return HIDDEN if value is not None and self.hides_some else value

    def scope(self, scope: Scope) -> Scope:
        """What a pause is about."""
        hides = self.hides_values
        tags = [(n, HIDDEN if hides or n in self.redact else text) for n, text in scope.tags]
        return replace(scope, tags=tuple(tags), value=self.bucket(scope.value))

    def turns(self, said: Shared) -> str:
        """Whose turn it is: the shares that have a weight are values."""
        return turn_words(replace(said, weights={}) if self.hides_some else said)


class TaskVeil:
    """What is shown of results, errors and log lines of one task, whose secret values it knows."""

    def __init__(self, veil: Veil, texts: Iterable[bytes]) -> None:
        self._veil = veil
        found: set[str] = set()
        for text in texts if veil.redact else ():
            found.update(_secrets(msgspec.json.decode(text), veil.redact))
        # The longest first: one may stand in another.
        self._secrets = sorted(found, key=len, reverse=True)

    def key(self, key: str, number: int) -> str:
        """What the task is called: by its number where its key holds what is secret."""
        return str(number) if any(secret in key for secret in self._secrets) else key

    def tags(self, tags: object) -> Any:  # noqa: ANN401 - JSON as it is shown
        """Tags, without what is secret in the others."""
        return self._cleared(self._veil.tags(tags))

    def text(self, text: str) -> str:
        """A message, a traceback or a line."""
        if self._veil.hides_values:
            return HIDDEN if text else text
        return without(text, self._secrets)

    def words(self, text: str, said: Iterable[str] = ()) -> str:
        """A sentence of ours, in which names and values may stand.

        Those who see no values see it without what was ``said`` in it.
        """
        if self._veil.hides_values:
            for each in sorted(said, key=len, reverse=True):
                text = text.replace(each, HIDDEN) if each else text
        return without(text, self._secrets)

    def value(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        """A result, or what an attempt saved."""
        if self._veil.hides_values:
            return None if value is None else HIDDEN
        return self._cleared(value)

    def error(self, error: ErrorInfo | None) -> ErrorInfo | None:
        """An error; its type is no value."""
        if error is None:
            return None
        return ErrorInfo(error.type, self.text(error.message), self.text(error.traceback))

    def body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """An event's body, as the log has it."""
        shown: dict[str, Any] = {}
        for name, value in body.items():
            if name == "tags":
                shown[name] = self.tags(value)
            elif self._veil.hides_values and is_value(name, value):
                shown[name] = HIDDEN
            elif isinstance(value, dict):
                shown[self.words(name)] = self.body(value)
            else:
                shown[self.words(name)] = self._cleared(value)
        return shown

    def _cleared(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, str):
            return self.words(value)
        if isinstance(value, dict):
            redact = self._veil.redact
            return {
                self.words(n): HIDDEN if n in redact else self._cleared(v) for n, v in value.items()
            }
        if isinstance(value, list):
            return [self._cleared(each) for each in value]
        return value


def is_value(name: str, value: object) -> bool:
    """Whether a field of an event holds what users wrote."""
    # Why a task expired is a word of ours.
    return name in VALUE_FIELDS and not (name == "reason" and value in EXPIRY_REASONS)


def check_redact(names: Iterable[str]) -> frozenset[str]:
    """Names of tags that nobody is to see. Raises ArgumentError."""
    found = frozenset(names)
    for name in found:
        check_tag_name(name)
    return found


def _secrets(tags: object, names: frozenset[str]) -> Iterable[str]:
    if isinstance(tags, dict):
        for name in names & tags.keys():
            yield from forms_of(tags[name])


def safe_text(text: str) -> str:
    r"""The text with each character that cannot be seen escaped, but for line ends and tabs.

    >>> safe_text("a\x1b[31m\n\u202e")
    'a\\x1b[31m\n\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def json_tree(text: bytes | Raw | None) -> Any:  # noqa: ANN401 - any JSON value
    """The value of JSON text; None without any."""
    return None if text is None else msgspec.json.decode(text)
