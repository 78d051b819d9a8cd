"""Tasks of all kinds, by the decorator of Django's."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection

import eventq
from eventq.contrib.django import options
from eventq.contrib.django.framework import TaskContext, task
from tests.contrib.django.site.shop.models import Done, Order

logger = logging.getLogger("shop")


class DeclinedError(Exception):
    """A bank has said no."""


@task
def add(left: int, right: int = 1) -> int:
    """A sum."""
    return left + right


@task
def echo(*args: object, **kwargs: object) -> list[Any]:
    """What it was given."""
    return [list(args), kwargs]


@task
def give(value: object) -> object:
    """A value back."""
    return value


@task
def give_set() -> object:
    """What JSON does not hold."""
    return {1, 2}


@task
def fail(words: str) -> None:
    """It fails each time."""
    raise DeclinedError(words)


@task(takes_context=True)
def tell(context: TaskContext, greeting: str) -> list[Any]:
    """What its context says."""
    result = context.task_result
    return [greeting, context.attempt, result.id, str(result.status), result.worker_ids]


@task(priority=7, queue_name="mail")
def mail(order: int) -> int:
    """Of another queue."""
    return order


@task
async def wait(words: str) -> str:
    """A coroutine."""
    count = await sync_to_async(Order.objects.count)()
    return f"{words} {count}"


@task(takes_context=True, max_retries=2, backoff="1s")
def insist(context: TaskContext, fails: int) -> int:
    """It fails so often."""
    if context.attempt <= fails:
        raise DeclinedError(str(context.attempt))
    return context.attempt


@task
@options(retry={DeclinedError: eventq.Backoff.constant("1s")}, max_retries=1, unique="order")
def charge(order: int) -> None:
    """By the options of Django 6.0."""
    raise DeclinedError(str(order))


@task
def confirm(number: str) -> int:
    """Looks its order up, which is there."""
    began_at = time.time()
    order = Order.objects.get(number=number)
    Done.objects.create(number=order.number, at=began_at)
    return int(order.id)


@task(cron="30 3 * * *", overlap="allow")
def report() -> int:
    """Every night, by the clock of the settings."""
    return Order.objects.count()


@task(takes_context=True, isolate=True, memory="4GiB")
def render(context: TaskContext, number: str) -> list[Any]:
    """In a process of its own, with the site's database."""
    logger.warning("rendering %s", number)
    return [os.getpid(), Order.objects.get(number=number).number, context.attempt]


@task(isolate=True)
async def render_later(number: str) -> int:
    """The same for a coroutine."""
    return int((await Order.objects.aget(number=number)).id)


@task(isolate=True)
def crash() -> None:
    """It takes nothing along."""
    os.abort()


@task
def connected() -> bool:
    """Whether its connection was open before it."""
    was_open = connection.connection is not None
    Order.objects.count()
    return was_open
