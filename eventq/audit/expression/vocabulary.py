"""The words of expressions: what each name, field and function says of a view. All are total.

A question that has no answer (a field of a task that does not exist, a sum with a text in it) has
the answer None, never an error; and nothing here can reach further than the view.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from eventq.audit.expression.view import View
from eventq.core.task import Task, state_as_of

Rule = Callable[[View], Any]

# Numbers beyond this are None, so that no product can grow without end.
LARGEST = 10**18


@lru_cache(maxsize=64)
def _decoded(text: bytes) -> Any:  # noqa: ANN401 - any JSON value; asked for again at each event
    return msgspec.json.decode(text)


NAMES: dict[str, Rule] = {
    "scheduled": lambda view: view.projection.scheduled_count(view.at),
    "ready": lambda view: view.projection.ready_count(view.at),
    "leased": lambda view: view.projection.leased_count,
    "completed": lambda view: view.projection.final_counts()["completed"],
    "expired": lambda view: view.projection.final_counts()["expired"],
    "cancelled": lambda view: view.projection.final_counts()["cancelled"],
    "open": lambda view: len(view.projection.tasks),
    "total": lambda view: view.projection.counts["created"],
    "attempts": lambda view: view.projection.counts["leased"],
    "failures": lambda view: view.projection.counts["failed"],
    "refused": lambda view: view.projection.counts["refused"],
    "unknown": lambda view: view.projection.unknown_count,
    "nodes": lambda view: len(view.projection.holders),
    "seq": lambda view: view.seq,
    "at": lambda view: view.at,
}

FIELDS: dict[str, Callable[[Task, int], Any]] = {
    "key": lambda task, _: task.key,
    "number": lambda task, _: task.number,
    "state": state_as_of,
    "name": lambda task, _: task.name,
    "lane": lambda task, _: task.lane,
    "priority": lambda task, _: task.priority,
    "attempt": lambda task, _: task.attempt,
    "retry_count": lambda task, _: task.retry_count,
    "lapses": lambda task, _: task.lapses,
    "snoozes": lambda task, _: task.snoozes,
    "worker": lambda task, _: task.worker,
    "fence": lambda task, _: task.fence,
    "created_at": lambda task, _: task.created_at_us,
    "scheduled_at": lambda task, _: task.scheduled_at_us,
    "expires_at": lambda task, _: task.expires_at_us,
    "started_at": lambda task, _: task.started_at_us or None,
    "finished_at": lambda task, _: task.finished_at_us,
    "last_error_type": lambda task, _: task.last_error and task.last_error.type,
    "last_error_message": lambda task, _: task.last_error and task.last_error.message,
    "final_reason": lambda task, _: task.final_reason,
    "result": lambda task, _: None if task.result_json is None else _decoded(task.result_json),
    "tags": lambda task, _: _decoded(task.tags_json),
}


def is_number(value: object) -> bool:
    """Whether it can be reckoned with; True is no number here, as in JSON."""
    return type(value) is int or type(value) is float


def same(left: object, right: object) -> bool:
    """Equality as JSON has it: 1 is 1.0, but True is not 1."""
    if is_number(left) and is_number(right):
        return left == right
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return type(left) is type(right) and left == right


def contains(holder: object, value: object) -> bool:
    """Whether a text has this part, an object this name, a list this value."""
    if isinstance(holder, str):
        return isinstance(value, str) and value in holder
    if isinstance(holder, dict):
        return isinstance(value, str) and value in holder
    return isinstance(holder, list | tuple) and any(same(item, value) for item in holder)


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": same,
    "!=": lambda left, right: not same(left, right),
    "<": lambda left, right: _ordered(left, right) and left < right,
    "<=": lambda left, right: _ordered(left, right) and left <= right,
    ">": lambda left, right: _ordered(left, right) and left > right,
    ">=": lambda left, right: _ordered(left, right) and left >= right,
    "in": lambda left, right: contains(right, left),
    "not in": lambda left, right: not contains(right, left),
}

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def reckon(sign: str, left: object, right: object) -> int | float | None:
    """A sum, difference or product of numbers; None for anything else and for what is too large."""
    if not is_number(left) or not is_number(right):
        return None
    result: int | float = OPERATIONS[sign](left, right)
    return result if -LARGEST <= result <= LARGEST else None


def length(value: object) -> int | None:
    """How long a text, list or object is; None for what has no length."""
    return len(value) if isinstance(value, str | list | tuple | dict) else None


def part(value: object, names: list[str]) -> object:
    """What stands in nested objects below these names; None where there is nothing."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _ordered(left: object, right: object) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return True
    return is_number(left) and is_number(right)
