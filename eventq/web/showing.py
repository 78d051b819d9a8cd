"""What leaves the console of what users wrote: each value goes through a `Veil`, with no exception.

It hides the tags that are secret, of all tasks or of one, wherever their values stand, and all
values from those who may not see any. Text is made safe to look at here too: no direction marks, no
control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, get_args

import msgspec
from msgspec import Raw

from eventq.core.task import Task
from eventq.core.validation import check_tag_name
from eventq.core.values import ErrorInfo, ExpiryReason
from eventq.handlers.secret_texts import forms_of, without
from eventq.web.access import Person, Right

HIDDEN = "(hidden)"
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

    def secrets_in(self, value: object, secret: AbstractSet[str] = frozenset()) -> frozenset[str]:
        """Names of secret tags in a JSON value, however deep; those of one task may be hidden."""
        if isinstance(value, dict):
            own = {name for name in secret & value.keys() if value[name] != HIDDEN}
            inner = (self.secrets_in(each, secret) for each in value.values())
            return (self.redact & value.keys()).union(own, *inner)
        if isinstance(value, list):
            return frozenset().union(*(self.secrets_in(each, secret) for each in value))
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

    def tags(self, tags: object, secret: AbstractSet[str] = frozenset()) -> Any:  # noqa: ANN401 - JSON
        """Tags as they are shown, of a task that has secret ones of its own."""
        if not isinstance(tags, dict):
            # No eventq wrote these.
            return HIDDEN if self.hides_some or secret else tags
        return {
            name: HIDDEN if self.hides_values or name in self.redact or name in secret else value
            for name, value in tags.items()
        }

    def of_tags(self, texts: Iterable[bytes], secret: Iterable[str] = ()) -> TaskVeil:
        """What is shown of what else was said about a task that has had all these tags."""
        return TaskVeil(self, texts, frozenset(secret))

    def of_archived(self, secret: Iterable[str]) -> TaskVeil:
        """The same of a task whose secret tags are not known any more: none of its values."""
        return TaskVeil(self, (), frozenset(secret), hides_values=True)


class TaskVeil:
    """What is shown of results, errors and log lines of one task, whose secret values it knows."""

    def __init__(
        self,
        veil: Veil,
        texts: Iterable[bytes],
        secret: frozenset[str] = frozenset(),
        *,
        hides_values: bool = False,
    ) -> None:
        self._veil = veil
        self._own = secret
        self._names = names = veil.redact | secret
        self._hides_values = veil.hides_values or hides_values
        self._is_archived = hides_values
        held: set[str] = set(secret if hides_values else ())
        found: set[str] = set()
        for text in texts if names else ():
            tags = msgspec.json.decode(text)
            if isinstance(tags, dict):
                held.update(secret & tags.keys())
                for name in names & tags.keys():
                    found.update(forms_of(tags[name]))
        self._held = held
        # The longest first: one may stand in another.
        self._secrets = sorted(found, key=len, reverse=True)

    def key(self, key: str, number: int) -> str:
        """What the task is called: by its number where its key holds what is secret."""
        hides = self._is_archived or any(secret in key for secret in self._secrets)
        return str(number) if hides else key

    def tags(self, tags: object) -> Any:  # noqa: ANN401 - JSON as it is shown
        """Tags, without what is secret in the others."""
        secret: AbstractSet[str] = self._own
        if self._is_archived and isinstance(tags, dict):
            secret = tags.keys()
        return self._cleared(self._veil.tags(tags, secret))

    def all_tags(self, tags: object) -> Any:  # noqa: ANN401 - JSON as it is shown
        """The same, with the names of those that are left out of ``tags`` since they are secret."""
        left = dict.fromkeys(sorted(self._held), HIDDEN)
        return self.tags({**left, **tags} if isinstance(tags, dict) else tags)

    def text(self, text: str) -> str:
        """A message, a traceback or a line."""
        if self._hides_values:
            return HIDDEN if text else text
        return without(text, self._secrets, HIDDEN)

    def words(self, text: str, said: Iterable[str] = ()) -> str:
        """A sentence of ours, in which names and values may stand.

        Those who see no values see it without what was ``said`` in it.
        """
        if self._hides_values:
            for each in sorted(said, key=len, reverse=True):
                text = text.replace(each, HIDDEN) if each else text
        return without(text, self._secrets, HIDDEN)

    def value(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        """A result, or what an attempt saved."""
        if self._hides_values:
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
            elif self._hides_values and is_value(name, value):
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
            names = self._names
            return {
                self.words(n): HIDDEN if n in names else self._cleared(v) for n, v in value.items()
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
