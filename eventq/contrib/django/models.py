"""The outbox's table as Django migrates it, and what rights there are to a queue's console.

Rows are written and read by `eventq.contrib.outbox`, not by these.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

# The rights of `eventq.web`, which is an extra of its own, as permissions of users and groups.
RIGHTS = (
    *("view", "values", "create", "retry", "cancel", "edit"),
    *("pause", "limit", "schedule", "bulk", "verify", "undo"),
)


class OutboxRecord(models.Model):
    """A task that waits for its relay, or that was set aside."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    namespace: models.TextField[str, str] = models.TextField()
    key: models.TextField[str, str] = models.TextField(db_index=True)
    version: models.IntegerField[int, int] = models.IntegerField()
    made_at: models.BigIntegerField[int, int] = models.BigIntegerField()
    body: models.TextField[str, str] = models.TextField()
    problem: models.TextField[str | None, str | None] = models.TextField(null=True)  # noqa: DJ001 - as the table has it everywhere

    class Meta:
        """The table of any outbox."""

        db_table = "eventq_outbox"
        default_permissions = ("view", "change")
        verbose_name = "task set aside"
        verbose_name_plural = "tasks set aside"

    def __str__(self) -> str:
        """Its key."""
        return self.key


class ConsoleRight(models.Model):
    """No table: what its permissions are about is the console of a queue."""

    class Meta:
        """Permissions like ``eventq.console_retry``."""

        managed = False
        default_permissions = ()
        permissions: ClassVar = [(f"console_{right}", f"Console: {right}") for right in RIGHTS]
        verbose_name = "queue"
        verbose_name_plural = "queues"

    def __str__(self) -> str:
        """There is none."""
        return "console"
