"""What a person does to one task, and the task as it is then; what may be done `core` decides."""

from __future__ import annotations

from eventq.core.manage import ManageTask
from eventq.core.task import Task
from eventq.node.node import Node


def manage_task(node: Node, command: ManageTask) -> Task:
    """The task as it is once the command is done. Raises as that."""
    committed = node.execute(command)
    # A retry may bring others back with it.
    own = [each for each in committed.tasks if each and each.number == committed.result.number]
    return (own[-1] if own else committed.result).as_of(node.now())
