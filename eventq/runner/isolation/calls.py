"""Calls of an attempt's context that its process cannot answer: their method, there and here.

A call crosses as the method's name and its arguments as JSON, and so does what it returns. One more
method is one more function in `METHODS`, and its call in `context.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from eventq.core.commits import decode_bodies
from eventq.core.durations import SECOND_US
from eventq.errors import EventqError
from eventq.handlers.context import Context
from eventq.runner.isolation.messages import Answer, ContextCall


def answer(context: Context, call: ContextCall) -> Answer | None:
    """Calls the method of the attempt's context; None where no answer is wanted."""
    try:
        value = METHODS[call.method](context, msgspec.json.decode(call.arguments))
    except EventqError as error:
        return Answer(call.number, problem=str(error)) if call.number else None
    return Answer(call.number, Raw(msgspec.json.encode(value))) if call.number else None


def deadline_of(context: Context) -> tuple[int | None, int | None]:
    """The deadline by the clock, and how long it is until then; both in microseconds."""
    remaining_s = context.remaining()
    return context.deadline_at, None if remaining_s is None else round(remaining_s * SECOND_US)


def _extend(context: Context, arguments: dict[str, Any]) -> object:
    by_us = arguments["by_us"]
    context.extend(None if by_us is None else by_us / SECOND_US)
    return deadline_of(context)


def _tell(context: Context, arguments: dict[str, Any]) -> None:
    context.take_told(decode_bodies(arguments["bodies"]))


METHODS: dict[str, Callable[[Context, dict[str, Any]], object]] = {
    "extend": _extend,
    "tell": _tell,
}
