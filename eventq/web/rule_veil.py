"""What is shown of limits, pauses and turns, whose values may be those of tags that are secret.

Which task a value has come from is not asked: a limit, or a tag, is secret with any task for which
it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from eventq.core.projection import Projection
from eventq.core.queue_events import Shared
from eventq.core.values import Scope
from eventq.replay.rule_words import turn_words
from eventq.web.kept_catalog import CatalogLackingError, SlowQuestionError
from eventq.web.showing import HIDDEN, TaskVeil, Veil
from eventq.web.sight import Sight


class Secrets(Struct, frozen=True):
    """What is secret of some task."""

    names: frozenset[str] = frozenset()
    """Of tags."""
    limits: frozenset[str] | None = frozenset()
    """In which such tasks take a place; None: not known, so that it may be any."""

    def join(self, names: Iterable[str]) -> Secrets:
        """The same with more names of tags."""
        return replace(self, names=self.names.union(names))


NO_SECRETS = Secrets()


class RuleVeil:
    """What one person does not see of rules."""

    def __init__(self, veil: Veil, secrets: Secrets) -> None:
        self.veil = veil
        self.names = secrets.names
        self._limits = secrets.limits

    @property
    def hides_some(self) -> bool:
        """Whether values of some tags are hidden."""
        return self.veil.hides_some or bool(self.names)

    def bucket(self, limit: str | None, value: str | None, per: str | None = None) -> str | None:
        """The value that a limit is counted by: any tag's, or a text that holds one's."""
        is_secret = self._limits is None or limit in self._limits or per in self.names
        return HIDDEN if value is not None and (self.veil.hides_some or is_secret) else value

    def scope(self, scope: Scope) -> Scope:
        """What a pause is about."""
        hidden, hides = self.names | self.veil.redact, self.veil.hides_values
        tags = [(n, HIDDEN if hides or n in hidden else text) for n, text in scope.tags]
        return replace(scope, tags=tuple(tags), value=self.bucket(scope.limit, scope.value))

    def about(self, scope: Scope) -> TaskVeil:
        """What is shown of what was said about a pause."""
        tags = {name: Raw(text.encode()) for name, text in scope.tags}
        return self.veil.of_tags([msgspec.json.encode(tags)], self.names)

    def turns(self, said: Shared) -> str:
        """Whose turn it is: the shares that have a weight are values."""
        hides = self.veil.hides_some or said.per in self.names
        return turn_words(replace(said, weights={}) if hides else said)


def secrets_in(projection: Projection) -> Secrets:
    """What is secret of open tasks; O(open tasks)."""
    tasks = [each for each in projection.tasks.values() if each.rarity is not None and each.secret]
    names = frozenset(name for task in tasks for name in task.secret)
    limits = {bucket.limit for task in tasks for bucket in task.buckets}
    known = projection.governing.limits.by_name.items()
    limits.update(name for name, limit in known if limit.said.per in names)
    return Secrets(names, frozenset(limits))


def named_by(sight: Sight) -> frozenset[str]:
    """Names of tags that are secret of any task up to the moment, where a catalog knows them."""
    with suppress(CatalogLackingError, SlowQuestionError):
        return sight.asked(lambda catalog, _point: catalog.secret_names())
    return frozenset()


def rule_veil(sight: Sight, veil: Veil) -> RuleVeil:
    """What is shown of rules at a moment; O(open tasks)."""
    names = named_by(sight)
    try:
        with sight.seen() as projection:
            return RuleVeil(veil, secrets_in(projection).join(names))
    except CatalogLackingError:
        # A file of the past folds nothing.
        return RuleVeil(veil, Secrets(names, None))
