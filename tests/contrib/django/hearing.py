"""What signals of Django's tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.dispatch import Signal

from eventq.contrib.django.framework import TaskResult


@contextmanager
def heard(signal: Signal) -> Iterator[list[tuple[Any, TaskResult[Any]]]]:
    """What a signal tells meanwhile: sender and result."""
    found: list[tuple[Any, TaskResult[Any]]] = []

    def receive(sender: object, task_result: TaskResult[Any], **_: object) -> None:
        found.append((sender, task_result))

    signal.connect(receive, weak=False)
    try:
        yield found
    finally:
        signal.disconnect(receive)
