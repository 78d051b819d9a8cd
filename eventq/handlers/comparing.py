"""Whether a value came back from JSON as what it was, as far as its annotation lets one see.

JSON has few types: bytes, instants and numbers such as Decimal are text there, and so they would
stay text wherever the annotation does not say what they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import starmap
from typing import Any

import msgspec


def has_changed(value: Any, kept: Any) -> bool:  # noqa: ANN401 - any value
    """Whether what was kept of a value is of another kind, or holds something that is.

    A number may become a float, a tuple a list, and a dict what its annotation makes of it.

    >>> has_changed((1, "a"), [1, "a"]), has_changed(b"a", "YQ=="), has_changed({1: 2}, {"1": 2})
    (False, True, True)
    """
    if isinstance(kept, str):
        return not isinstance(value, str)
    if isinstance(kept, Mapping):
        return not isinstance(value, Mapping) or (
            _any_changed(value, kept) or _any_changed(value.values(), kept.values())
        )
    if isinstance(kept, (list, tuple)):
        return isinstance(value, (list, tuple)) and _any_changed(value, kept)
    if type(value) is type(kept):
        names = _field_names(kept)
        return _any_changed(
            [getattr(value, name) for name in names], [getattr(kept, name) for name in names]
        )
    return False


def _any_changed(values: Iterable[Any], kept: Iterable[Any]) -> bool:
    return any(starmap(has_changed, zip(values, kept, strict=False)))


def _field_names(value: object) -> Sequence[str]:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if is_dataclass(value):
        return [field.name for field in fields(value)]
    return ()
